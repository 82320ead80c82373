"""Where input files are: turns the ``path`` of a spec into files on this disk.

A path is a local file, folder or glob, the same on S3 (``s3://bucket/…``), or one file at ``https://…``.
Remote files are downloaded once per version. Whatever is wrong is a FileProblem, a sentence that names the
place but never a credential or a query string; every wait, retry, redirect and listing is bounded.

Settings from the environment: boto3's own (``AWS_…``), ``SSL_CERT_FILE``, ``CRM_MERGE_INPUT_ROOTS`` (the
folders and URL prefixes that inputs must be inside of, comma-separated; https redirects too), and the
``CRM_MERGE_…`` variables that the query of an https URL refers to as ``${CRM_MERGE_…}``.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import logging
import os
import random
import re
import shutil
import ssl
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import certifi
import urllib3

from crm_merge.reading import FileProblem, NotThere, s3

LIMIT = 2_000  # files that one path may mean
LOOKED_AT = 100_000  # names that a listing looks at to find them
PIECE = 1 << 20  # bytes in memory per download
CONNECT, READ = 10, 60  # seconds to wait for a connection, and for the next byte
RETRIES = 5  # of a request
RESTARTS = 4  # of a body that breaks off
BACKOFF = 0.5  # seconds; doubles with every retry
RETRY_AFTER = 30  # seconds at most that a server may ask to wait
REDIRECTS = 5
LONGEST = 6 * 3600  # seconds for one file, restarts included: a server may trickle without an end
KEEP_FREE = 100_000_000  # bytes of the disk, or 5 % of it where that is less
PARALLEL = 8

DATA = re.compile(r"\.(parquet|(csv|tsv|txt|jsonl|ndjson)(\.(gz|zst))?)$", re.IGNORECASE)
MAGIC = re.compile(r"[*?[]")
REFERENCE = re.compile(r"\$\{(CRM_MERGE_[A-Z0-9_]+)\}")
SECRET_NAMES = re.compile(r"token|key|sig|secret|pass|pwd|auth|credential|x-amz-", re.IGNORECASE)
ACCEPTED = "accepted: a local path, s3://, https://"
NOWHERE = Path()  # of a file that is not on this disk

HTTPS_ERRORS = {
    401: "asks for a login (401)",
    403: "can't be read: access is denied (403); a signed link may have expired",
    404: "is not there (404)",
    410: "is not there any more (410)",
    429: "can't be read now: the server has too many requests (429); try again later",
}


@dataclass(frozen=True)
class Place:
    """One file to read: ``path`` on this disk; ``shown``, what people see (the absolute path, or the URL
    without query); ``partitions``, the ``key=value`` folders below the folder that was named or the fixed
    part of a glob; ``origin``, what tells versions apart (S3: the ETag; https: ETag, Last-Modified or '';
    local: '').
    """  # fmt: skip

    path: Path
    shown: str
    partitions: dict[str, str]
    origin: str


class _BrokenOff(Exception):
    """A body that ended before it was complete; reading it again may help."""


@dataclass
class _Answer:
    """What a server sends: a version (an ETag in its quotes, or anything weaker), the size if known, the body."""

    version: str
    size: int | None
    packed: str  # the Content-Encoding
    pieces: Iterator[bytes]
    close: Callable[[], Any]


class _WithoutQueries(logging.Filter):
    """Takes query strings out of urllib3's log lines: it warns of every retry with the URL, signature and all."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = re.sub(r"\?[^\s'\"]*", "?…", record.getMessage()), ()
        return True


for _name in ("urllib3.connectionpool", "urllib3.poolmanager", "urllib3.util.retry"):
    logging.getLogger(_name).addFilter(_WithoutQueries())


