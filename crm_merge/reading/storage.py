"""A place of files: a local folder, or ``s3://bucket/prefix``. Files in it are listed, read, put and removed by their names below it.

Whoever reads a file there sees the old one or the new one, never half: a file is first written whole under a name of its
own below ``.publishing-…/`` in the same place, which listings leave out, and then renamed or, on S3, copied by the server.
Whatever is wrong is a FileProblem, a sentence without credentials, with ``transient`` for what passes by itself.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import stat
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crm_merge.reading import FileProblem, NotThere, s3

if TYPE_CHECKING:
    from s3transfer.futures import TransferFuture
    from s3transfer.manager import TransferManager

STAGED = ".publishing-"  # what the names of unfinished files start with
PIECE = 1 << 20  # bytes in memory per local copy
PART = 16 << 20  # bytes of a part of an upload; boto3 takes larger ones where there would be more than 10,000
COPIED_WHOLE = 5 << 30  # bytes that S3 copies in one request; more are copied in parts
PARALLEL = 8  # requests at a time per put
CONNECTIONS = 80  # at a time per place: as many puts at once as ten
LONGEST = (
    24 * 3600
)  # seconds for one put, and the age from which on an unfinished file of somebody else is removed
LONGEST_KEY = 1024  # bytes
BATCH = 1000  # keys that S3 removes in one request
ACCEPTED = "accepted: a local folder, s3://bucket/prefix"

Files = list[
    tuple[Path, str]
]  # local files with their names in a place; by another name, since places have a method `list`
Names = list[str]


@dataclass(frozen=True)
class Entry:
    """One file of a place: ``name`` below it, ``size`` in bytes, ``version`` (another for other content: S3's ETag, locally size,
    time and inode), ``modified`` (UTC), and the ``sha256`` that it was put with ('' where that is not known; listings know none).
    """  # fmt: skip

    name: str
    size: int
    version: str
    modified: datetime
    sha256: str = ""


class Place(ABC):
    """A local folder or a prefix on S3, made by ``at``. Several threads may use one."""

    url: str  # as people see it, with a slash at its end
    remote: bool

    @abstractmethod
    def list(self, suffixes: tuple[str, ...] = ()) -> Iterator[Entry]:
        """Yields the files of the place and of its folders, as they are found; of those only that end with a suffix (in any case).

        Memory stays small however many there are. A place that does not exist holds none.
        """

    @abstractmethod
    def read(self, name: str, most: int) -> bytes:
        """Returns what a file holds; raises FileProblem if that is more than so many bytes, NotThere if it is missing."""

    @abstractmethod
    def entry(self, name: str) -> Entry | None:
        """Returns one file, or None if it is not there."""

    @abstractmethod
    def put(
        self,
        files: Files,
        last: str | None = None,
        on_bytes: Callable[[int], None] = lambda size: None,
        digests: dict[str, str] | None = None,
    ) -> None:
        """Puts local files to their names here, ``last`` (one of the names) after all others.

        ``on_bytes`` is told how many bytes went since it was told before, from any thread, and less than none when some have to
        be sent again. ``digests`` are kept as the files' sha256, by name. If it fails, FileProblem says what is there now.
        """

    @abstractmethod
    def get(self, name: str, target: Path) -> None:
        """Copies a file of the place to a local one; raises NotThere if it is missing. What fails leaves no half file."""

    @abstractmethod
    def remove(self, names: Iterable[str]) -> None:
        """Removes files, those that are not there included."""

    @abstractmethod
    def check(self) -> None:
        """Raises FileProblem if the place can't be reached or looked into."""

    def stop(self) -> None:
        """Ends all that is being put from another thread; it fails as interrupted. A place that was stopped stays so."""
        self._stopping.set()

    def stopped(self) -> bool:
        """Says whether ``stop`` was called."""
        return self._stopping.is_set()

    def shown(self, name: str) -> str:
        """Returns a file's full address."""
        return self.url + name

    def __init__(self, url: str, owner: str):
        self.url = url
        self._stopping = threading.Event()
        self._owner = hashlib.sha256(owner.encode()).hexdigest()[:12]
        self._staging = f"{STAGED}{self._owner}-{secrets.token_hex(6)}/"
        self._tidied = False
        self._tidying = threading.Lock()

    def _leftover(self, name: str, modified: datetime) -> bool:
        """Says whether an unfinished file was left by a put that was killed: one of this owner, or an old one."""
        if name.startswith(self._staging):
            return False
        own = name.startswith(f"{STAGED}{self._owner}-")
        return own or datetime.now(timezone.utc) - modified > timedelta(seconds=LONGEST)

    def _checked(self, files: Files, last: str | None) -> Files:
        """Returns the files in the order in which they appear, the last one last."""
        names = [name for _, name in files]
        for name in names:
            self._check_name(name)
        if len(set(names)) < len(names) or (last is not None and last not in names):
            raise ValueError("each name once, and the last one among them")
        return sorted(files, key=lambda file: file[1] == last)

    def _check_name(self, name: str) -> None:
        """Refuses a name that could lead elsewhere, or that no object may have."""
        if (
            s3.CONTROL.search(name)
            or {"", ".", ".."} & set(name.split("/"))
            or re.search("[\ud800-\udfff]", name)
        ):
            raise FileProblem(f"{name!r} is no name of a file in {self.url}")
        if len(f"{self.url}{self._staging}{name}".encode()) > LONGEST_KEY:
            raise FileProblem(
                f"'{self.url}{name[:60]}…' is longer than the {LONGEST_KEY} bytes that a name may have"
            )

    def _tidy(self, clear: Callable[[], None]) -> None:
        """Removes, before the first put, what killed ones left."""
        with self._tidying:
            if not self._tidied:
                clear()
                self._tidied = True


