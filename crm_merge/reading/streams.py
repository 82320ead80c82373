"""The bytes of a file, unpacked, and what kind of file it is by its first bytes rather than by its name."""

from __future__ import annotations

import codecs
import gzip
import io
import os
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from crm_merge.reading import FileProblem

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CHUNK = 1 << 18  # bytes read at a time; larger blocks leave the processor's cache and scan slower
BOMB_BYTES, BOMB_RATIO = 1 << 30, 200  # CSV packs to a fifth or a twentieth; a bomb to a thousandth
WINDOW_LOG = 27  # 128 MiB, the zstd command's own limit: a frame may ask for more memory than there is

PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
NOT_READ = {
    b"PK\x03\x04": "a ZIP archive or an Excel workbook (.xlsx); save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook (.xls); save the sheet as CSV",
    b"BZh": "bzip2-packed; pack it with gzip or zstd, or unpack it",
    b"\xfd7zXZ": "xz-packed; pack it with gzip or zstd, or unpack it",
    b"7z\xbc\xaf": "a 7-Zip archive; unpack it",
    b"%PDF": "a PDF, not a table",
    b"SQLite format 3\0": "an SQLite database; export the table as CSV",
    b"ORC": "an ORC file; write it as Parquet or CSV",
    b"Obj\x01": "an Avro file; write it as Parquet or CSV",
}


def kind_of(path: Path) -> str:
    """Returns 'plain', 'gzip', 'zstd' or 'parquet'; raises FileProblem for what is known not to be a table."""
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise FileProblem(f"{path.name} can't be read: {error.strerror}") from None
    if not head:
        raise FileProblem(f"{path.name} is empty: it has no header")
    if head.startswith(b"PAR1"):
        return "parquet"
    for magic, kind in PACKED.items():
        if head.startswith(magic):
            return kind
    if head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50:  # a skippable frame, as pzstd writes first
        return "zstd"
    refuse_contents(path, head)
    return "plain"


def refuse_contents(path: Path, head: bytes) -> None:
    """Refuses, by name, content that is not a table by its first bytes."""
    what = ""
    for magic, name in NOT_READ.items():
        # a CSV may well begin with the letters ORC or BZh: only what follows tells
        certain = magic[0] > 127 or magic[-1] < 32 or magic == b"%PDF"
        if head.startswith(magic) and (certain or not head[:16].isascii() or b"\0" in head[:16]):
            what = name
    if head.startswith(tuple(PACKED)):
        what = "packed twice; unpack it once"
    elif head.startswith(b"PAR1"):
        what = "Parquet in a packed file; unpack it, Parquet is compressed inside"
    elif head[257:262] == b"ustar":
        what = "a tar archive; unpack it and name the file in it"
    if what:
        raise FileProblem(
            f"{path.name} is {what}. Accepted: CSV, JSON lines (each also .gz or .zst), Parquet"
        )


def is_simple_gzip(path: Path, kind: str, size: int) -> bool:
    """Says whether a gzip file is one member with a plain head and nothing after it, ``size`` bytes unpacked.

    DuckDB refuses other heads (comments, checksums) and what stands after the last member.
    """
    if kind != "gzip":
        return False
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(-4, os.SEEK_END)
        return head[3] in (0, 8) and int.from_bytes(file.read(4), "little") == size % (1 << 32)


def has_mark(path: Path, kind: str) -> bool:
    """Says whether a file begins with the byte order mark of UTF-8."""
    with open_unpacked(path, kind) as file:
        return file.read(3) == codecs.BOM_UTF8


def open_unpacked(path: Path, kind: str) -> IO[bytes]:
    """Opens a file for reading its bytes, unpacked."""
    try:
        if kind == "gzip":
            return gzip.open(path, "rb")  # type: ignore[return-value]
        if kind == "zstd":
            options = {zstd.DecompressionParameter.window_log_max: WINDOW_LOG}
            return zstd.ZstdFile(path, "r", options=options)  # type: ignore[call-overload]
        return path.open("rb", buffering=0)
    except OSError as error:
        raise FileProblem(f"{path.name} can't be read: {error.strerror}") from None