def listed(path: str) -> list[tuple[str, str, float | None]]:
    """Returns the files that an absolute path or URL means, without reading them: (shown, version, modified).

    A version is another for other content: on S3 the ETag, on a disk size, time and inode; '' for https, which is not asked.
    ``modified`` is in seconds since 1970, None where a file is complete as soon as it is there. Raises FileProblem as ``find``.
    """
    found: list[tuple[str, str, float | None]] = []
    for place in find(path, Path("/"), None):
        if place.path == NOWHERE:
            found.append((place.shown, place.origin.strip('"'), None))
            continue
        try:
            stat = place.path.stat()
        except OSError as error:
            raise FileProblem(f"'{place.shown}' can't be read: {error.strerror}") from None
        found.append((place.shown, f"{stat.st_size}-{stat.st_mtime_ns}-{stat.st_ino}", stat.st_mtime))
    return found


def find(path: str, base: Path, fetched: Path | None) -> list[Place]:
    """Returns the files that a spec's path means, sorted, at least one.

    ``base`` is the folder that relative local paths start from, ``fetched`` the one that remote files are
    downloaded to; without it they are only looked for, and their path is NOWHERE. Raises FileProblem.
    """
    if not path.strip():
        raise FileProblem(f"the path is empty; {ACCEPTED}")
    if re.search(r"[\x00-\x1f\x7f]", path):
        raise FileProblem("the path holds a control character (a line end, a tab, a NUL)")
    scheme = re.match(r"\s*([A-Za-z][A-Za-z0-9+.-]+):/", path)
    if not scheme:
        return _local(path, base)
    # What follows the scheme may hold a password or a signature: nothing of it is repeated until it is known not to.
    kind, url = scheme[1].lower(), path.strip()
    if kind == "http":
        raise FileProblem("http:// is not encrypted; use https://")
    if kind not in ("s3", "https"):
        raise FileProblem(f"{kind}:// is not supported; {ACCEPTED}")
    rest = url.partition("://")[2]
    host, _, tail = rest.partition("/")
    if kind == "s3":
        return _s3(*s3.address(url), fetched)
    if "@" in host:
        raise FileProblem(
            "a https:// path must not hold a user name or password; use a variable in the query"
        )
    if s3.climbs(tail.partition("?")[0]):
        raise FileProblem("a https:// path must not hold '.' or '..' as a folder")
    if fetched is None:
        check_allowed(f"https://{rest.partition('?')[0]}", f"https://{rest.partition('?')[0]}")
        return [Place(NOWHERE, f"https://{rest.partition('?')[0]}", {}, "")]
    return [_https(f"https://{rest}", fetched)]


# -- What may be read, and what a glob or folder means --


def _allowed(place: str | Path) -> bool:
    """Says whether a place is inside CRM_MERGE_INPUT_ROOTS, compared segment by segment; yes if that is not set."""
    roots = os.environ.get("CRM_MERGE_INPUT_ROOTS", "")

    def segments(text: str) -> list[str]:
        url = re.match(r"(s3|https)://([^/?]*)/?([^?]*)", text, re.IGNORECASE)
        if not url:
            return list(Path(os.path.realpath(os.path.expanduser(text))).parts)
        kind, host, path = url[1].lower(), url[2], url[3].rstrip("/")
        if kind == "https":
            host = host.lower() if re.search(r":\d+$", host) else f"{host.lower()}:443"
        return [kind, host, *(path.split("/") if path else [])]

    inside = segments(str(place))
    allowed = [segments(root.strip()) for root in roots.split(",") if root.strip()]
    return not roots.strip() or any(inside[: len(root)] == root for root in allowed)


def check_allowed(place: str | Path, shown: str | Path, via: str = "") -> None:
    """Refuses a place that is not allowed, without a word about where a link leads."""
    if not _allowed(place):
        raise FileProblem(f"'{shown}'{via} is not inside a folder that CRM_MERGE_INPUT_ROOTS allows")


def _fits(parts: list[str], pattern: list[str], partly: bool = False) -> bool:
    """Says whether a path fits a glob, segment by segment (``partly``: whether something below it may)."""
    # which of the pattern's segments may come next; several of them after a `**`
    steps = {0}
    for part in parts:
        steps = _skipping(steps, pattern)
        hidden = part.startswith(".")
        after = set()
        for step in steps:
            if step == len(pattern):
                continue
            if pattern[step] == "**":
                if not hidden:
                    after.add(step)
            elif (not hidden or pattern[step].startswith(".")) and fnmatchcase(part, pattern[step]):
                after.add(step + 1)
        steps = after
    steps = _skipping(steps, pattern)
    return any(step < len(pattern) for step in steps) if partly else len(pattern) in steps