def at(url: str, owner: str = "") -> Place:
    """Returns the place at a local folder's path or ``s3://bucket/prefix``; looks at nothing there yet.

    ``owner`` says who puts files there (a merge directory): what a killed put of the same owner left is removed by the next one
    at once, what others left when it is a day old. Two puts of one owner to one place must not be at work at a time.
    """
    if not url.strip():
        raise FileProblem(f"the address of the place is empty; {ACCEPTED}")
    scheme = re.match(r"\s*([A-Za-z][A-Za-z0-9+.-]+):/", url)
    if scheme and scheme[1].lower() != "s3":
        raise FileProblem(f"{scheme[1].lower()}:// is not supported here; {ACCEPTED}")
    if not scheme:
        if s3.CONTROL.search(url):
            raise FileProblem("the path holds a control character (a line end, a tab, a NUL)")
        return _Folder(Path(os.path.abspath(os.path.expanduser(url))), owner)
    bucket, prefix = s3.address(url)
    prefix = prefix.rstrip("/")
    if re.search(r"[*?[#\\]", prefix):
        raise FileProblem("an s3:// place is one prefix, without * ? [ # \\ in it: s3://bucket/prefix")
    if prefix and "" in prefix.split("/"):
        raise FileProblem("an s3:// place must not hold a folder without a name (//): s3://bucket/prefix")
    if len(prefix.encode()) > LONGEST_KEY // 2:
        raise FileProblem(f"the prefix of an s3:// place may have {LONGEST_KEY // 2} bytes")
    return _Bucket(bucket, f"{prefix}/" if prefix else "", owner)


def _ends(name: str, suffixes: tuple[str, ...]) -> bool:
    return not suffixes or name.lower().endswith(tuple(suffix.lower() for suffix in suffixes))


def state(path: Path) -> tuple[int, int, int]:
    """Returns what tells whether a local file is still the same: its size, time and inode; raises FileProblem if it can't be read."""
    try:
        found = path.stat()
    except OSError as error:
        raise FileProblem(f"'{path}' can't be read: {error.strerror}") from None
    if not stat.S_ISREG(found.st_mode):
        raise FileProblem(f"'{path}' is not a file")
    return found.st_size, found.st_mtime_ns, found.st_ino