def chunks(path: Path, kind: str) -> Iterator[bytes]:
    """Yields a file's unpacked bytes, CHUNK at a time; refuses what is damaged, cut off, or unpacks without end."""
    packed = os.stat(path).st_size
    size = 0
    with open_unpacked(path, kind) as file:
        while True:
            try:
                chunk = file.read(CHUNK)
            except (OSError, EOFError, zlib.error, zstd.ZstdError) as error:
                if isinstance(error, OSError) and error.errno is not None:
                    raise FileProblem(f"{path.name} can't be read to its end: {error.strerror}") from None
                raise FileProblem(
                    f"{path.name} can't be unpacked beyond byte {size:,} of its content: it is damaged or cut off "
                    f"({kind}: {str(error).rstrip('.').lower()}); fetch it again"
                ) from None
            if not chunk:
                return
            size += len(chunk)
            if kind != "plain" and size > BOMB_BYTES and size > BOMB_RATIO * packed:
                raise FileProblem(
                    f"{path.name} unpacks to more than {BOMB_RATIO} times its {packed:,} bytes and was left at "
                    f"{size:,}; if that is really a table, unpack it and name the unpacked file"
                )
            yield chunk


def is_single_byte(encoding: str) -> bool:
    """Says whether every byte below 128 means itself, wherever it stands: then bytes can be scanned undecoded."""
    for low in b"\t\n\r\"',;|\\a":
        for high in range(128, 256):
            try:
                text = bytes([high, low]).decode(encoding)
            except UnicodeDecodeError:
                continue
            if len(text) != 2 or text[1] != chr(low):
                return False
    try:
        return bytes(range(128)).decode(encoding) == "".join(map(chr, range(128)))
    except UnicodeDecodeError:
        return False


def scannable(path: Path, kind: str, encoding: str, seen: list | None = None) -> Iterator[bytes]:
    """Yields the content so that quotes, delimiters and line ends are single ASCII bytes.

    That is the bytes as they are, without a byte order mark, in UTF-8 and in single-byte encodings; other
    encodings are recoded to UTF-8, and refused where they do not decode. ``seen`` (callables) gets each raw chunk.
    """
    as_it_is = encoding in ("utf-8", "utf-8-sig") or is_single_byte(encoding)
    decoder = None if as_it_is else codecs.getincrementaldecoder(encoding)()
    first, size = True, 0
    for chunk in chunks(path, kind):
        for look in seen or []:
            look(chunk)
        size += len(chunk)
        if decoder:
            chunk = decode(path.name, decoder, chunk, encoding, size - len(chunk)).encode()
        if first and chunk:
            chunk, first = chunk.removeprefix(codecs.BOM_UTF8), False
        yield chunk
    if decoder:
        decode(path.name, decoder, b"", encoding, size, final=True)


def decode(
    name: str, decoder: codecs.IncrementalDecoder, chunk: bytes, encoding: str, at: int, final: bool = False
) -> str:
    """Decodes a chunk that begins at byte ``at``; refuses bytes that mean nothing in the encoding."""
    try:
        text = decoder.decode(chunk, final)
        text.encode()  # a lone surrogate decodes from UTF-16 in some codecs, but is no character
        return text
    except UnicodeError as error:
        start = at + getattr(error, "start", 0)
        raise FileProblem(
            f"{name} is not {encoding}: near byte {start:,} its bytes mean nothing in it, or it is cut off; declare "
            "another with `encoding:` (utf-8, utf-16, cp1252, latin-1, …)"
        ) from None


def sample(path: Path, kind: str, size: int) -> tuple[bytes, bool]:
    """Returns (the first ``size`` unpacked bytes, is that all of it?)."""
    content = io.BytesIO()
    for chunk in chunks(path, kind):
        content.write(chunk)
        if content.tell() > size:
            return content.getvalue()[:size], False
    return content.getvalue(), True