def _skipping(steps: set[int], pattern: list[str]) -> set[int]:
    """Returns the steps, and those behind each `**`, which may mean no folder at all."""
    found = set()
    for step in steps:
        found.add(step)
        while step < len(pattern) and pattern[step] == "**":
            step += 1
            found.add(step)
    return found


def _choose(
    shown: str, pattern: list[str], folder: bool, listed: Callable[[list[str]], Iterable[str]]
) -> list[str]:
    """Returns the files that a glob or folder means, as sorted paths below its fixed part.

    ``listed`` gives the files that fit a pattern; ``folder`` says that the pattern means folders. A glob
    that fits nothing but folders means what they hold.
    """
    pattern = [*pattern, "*"] if pattern and pattern[-1] == "**" else pattern
    found = [] if folder else list(listed(pattern))
    if found:
        return sorted(found)
    # Spark and others leave notes to themselves beside the data, as _SUCCESS and .part-0.crc
    found = [name for name in listed([*pattern, "**", "*"]) if not re.search(r"(^|/)[_.]", name)]
    if other := sorted(name for name in found if not DATA.search(name)):
        names = ", ".join(other[:5]) + (f" and {len(other) - 5:,} more" if len(other) > 5 else "")
        raise FileProblem(
            f"'{shown}' also holds files that are no tables by their names ({names}); name those that are meant "
            f"with a glob, such as {shown.rstrip('/')}/*.csv"
        )
    if not found and folder:
        raise NotThere(
            f"the folder '{shown}' holds no file to read (.csv, .tsv, .txt, .jsonl, .ndjson, .parquet)"
        )
    return sorted(found)


def _partitions(name: str, shown: str) -> dict[str, str]:
    """Returns what the ``key=value`` folders of a path below its fixed part say."""
    found: dict[str, str] = {}
    for part in name.split("/")[:-1]:
        key, equals, value = part.partition("=")
        if key and equals:
            # Hive's word for a missing value is not a value
            value = "" if value == "__HIVE_DEFAULT_PARTITION__" else unquote(value)
            if found.setdefault(unquote(key), value) != value:
                raise FileProblem(f"'{shown}': its folders give two values for '{unquote(key)}'")
    return found


def _near(wanted: str, names: Iterable[str], where: str) -> str:
    """Returns '; <where> holds …' with the names most like the wanted one first, or ''."""
    names = sorted(name for name in names if name.isprintable() and not name.startswith((".", "_")))
    near = difflib.get_close_matches(wanted, names, n=5)
    near += [name for name in names if name not in near and DATA.search(name)]
    near = near or names  # no name says that it is a table: whatever there is
    return f"; {where} holds {', '.join(near[:5])}" if near else ""


# -- Local --


def _local(path: str, base: Path) -> list[Place]:
    """Returns the files of a local path."""
    given = Path(os.path.expanduser(path))
    magic = next((k for k, part in enumerate(given.parts) if MAGIC.search(part)), len(given.parts))

    def at(*parts: str) -> Path:
        """Returns a place below the base without `..`, unless a link makes that another place."""
        place = base.absolute().joinpath(*parts)
        tidy = Path(os.path.abspath(place))
        return tidy if os.path.realpath(tidy) == os.path.realpath(place) else place

    place = at(*given.parts)
    try:
        os.lstat(place)
        exists = True
    except PermissionError:
        check_allowed(place, place)
        raise FileProblem(f"'{path}' can't be reached: no permission to enter {place.parent}") from None
    except OSError:
        exists = False
    if not exists and s3.QUERY.search(path):  # it may hold a signature, so it is not repeated
        raise FileProblem("the path looks like a URL without its beginning; write https://host/path/file.csv")
    fixed = place if exists else at(*given.parts[:magic])
    check_allowed(fixed, place)
    if exists and not os.path.isdir(place):
        _check_file(place)
        return [Place(place, str(place), {}, "")]
    looked = "" if str(place) == path else f" (looked for {place})"
    if not exists and fixed == place:
        hint = ""
        try:
            if _allowed(place.parent):
                hint = _near(place.name, os.listdir(place.parent), "that folder")
        except FileNotFoundError:
            hint = f"; there is no folder {place.parent}"
        except OSError as error:
            hint = f"; the folder {place.parent} can't be read: {error.strerror}"
        raise NotThere(f"there is no file '{path}'{looked}{hint}")
    if not os.path.isdir(fixed):
        raise NotThere(f"no file matches '{path}': there is no folder {fixed}")

    pattern = [] if exists else list(given.parts[magic:])
    folder = exists or path.endswith("/")
    names = _choose(str(place), pattern, folder, lambda wanted: _walk(fixed, wanted, place))
    if not names:
        hint = _near(place.name, os.listdir(fixed), str(fixed))
        raise NotThere(f"no file matches '{path}'{looked}{hint}")
    found = []
    for name in names:
        file = fixed / name
        check_allowed(file, file)
        _check_file(file)
        found.append(Place(file, str(file), _partitions(name, str(file)), ""))
    return found