class _Folder(Place):
    """A local folder."""

    remote = False

    def __init__(self, folder: Path, owner: str):
        super().__init__(f"{folder}/", owner)
        self.folder = folder

    def list(self, suffixes: tuple[str, ...] = ()) -> Iterator[Entry]:
        """Yields files folder by folder; links to folders are not followed, nor links to files elsewhere."""
        return self._walk(self.folder, "", suffixes)

    def _walk(self, folder: Path, above: str, suffixes: tuple[str, ...]) -> Iterator[Entry]:
        try:
            with os.scandir(folder) as found:
                inside = sorted(found, key=lambda one: one.name)
        except FileNotFoundError:
            return
        except OSError as error:
            raise FileProblem(f"the folder '{folder}' can't be read: {error.strerror}") from None
        for one in inside:
            if one.name.startswith(STAGED):
                continue
            if one.is_dir(follow_symlinks=False):
                yield from self._walk(Path(one.path), f"{above}{one.name}/", suffixes)
            elif _ends(one.name, suffixes) and (entry := self._found(f"{above}{one.name}")):
                yield entry

    def _found(self, name: str) -> Entry | None:
        """Returns a regular file that is in this folder, also by its links."""
        path = self.folder / name
        try:
            found = path.stat()
        except OSError:
            return None
        if not stat.S_ISREG(found.st_mode) or not self._inside(path):
            return None
        version = f"{found.st_size}-{found.st_mtime_ns}-{found.st_ino}"
        return Entry(name, found.st_size, version, datetime.fromtimestamp(found.st_mtime, timezone.utc))

    def _inside(self, path: Path) -> bool:
        return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(self.folder))

    def read(self, name: str, most: int) -> bytes:
        """Reads one byte more than it may, to know."""
        self._check_name(name)
        if not self._found(name):
            raise NotThere(f"there is no file '{self.shown(name)}'")
        try:
            with (self.folder / name).open("rb") as file:
                found = file.read(most + 1)
        except OSError as error:
            raise FileProblem(f"'{self.shown(name)}' can't be read: {error.strerror}") from None
        if len(found) > most:
            raise FileProblem(f"'{self.shown(name)}' is larger than the {most:,} bytes that it may have")
        return found

    def entry(self, name: str) -> Entry | None:
        """Looks at the file."""
        self._check_name(name)
        return self._found(name)

    def put(
        self,
        files: Files,
        last: str | None = None,
        on_bytes: Callable[[int], None] = lambda size: None,
        digests: dict[str, str] | None = None,
    ) -> None:
        """Copies the files beside their targets, waits until all are safely on disk, and renames them."""
        ordered = self._checked(files, last)
        staging = self.folder / self._staging
        done = 0
        try:
            self._tidy(self._clear)
            for source, name in ordered:
                before = state(source)
                target = staging / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with source.open("rb") as old, target.open("xb") as new:
                    while piece := old.read(PIECE):
                        if self._stopping.is_set():
                            raise FileProblem("it was interrupted")
                        new.write(piece)
                        on_bytes(len(piece))
                    new.flush()
                    os.fsync(new.fileno())
                if state(source) != before:
                    raise FileProblem(f"'{source}' changed while it was read; run again")
            for _, name in ordered:
                target = self.folder / name
                if not self._inside(target.parent):
                    raise FileProblem(f"'{target.parent}' leads out of {self.url}")
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(staging / name, target)
                done += 1
        except OSError as error:
            problem = FileProblem(f"files can't be put to {self.url}: {error.strerror or error}")
            raise _left(problem, done, len(files), last) from None
        except FileProblem as problem:
            raise _left(problem, done, len(files), last) from None
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _clear(self) -> None:
        for left in self.folder.glob(f"{STAGED}*"):
            modified = datetime.fromtimestamp(left.lstat().st_mtime, timezone.utc)
            if self._leftover(f"{left.name}/", modified):
                shutil.rmtree(left, ignore_errors=True)

    def get(self, name: str, target: Path) -> None:
        """Copies the file under another name, then renames it."""
        self._check_name(name)
        if not self._found(name):
            raise NotThere(f"there is no file '{self.shown(name)}'")
        unfinished = target.with_name(f"{STAGED}{target.name}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.folder / name, unfinished)
            os.replace(unfinished, target)
        except OSError as error:
            with suppress(OSError):
                unfinished.unlink()
            raise FileProblem(f"'{self.shown(name)}' can't be copied to {target}: {error.strerror}") from None

    def remove(self, names: Iterable[str]) -> None:
        """Unlinks the files."""
        for name in names:
            self._check_name(name)
            if not self._inside((self.folder / name).parent):
                raise FileProblem(f"'{self.shown(name)}' leads out of {self.url}")
            try:
                (self.folder / name).unlink(missing_ok=True)
            except NotADirectoryError:
                continue
            except OSError as error:
                raise FileProblem(f"'{self.shown(name)}' can't be removed: {error.strerror}") from None

    def check(self) -> None:
        """Says whether there is something else than a folder; one that is missing is made by the first put."""
        if self.folder.exists() and not os.access(self.folder, os.R_OK | os.X_OK):
            raise FileProblem(f"the folder '{self.folder}' can't be read: permission denied")
        if self.folder.exists() and not self.folder.is_dir():
            raise FileProblem(f"'{self.folder}' is not a folder")


class _Bucket(Place):
    """A prefix on S3."""

    remote = True

    def __init__(self, bucket: str, prefix: str, owner: str):
        super().__init__(f"s3://{bucket}/{prefix}", owner)
        self.bucket, self.prefix = bucket, prefix
        self._made: Any = None
        self._making = threading.Lock()

    @contextmanager
    def _asked(self, shown: str, done: str = "read") -> Iterator[Any]:
        """Lends the client, which is made once, and turns its errors into sentences."""
        with s3.words(shown, self.bucket, done=done):
            with self._making:
                self._made = self._made or s3.client(CONNECTIONS)
            yield self._made

    def _pages(self, below: str, shown: str) -> Iterator[dict[str, Any]]:
        """Yields the objects whose keys start with the prefix and with ``below``, in order of their keys."""
        with self._asked(shown) as client:
            pages = iter(
                client.get_paginator("list_objects_v2").paginate(
                    Bucket=self.bucket, Prefix=self.prefix + below
                )
            )
        while True:
            with self._asked(shown):
                page = next(pages, None)
            if page is None:
                return
            yield from page.get("Contents", [])

    def list(self, suffixes: tuple[str, ...] = ()) -> Iterator[Entry]:
        """Yields objects in order of their keys; one page of a thousand is in memory."""
        for found in self._pages("", self.url):
            name = found["Key"].removeprefix(self.prefix)
            # "folders" made by a console end with a slash
            if name and not name.endswith("/") and not name.startswith(STAGED) and _ends(name, suffixes):
                yield Entry(name, found["Size"], s3.etag(found).strip('"'), _utc(found["LastModified"]))

    def read(self, name: str, most: int) -> bytes:
        """Asks for the object, and reads it only if it is small enough."""
        self._check_name(name)
        with self._asked(self.shown(name)) as client:
            found = client.get_object(Bucket=self.bucket, Key=self.prefix + name)
            with closing(
                found["Body"]
            ) as body:  # as a context it lends what is below it, which notices nothing
                data = b""
                # to its end, where boto3 notices a body that breaks off; in pieces, since a server may send what it likes
                while found.get("ContentLength", 0) <= most and len(data) <= most:
                    piece = body.read(min(PIECE, most + 1 - len(data)))
                    if not piece:
                        return data
                    data += piece
        raise FileProblem(f"'{self.shown(name)}' is larger than the {most:,} bytes that it may have")

    def entry(self, name: str) -> Entry | None:
        """Asks for the object's head."""
        self._check_name(name)
        try:
            with self._asked(self.shown(name)) as client:
                found = client.head_object(Bucket=self.bucket, Key=self.prefix + name)
        except NotThere:
            return None
        digest = {key.lower(): value for key, value in found.get("Metadata", {}).items()}.get("sha256", "")
        version = s3.etag(found).strip('"')
        return Entry(name, found["ContentLength"], version, _utc(found["LastModified"]), digest)

    def put(
        self,
        files: Files,
        last: str | None = None,
        on_bytes: Callable[[int], None] = lambda size: None,
        digests: dict[str, str] | None = None,
    ) -> None:
        """Uploads the files in parts to keys below ``.publishing-…/``, then has the server copy them to their own."""
        from boto3.s3.transfer import ProgressCallbackInvoker, TransferConfig

        ordered = self._checked(files, last)
        # "classic": the other client, which is taken where its package is installed, has settings of its own
        in_parts = TransferConfig(
            multipart_threshold=PART,
            multipart_chunksize=PART,
            max_concurrency=PARALLEL,
            preferred_transfer_client="classic",
        )
        in_one = TransferConfig(
            multipart_threshold=COPIED_WHOLE,
            multipart_chunksize=1 << 30,
            max_concurrency=PARALLEL,
            preferred_transfer_client="classic",
        )
        metadata = {
            name: {"Metadata": {"sha256": digest}} for name, digest in (digests or {}).items() if digest
        }
        deadline = time.monotonic() + LONGEST
        done: Names = []

        def upload(manager: TransferManager, source: Path, name: str) -> TransferFuture:
            told = [ProgressCallbackInvoker(on_bytes)]
            return manager.upload(
                str(source), self.bucket, self.prefix + self._staging + name, metadata.get(name), told
            )

        def copy(manager: TransferManager, _: Path, name: str) -> TransferFuture:
            # the metadata come along
            staged = {"Bucket": self.bucket, "Key": self.prefix + self._staging + name}
            return manager.copy(staged, self.bucket, self.prefix + name)

        try:
            self._tidy(self._clear)
            before = [state(source) for source, _ in ordered]
            self._transfer(ordered, in_parts, upload, deadline, [], wait_for_all=False)
            for (source, _), was in zip(ordered, before, strict=True):
                if state(source) != was:
                    raise FileProblem(f"'{source}' changed while it was read; run again")
            head, tail = (ordered[:-1], ordered[-1:]) if last is not None else (ordered, [])
            self._transfer(head, in_one, copy, deadline, done)
            self._transfer(tail, in_one, copy, deadline, done)
        except FileProblem as problem:
            raise _left(problem, len(done), len(files), last) from None
        finally:
            # what can't be removed now is removed by the next put
            try:
                self._delete(self.prefix + self._staging + name for _, name in ordered)
            except FileProblem:
                self._tidied = False

    def _transfer(
        self,
        files: Files,
        config: Any,
        begin: Callable[[TransferManager, Path, str], TransferFuture],
        deadline: float,
        done: Names,
        wait_for_all: bool = True,
    ) -> None:
        """Begins a transfer of each file; adds to ``done`` the names of those that went well. A failure cancels the others, or
        waits for them."""
        from boto3.s3.transfer import create_transfer_manager
        from s3transfer.exceptions import CancelledError, FatalError, S3CopyFailedError

        files = files.copy()
        while files:
            some, files = files[:BATCH], files[BATCH:]
            with (
                self._asked(self.shown(some[0][1]), "written") as client,
                # leaving it with an exception cancels what is under way
                create_transfer_manager(client, config) as manager,
            ):
                begun = [(name, begin(manager, source, name)) for source, name in some]
                failed: FileProblem | None = None
                for name, transfer in begun:
                    while not transfer.done():
                        if self._stopping.wait(0.02):
                            raise FileProblem("it was interrupted")
                        if time.monotonic() > deadline:
                            hours = f"{LONGEST / 3600:g} hours"
                            raise FileProblem(f"putting files to {self.url} took longer than {hours}", True)
                    try:
                        with s3.words(self.shown(name), self.bucket, done="written"):
                            transfer.result()
                        done.append(name)
                    except (CancelledError, FatalError):
                        failed = failed or FileProblem("it was interrupted")
                    except KeyError:  # boto3 looks for what an answer does not hold
                        said = f"'{self.shown(name)}': the S3 server does not copy a file of this size"
                        failed = failed or FileProblem(said)
                    except (NotThere, S3CopyFailedError):
                        failed = failed or FileProblem(
                            f"'{self.shown(name)}': what was uploaded is gone; another run may be putting files to {self.url}",
                            transient=True,
                        )
                    except OSError as error:
                        raise FileProblem(f"a file can't be read: {error.strerror or error}") from None
                    except FileProblem as problem:
                        if not wait_for_all:
                            raise
                        failed = failed or problem  # the other copies are short, and end whole
                if failed:
                    raise failed

    def get(self, name: str, target: Path) -> None:
        """Downloads the object in parts; boto3 writes it under another name, and renames it."""
        from boto3.s3.transfer import TransferConfig

        self._check_name(name)
        in_parts = TransferConfig(
            multipart_threshold=PART, multipart_chunksize=PART, max_concurrency=PARALLEL,
            preferred_transfer_client="classic",
        )  # fmt: skip
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with self._asked(self.shown(name)) as client:
                client.download_file(self.bucket, self.prefix + name, str(target), Config=in_parts)
        except OSError as error:
            raise FileProblem(
                f"'{self.shown(name)}' can't be copied to {target}: {error.strerror or error}"
            ) from None

    def remove(self, names: Iterable[str]) -> None:
        """Removes the objects, a thousand at a time."""
        names = [*names]
        for name in names:
            self._check_name(name)
        self._delete(self.prefix + name for name in names)

    def _delete(self, keys: Iterable[str]) -> None:
        keys = iter(keys)
        while some := [{"Key": key} for key in islice(keys, BATCH)]:
            with self._asked(self.url, "written") as client:
                answer = client.delete_objects(Bucket=self.bucket, Delete={"Objects": some, "Quiet": True})
            for wrong in answer.get("Errors", []):
                code = str(wrong.get("Code", ""))
                code = code if re.fullmatch(r"\w{1,60}", code) else "an error"
                raise FileProblem(
                    f"'s3://{self.bucket}/{wrong.get('Key', '')}' can't be removed: the S3 server answers {code}",
                    transient=code in s3.BUSY,
                )

    def _clear(self) -> None:
        """Removes the unfinished objects, and the parts of objects, that killed puts left."""

        def left(key: str, modified: datetime) -> bool:
            return self._leftover(key.removeprefix(self.prefix), _utc(modified))

        self._delete(
            found["Key"]
            for found in self._pages(STAGED, self.url)
            if left(found["Key"], found["LastModified"])
        )
        # Some servers know no list of unfinished uploads, and some credentials may not see it: they only take room.
        try:
            with self._asked(self.url) as client:
                pages = client.get_paginator("list_multipart_uploads").paginate(
                    Bucket=self.bucket, Prefix=self.prefix + STAGED
                )
                for page in pages:
                    for found in page.get("Uploads", []):
                        if left(found["Key"], found["Initiated"]):
                            client.abort_multipart_upload(
                                Bucket=self.bucket, Key=found["Key"], UploadId=found["UploadId"]
                            )
        except FileProblem as problem:
            if problem.transient:
                raise

    def check(self) -> None:
        """Asks for the list of the place's first object."""
        with self._asked(self.url) as client:
            client.list_objects_v2(Bucket=self.bucket, Prefix=self.prefix, MaxKeys=1)


def _utc(time_: datetime) -> datetime:
    return time_.astimezone(timezone.utc)


def _left(problem: FileProblem, done: int, files: int, last: str | None) -> FileProblem:
    """Returns a problem of a put with what is in the place now."""
    if not done:
        return FileProblem(f"{problem}; what was there before is untouched", problem.transient)
    old = f", but {last} is the old one" if last is not None else ""
    return FileProblem(
        f"{problem}; {done} of {files} files there are the new ones already{old}: run again",
        problem.transient,
    )