def _walk(top: Path, pattern: list[str], shown: Path) -> list[str]:
    """Returns the files below a folder that fit a pattern. Unlike glob, a folder that can't be read is a
    FileProblem rather than missing data, and a link to a folder above itself does not repeat files.
    """  # fmt: skip
    found: list[str] = []
    looked_at = 0

    def refuse(error: OSError) -> None:
        raise FileProblem(f"the folder '{error.filename}' can't be read: {error.strerror}")

    for folder, folders, files in os.walk(top, followlinks=True, onerror=refuse):
        check_allowed(folder, folder)  # a link may have led out, and what is there must not even be named
        above = Path(folder).relative_to(top).parts
        loops = {os.path.realpath(top.joinpath(*above[:k])) for k in range(len(above) + 1)}
        folders[:] = [
            name
            for name in folders
            if _fits([*above, name], pattern, partly=True)
            and os.path.realpath(f"{folder}/{name}") not in loops
        ]
        fitting = ["/".join([*above, name]) for name in files if _fits([*above, name], pattern)]
        for name in fitting:
            if re.search("[\udc80-\udcff]", name):  # bytes that Python could not decode; no text holds them
                name = os.fsencode(name).decode("utf-8", "replace")
                raise FileProblem(f"the name of '{top / name}' is not UTF-8; rename the file")
        found += fitting
        looked_at += len(files) + len(folders)
        _check_limits(str(shown), len(found), looked_at)
    return found


def _check_limits(shown: str, found: int, looked_at: int) -> None:
    """Ends a listing that grows too long."""
    if found > LIMIT:
        raise FileProblem(f"'{shown}' means more than {LIMIT:,} files; name fewer, or join them first")
    if looked_at > LOOKED_AT:
        raise FileProblem(
            f"'{shown}' takes looking at more than {LOOKED_AT:,} names; name the folder more exactly"
        )


def _check_file(place: Path) -> None:
    """Refuses what can't be read as a file, without opening it: a pipe would wait for ever."""
    try:
        mode = place.stat().st_mode
    except PermissionError:
        raise FileProblem(
            f"'{place}' can't be read: no permission to enter its folder, or where it links to"
        ) from None
    except OSError as error:
        broken = "is a link to a file that is not there"
        raise FileProblem(
            f"'{place}' {broken if place.is_symlink() else f'can not be read: {error.strerror}'}"
        ) from None
    if not stat.S_ISREG(mode):
        raise FileProblem(f"'{place}' is not a file but a pipe, socket or device")
    if not os.access(place, os.R_OK):
        raise FileProblem(f"'{place}' can't be read: permission denied")


# -- Downloads --


def _folder(url: str, fetched: Path) -> Path:
    """Returns the folder that a URL is downloaded to; the note on what is in it lies beside it."""
    return fetched / hashlib.sha256(url.encode()).hexdigest()[:16]


def _kept(url: str, fetched: Path) -> tuple[Path, str] | None:
    """Returns (file, version) of an earlier download of a URL that is complete, or None."""
    folder = _folder(url, fetched)
    try:
        note = json.loads(folder.with_suffix(".json").read_text(encoding="utf-8"))
        file = folder / note["name"]
        return (file, note["version"]) if file.stat().st_size == note["size"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _check_room(fetched: Path, needed: int, shown: str) -> None:
    """Refuses a download that would fill the disk."""
    try:
        fetched.mkdir(parents=True, exist_ok=True)
        disk = shutil.disk_usage(fetched)
    except OSError as error:
        raise FileProblem(f"'{shown}' can't be kept in {fetched}: {error.strerror}") from None
    keep = min(disk.total // 20, KEEP_FREE)
    if needed > disk.free - keep:
        raise FileProblem(
            f"'{shown}' needs {needed / 1e6:,.1f} MB on the disk of {fetched}, which has {disk.free / 1e6:,.1f} MB free "
            f"(and {keep / 1e6:,.1f} MB of them stay free)"
        )


def _download(
    url: str, shown: str, name: str, fetched: Path, ask: Callable[[str], _Answer | None], listed: str = ""
) -> tuple[Path, str]:
    """Returns (local file, version) of a URL, downloading it unless the version at hand is the current one.

    ``ask`` requests the file, given the ETag at hand, and answers None when that is current; ``listed`` is
    the ETag that a listing named: the file is read as it was then, or not at all.
    """
    kept = _kept(url, fetched)
    # Only a strong ETag (in quotes, no W/ before) promises the same bytes.
    etag = kept[1] if kept and kept[1].startswith('"') else ""
    if kept and etag and etag == listed:
        return kept
    folder = _folder(url, fetched)
    # A name for a file here: nothing that leads elsewhere, and short enough; what matters is its end.
    name = re.sub(r"[/\\\x00-\x1f]", "_", name).encode()[-150:].decode(errors="ignore")
    note = folder.with_suffix(".json")
    deadline = time.monotonic() + LONGEST
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.part"):
            # left by a process that was killed: a living one writes all the time
            if time.time() - old.stat().st_mtime > LONGEST:
                old.unlink(missing_ok=True)
        for restart in range(RESTARTS + 1):
            if restart:
                time.sleep(BACKOFF * 2 ** (restart - 1) * (1 + random.random()))
            try:
                answer = ask(etag)
                if kept and answer is None:
                    return kept
                assert answer is not None
                with closing(answer):
                    if kept and etag and answer.version == etag:
                        return kept
                    if listed and answer.version != listed:
                        raise FileProblem(f"'{shown}' changed while it was read; run again")
                    # Readers know packed files by their first bytes, whatever their names say.
                    if answer.packed.lower() not in ("", "identity", "aws-chunked", "gzip", "x-gzip", "zstd"):
                        raise FileProblem(
                            f"'{shown}' is packed in a way that is not read; accepted: gzip, zstd"
                        )
                    part, size = _write(answer, shown, folder, deadline)
            except _BrokenOff:
                continue
            # in this order: a note never describes another file than the one beside it
            note.unlink(missing_ok=True)
            os.replace(part, folder / name)
            text = json.dumps({"name": name, "size": size, "version": answer.version})
            note.write_text(text, encoding="utf-8")
            return folder / name, answer.version
        raise FileProblem(
            f"'{shown}' broke off midway, {RESTARTS + 1} times in a row; try again later", transient=True
        )
    except OSError as error:
        raise FileProblem(f"'{shown}' can't be kept in {fetched}: {error.strerror or error}") from None


def _write(answer: _Answer, shown: str, folder: Path, deadline: float) -> tuple[Path, int]:
    """Returns (temporary file, bytes) of a body that is complete; of one that is not, nothing stays."""
    _check_room(folder.parent, answer.size or 0, shown)
    handle, temporary = tempfile.mkstemp(suffix=".part", dir=folder)
    part, size = Path(temporary), 0
    try:
        with open(handle, "wb", buffering=PIECE) as file:
            for piece in answer.pieces:
                file.write(piece)
                size += len(piece)
                if answer.size is None:
                    _check_room(folder.parent, len(piece), shown)
                if time.monotonic() > deadline:
                    raise FileProblem(
                        f"'{shown}' took longer than {LONGEST / 3600:g} hours to download", transient=True
                    )
        if answer.size is not None and size != answer.size:
            raise _BrokenOff
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return part, size


# -- S3 --


def _s3(bucket: str, key: str, fetched: Path | None) -> list[Place]:
    """Returns the files of an S3 path, downloaded if there is a folder for them."""
    shown = f"s3://{bucket}/{key}"
    magic = MAGIC.search(key)
    literal = key[: magic.start()] if magic else key
    fixed = literal[: literal.rfind("/") + 1]  # the folder that partitions are below
    check_allowed(f"s3://{bucket}/{fixed}" if magic else shown, shown)
    with s3.words(shown, bucket):
        client = s3.client()
    sizes: dict[str, tuple[str, int]] = {}  # of what was listed: (ETag, bytes) by key

    def listed(pattern: list[str]) -> list[str]:
        found: list[str] = []
        looked_at = 0
        # One level is listed without what is below it: a folder of one file may have millions beside it
        level = {"Delimiter": "/"} if len(pattern) == 1 else {}
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=literal, **level)
        for page in pages:
            looked_at += len(page.get("CommonPrefixes", []))
            for entry in page.get("Contents", []):
                looked_at += 1
                name = entry["Key"].removeprefix(fixed)
                if not name.endswith("/") and _fits(name.split("/"), pattern):  # "folders" made by a console
                    found.append(name)
                    sizes[entry["Key"]] = (s3.etag(entry), entry["Size"])
            _check_limits(shown, len(found), looked_at)
        return found

    def get(key: str) -> tuple[Path, str]:
        assert fetched is not None
        url, name, etag = f"s3://{bucket}/{key}", key.rpartition("/")[2], sizes.get(key, ("", 0))[0]
        return _download(url, url, name, fetched, lambda _: _s3_answer(client, bucket, key, etag), etag)

    def exists() -> bool:
        """Says whether a key with glob characters in it exists as it is."""
        try:
            client.head_object(Bucket=bucket, Key=key)
            return True
        except client.exceptions.ClientError:  # what is wrong, if anything is, the listing will say
            return False

    def hint() -> str:
        """Returns the names near the one that is missing, if they may be listed."""
        folder = f"s3://{bucket}/{fixed}"
        try:
            with s3.words(shown, bucket):
                page = client.list_objects_v2(Bucket=bucket, Prefix=fixed, Delimiter="/")
        except FileProblem:
            return ""
        near = [entry["Key"] for entry in page.get("Contents", [])]
        near += [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
        wanted = key.rpartition("/")[2]
        return _near(wanted, [name[len(fixed) :] for name in near], folder) if _allowed(folder) else ""

    with s3.words(shown, bucket):
        one = bool(key) and not key.endswith("/") and (not magic or exists())
        if one:
            names = [key[len(fixed) :]]
        else:
            pattern = [part for part in key[len(fixed) :].split("/") if part]
            names = _choose(shown, pattern, not key or key.endswith("/"), listed)
    if not names:
        raise NotThere(f"no file matches '{shown}'{hint()}")
    keys = [fixed + name for name in names]
    if fetched is None:
        try:
            with s3.words(shown, bucket):
                tags = [
                    sizes[key][0] if key in sizes else s3.etag(client.head_object(Bucket=bucket, Key=key))
                    for key in keys
                ]
        except NotThere as problem:
            raise NotThere(f"{problem}{hint()}") from None
        return [Place(NOWHERE, f"s3://{bucket}/{key}", {}, tag) for key, tag in zip(keys, tags, strict=True)]
    wanted = [
        key
        for key in keys
        if key in sizes and (_kept(f"s3://{bucket}/{key}", fetched) or "")[1:] != sizes[key][:1]
    ]
    _check_room(fetched, sum(sizes[key][1] for key in wanted), shown)
    try:
        with ThreadPoolExecutor(PARALLEL) as pool:
            files = list(pool.map(get, keys))
    except NotThere as problem:
        raise NotThere(f"{problem}{hint()}") from None
    return [
        Place(
            file, f"s3://{bucket}/{fixed}{name}", {} if one else _partitions(name, shown), version.strip('"')
        )
        for name, (file, version) in zip(names, files, strict=True)
    ]


def _s3_answer(client: Any, bucket: str, key: str, listed: str) -> _Answer:
    """Requests an object, as it was listed."""
    from botocore.exceptions import BotoCoreError

    with s3.words(f"s3://{bucket}/{key}", bucket, listed):
        # Not every S3 server heeds IfMatch, so the caller compares the ETag as well.
        found = client.get_object(Bucket=bucket, Key=key, **({"IfMatch": listed} if listed else {}))

    def pieces() -> Iterator[bytes]:
        try:
            yield from iter(lambda: found["Body"].read(PIECE), b"")
        except (BotoCoreError, urllib3.exceptions.HTTPError):
            raise _BrokenOff from None

    packed = found.get("ContentEncoding", "")
    return _Answer(s3.etag(found), found["ContentLength"], packed, pieces(), found["Body"].close)


# -- https --


class _Retry(urllib3.Retry):
    """Retries all but a certificate that is not trusted: waiting won't change it."""

    def increment(self, *args: Any, error: Exception | None = None, **others: Any) -> Any:
        if _bad_certificate(error):
            raise error  # type: ignore[misc]
        return super().increment(*args, error=error, **others)  # type: ignore[misc]


def _bad_certificate(error: BaseException | None) -> str:
    """Returns what is wrong with a certificate, or ''."""
    cause = error.args[0] if isinstance(error, urllib3.exceptions.SSLError) and error.args else None
    return cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else ""


def _https(url: str, fetched: Path) -> Place:
    """Returns the file of an https URL, downloaded."""
    try:
        parts = urlsplit(url)
        # parsers differ in what they make of odd hosts; a plain one they read alike
        if not re.fullmatch(r"([\w.-]+|\[[0-9A-Fa-f:.]+\])(:\d+)?", parts.netloc) or parts.port == 0:
            raise ValueError
    except ValueError:
        raise FileProblem("the https:// path is not a URL: https://host/path/file.csv") from None
    shown = f"https://{parts.netloc}{parts.path}"
    if parts.fragment or MAGIC.search(parts.path) or not parts.path.strip("/") or parts.path.endswith("/"):
        raise FileProblem(f"'{shown}' must name one file, without glob or #: https:// has no folders to list")
    if "${" in parts.netloc + parts.path:
        raise FileProblem(f"'{shown}': a variable may stand only in the query of a URL")
    _check_query(parts.query, shown)
    check_allowed(shown, shown)
    certificates = os.environ.get("SSL_CERT_FILE") or certifi.where()
    if not os.path.isfile(certificates):
        raise FileProblem(f"'{shown}': SSL_CERT_FILE names no file")

    def value(reference: re.Match[str]) -> str:
        found = os.environ.get(reference[1], "").strip()
        if not found:
            raise FileProblem(f"'{shown}': the environment variable {reference[1]} is not set")
        return found.replace("#", "%23")

    secret_url = f"{shown}?{REFERENCE.sub(value, parts.query)}" if parts.query else shown
    retries = _Retry(
        total=RETRIES,
        backoff_factor=BACKOFF,
        backoff_jitter=BACKOFF,
        status_forcelist=(429, 500, 502, 503, 504),
        raise_on_status=False,
        retry_after_max=RETRY_AFTER,
    )
    with urllib3.PoolManager(
        ca_certs=certificates, timeout=urllib3.Timeout(connect=CONNECT, read=READ), retries=retries
    ) as pool:
        name = unquote(parts.path.rpartition("/")[2])
        file, version = _download(
            url, shown, name, fetched, lambda etag: _https_answer(pool, secret_url, shown, etag)
        )
    return Place(file, shown, {}, version.strip('"') if version.startswith('"') else version)


def _check_query(query: str, shown: str) -> None:
    """Refuses what may be a secret in the query of a URL: a spec is no place for it."""
    for parameter in query.split("&"):
        name, equals, value = parameter.partition("=")
        name, value = (name, value) if equals else ("", name)
        literal = REFERENCE.sub("", value)
        named = re.fullmatch(r"[\w.-]{0,32}", name, re.ASCII)
        if named and not literal:
            continue
        if not named or SECRET_NAMES.search(name) or not re.fullmatch(r"[\w.-]{1,16}", literal, re.ASCII):
            which = f"'{name}'" if named and name else "a parameter"
            raise FileProblem(
                f"'{shown}': the value of {which} in its query may be a secret, which a spec must not hold; put it (as it "
                "stands in a URL) into an environment variable whose name starts with CRM_MERGE_, and write "
                f"{name if named and name else 'name'}=${{CRM_MERGE_…}}"
            )


def _https_answer(pool: urllib3.PoolManager, secret_url: str, shown: str, etag: str) -> _Answer | None:
    """Requests a file, following redirects; None when the ETag at hand is current."""
    # identity: a length can be checked only of bytes that are not packed on the way
    headers = {"Accept-Encoding": "identity", "User-Agent": "crm-merge"} | (
        {"If-None-Match": etag} if etag else {}
    )
    for _ in range(REDIRECTS + 1):
        try:
            response = pool.request("GET", secret_url, headers=headers, redirect=False, preload_content=False)
        except urllib3.exceptions.HTTPError as error:
            raise _https_problem(error, shown) from None
        location = response.get_redirect_location()
        if not location:
            break
        response.close()
        try:
            secret_url = urljoin(secret_url, location)
            kind, host, path = urlsplit(secret_url)[:3]
        except ValueError:
            raise FileProblem(f"'{shown}' redirects to an address that is malformed") from None
        host = host.rpartition("@")[2]
        if kind != "https":
            raise FileProblem(f"'{shown}' redirects to an address that is not https://")
        if s3.climbs(path):
            raise FileProblem(f"'{shown}' redirects to {host}, to a path with '.' or '..' as a folder")
        check_allowed(secret_url, shown, f" redirects to {host}, which")
    else:
        raise FileProblem(f"'{shown}' redirects more than {REDIRECTS} times")

    got = response.headers
    problem = ""
    if response.status == 304 and etag:
        response.close()
        return None
    if response.status != 200:
        words = HTTPS_ERRORS.get(response.status, "can't be read: the server answers {status}")
        problem = words.format(status=response.status)
    elif response.length_remaining is None and not response.chunked:
        problem = "can't be read with certainty: the server does not say how long it is, so a break would go unnoticed"
    if problem:
        response.close()
        raise FileProblem(f"'{shown}' {problem}", transient=response.status == 429 or response.status >= 500)

    def pieces() -> Iterator[bytes]:
        try:
            # read1 returns what is there, so that a server that trickles meets the deadline
            first = response.read1(PIECE, decode_content=False)
            if first.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
                raise FileProblem(f"'{shown}' is a web page, not a file; it may ask for a login")
            yield first
            yield from iter(lambda: response.read1(PIECE, decode_content=False), b"")
        except (urllib3.exceptions.HTTPError, OSError):
            raise _BrokenOff from None

    version = got.get("ETag") or got.get("Last-Modified", "")
    return _Answer(
        version, response.length_remaining, got.get("Content-Encoding", ""), pieces(), response.close
    )


def _https_problem(error: urllib3.exceptions.HTTPError, shown: str) -> Exception:
    """Returns what a failed request means; urllib3's own texts hold the URL with its query."""
    reason = getattr(error, "reason", None) or error
    if wrong := _bad_certificate(reason):
        return FileProblem(f"'{shown}': the server's certificate is not trusted: {wrong} (see SSL_CERT_FILE)")
    if isinstance(reason, urllib3.exceptions.NameResolutionError):
        return FileProblem(
            f"'{shown}' can't be reached: there is no host of that name, or no network", transient=True
        )
    if isinstance(reason, urllib3.exceptions.LocationParseError | urllib3.exceptions.InvalidHeader):
        return FileProblem(f"'{shown}' can't be read: its URL, or what the server answers, is malformed")
    return FileProblem(
        f"'{shown}' can't be reached: the host does not answer, or breaks the connection", transient=True
    )
