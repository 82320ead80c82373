"""Uploads the local files of a spec to a place on S3, then the spec itself, whose paths are then relative to the place.

Each file has a folder of its own below one that is called as the spec (``people/original/crm.csv``, ``people/apollo/apollo.csv``,
``people/assertions-1/…``), so that two of one name don't meet, nor those of two specs. What is there with the same bytes is not sent again. The spec is there only when all that it names is:
who watches the place for specs finds complete ones.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from crm_merge.engine import describe
from crm_merge.reading import FileProblem, places, s3, storage
from crm_merge.spec import yaml_file

PIECE = 1 << 20  # bytes in memory per file that is hashed
ROUNDS = 3  # of checking: without the files of which something was found to be wrong, the others show more
SETTING = re.compile(r"(original|enriched\[\d+\]|assertions(?:\[\d+\])?)(?:\.[^:\s]+)?: (.*)", re.DOTALL)


class UploadProblem(Exception):
    """What keeps everything from being uploaded, as sentences."""

    def __init__(self, problems: list[str]):
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass
class Item:
    """One file: the setting that names it, its local path ('' for one that is remote and stays where it is), how people see
    it, its name below the place, its size in bytes, and what became of it: ``state`` is '' until that is known, then
    'uploaded', 'was there', 'stays' or 'failed', and ``why`` the reason of the last.
    """  # fmt: skip

    setting: str
    path: Path | None
    shown: str
    name: str = ""
    size: int = 0
    state: str = ""
    why: str = ""
    sha256: str = ""
    before: tuple[int, int, int] | None = None

    def fail(self, why: str) -> None:
        """Notes the first reason why this file can't be uploaded."""
        if self.state != "failed":
            self.state, self.why = "failed", why


@dataclass
class Upload:
    """What is to be uploaded: the spec's files, folders below the place that a glob will read, and the spec to write there."""

    spec: Path
    place: storage.Place
    items: list[Item]
    folders: dict[str, str] = field(
        default_factory=dict
    )  # name below the place to the setting that reads all in it
    written: dict[str, Any] = field(default_factory=dict)

    def failed(self) -> bool:
        """Says whether a file can't be there."""
        return any(item.state == "failed" for item in self.items)


def prepare(spec: Path, to: str) -> Upload:
    """Finds the files of a spec and gives them names below the place; raises UploadProblem, SpecProblem."""
    try:
        place = storage.at(to, owner=str(spec.absolute()))
        if not place.remote:
            raise FileProblem("the place to upload to must be s3://bucket/prefix/")
        place.check()
    except FileProblem as problem:
        raise UploadProblem([str(problem)]) from None
    written, wanted = yaml_file.read(spec), yaml_file.load(spec)
    upload = Upload(spec, place, [], written=written)
    taken = {spec.name.lower()}
    for setting, there, key, path in named(wanted, written):
        folder = f"{own_name(spec)}/{own_folder(setting, there, taken)}"
        if yaml_file.is_remote(path):
            # a password or a query is told to be wrong by the check; here it is not repeated
            shown = re.sub(r"//[^/]*@", "//…@", path.partition("?")[0])
            upload.items.append(Item(setting, None, shown, state="stays"))
        else:
            there[key] = add(upload, setting, path, folder) or there[key]
    return upload


def named(wanted: dict[str, Any], written: dict[str, Any]) -> list[tuple[str, Any, Any, str]]:
    """Returns every file of a spec: (setting, block or list of the spec as written, its key there, absolute path)."""
    found: list[tuple[str, Any, Any, str]] = []
    blocks = [("original", wanted.get("original"), written.get("original"))]
    enriched = wanted.get("enriched")
    if isinstance(enriched, list):
        blocks += [(f"enriched[{n}]", block, written["enriched"][n]) for n, block in enumerate(enriched)]
    for setting, block, there in blocks:
        if isinstance(block, dict) and isinstance(block.get("path"), str):
            found.append((setting, there, "path", block["path"]))
    decided = wanted.get("assertions")
    if isinstance(decided, list):
        several = len(decided) > 1
        if isinstance(written["assertions"], str):
            written["assertions"] = [written["assertions"]]
        found += [
            (f"assertions[{n}]" if several else "assertions", written["assertions"], n, path)
            for n, path in enumerate(decided)
            if isinstance(path, str)
        ]
    return found


def own_name(spec: Path) -> str:
    """Returns the name of the folder for a spec's files: its own; with a number where it holds what servers mind, so that no two meet."""
    if re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", spec.stem):
        return spec.stem
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", spec.stem)[:60].strip("_-") or "spec"
    return f"{plain}-{hashlib.sha256(spec.stem.encode('utf-8', 'surrogateescape')).hexdigest()[:6]}"


def own_folder(setting: str, block: Any, taken: set[str]) -> str:
    """Returns the name of a folder for a file or vendor, which no other has, in letters that no server minds."""
    word = (
        "original"
        if setting == "original"
        else f"assertions-{int((re.findall('[0-9]+', setting) or [0])[0]) + 1}"
    )
    if setting.startswith("enriched"):
        word = (
            re.sub(r"[^A-Za-z0-9._-]+", "_", str(block.get("name") or "vendor"))[:60].strip("._-") or "vendor"
        )
    name, number = word, 2
    while name.lower() in taken or (name.lower() == "original" and setting != "original"):
        name, number = f"{word}-{number}", number + 1
    taken.add(name.lower())
    return name


def add(upload: Upload, setting: str, path: str, folder: str) -> str:
    """Adds the local files that a path means; returns the path of the spec that means them below the place, '' if there are none."""
    try:
        # nothing is downloaded: the path is local
        found = places.find(path, upload.spec.absolute().parent, Path(os.devnull))
        exact = os.path.lexists(path) and not os.path.isdir(path)
        parts = Path(path).parts
        if not os.path.isdir(path):  # a glob's fixed part is what comes before the first sign
            parts = parts[
                : next((k for k, part in enumerate(parts) if places.MAGIC.search(part)), len(parts))
            ]
        for place in found:
            below = place.path.name if exact else os.path.relpath(place.path, os.path.abspath(Path(*parts)))
            name = f"{folder}/{below}"
            item = Item(setting, place.path, place.shown, name)
            upload.items.append(item)
            try:
                if not exact and re.search(r"(^|/)\.", below):
                    raise FileProblem(
                        "a name that starts with a dot is not found by a glob or folder; rename it"
                    )
                s3.address(upload.place.shown(name))  # as who reads it there will check it
                item.before = storage.state(place.path)
                item.size = item.before[0]
            except FileProblem as problem:
                item.fail(str(problem))
    except FileProblem as problem:
        upload.items.append(Item(setting, None, path, state="failed", why=str(problem)))
        return ""
    if exact:
        return upload.items[-1].name
    upload.folders[folder] = setting
    return f"{folder}/" if os.path.isdir(path) else f"{folder}/**/*"


def check(upload: Upload) -> None:
    """Checks the files as ``crm-merge validate`` does, and notes with each what is wrong with it.

    Raises UploadProblem for what is wrong with the spec itself. Files of which nothing can be said without one that is
    wrong (the keys of all, without the original) are taken as they are.
    """
    wanted = yaml_file.load(upload.spec)
    enriched = wanted.get("enriched")
    kept = list(range(len(enriched))) if isinstance(enriched, list) else []
    for _ in range(ROUNDS):
        bad = {item.setting for item in upload.items if item.state == "failed"}
        kept = [n for n in kept if f"enriched[{n}]" not in bad]
        if "original" in bad or (bad and not kept):
            return
        some = wanted | ({"enriched": [enriched[n] for n in kept]} if isinstance(enriched, list) else {})
        if any(setting.startswith("assertions") for setting in bad):
            some.pop("assertions")
        problems, described = describe.looked_at(some)
        others = []
        for problem in problems:
            found = SETTING.match(problem)
            setting = found[1] if found else ""
            if setting.startswith("enriched"):
                place = int(setting[9:-1])
                setting = f"enriched[{kept[place]}]" if place < len(kept) else ""
            if not found or not blame(upload, setting, found[2]):
                others.append(problem)
        for file in described:
            for problem in file["problems"]:
                for item in upload.items:
                    if item.shown == file["path"]:
                        item.fail(problem.partition(": ")[2])
        if others and not bad:
            raise UploadProblem(others)
        if described or others:
            return


def blame(upload: Upload, setting: str, problem: str) -> bool:
    """Notes a problem with the file of a setting that it names, or with all of them; says whether there is one."""
    items = [item for item in upload.items if item.setting == setting]
    named = [
        item
        for item in items
        if item.path
        and re.match(rf"(\S*/)?{re.escape(item.path.name)}(?![\w.-])|.*'{re.escape(item.shown)}'", problem)
    ]
    for item in named or items:
        item.fail(problem)
    return bool(items)


def compare(upload: Upload, jobs: int, on_bytes: Callable[[Item, int], None]) -> None:
    """Hashes the files and asks the place which are there already; refuses what else a folder's path would read there."""

    def one(item: Item) -> None:
        try:
            assert item.path is not None
            item.sha256 = digest(item, upload.place, on_bytes)
            there = upload.place.entry(item.name)
            if there and (there.size, there.sha256) == (item.size, item.sha256):
                item.state = "was there"
        except FileProblem as problem:
            item.fail(str(problem))

    each(upload, [item for item in upload.items if not item.state], jobs, one)
    for folder, setting in upload.folders.items():
        items = [item for item in upload.items if item.setting == setting]
        ours = {item.name for item in items}
        try:
            there = (f"{folder}/{entry.name}" for entry in storage.at(upload.place.shown(folder)).list())
            # what a folder's or a glob's path leaves out does no harm
            read = (name for name in there if name not in ours and not re.search(r"/[._]", name))
            others = [upload.place.shown(name) for name in islice(read, 3)]
        except FileProblem as problem:
            others, why = [], str(problem)
            for item in items:
                item.fail(why)
        for item in items if others else []:
            item.fail(
                f"{', '.join(others)} would be read with it, and is no file here; remove it, or upload to another prefix"
            )


def digest(item: Item, place: storage.Place, on_bytes: Callable[[Item, int], None]) -> str:
    """Returns the sha256 of a file that is still as it was when it was checked."""
    assert item.path is not None
    found = hashlib.sha256()
    try:
        with item.path.open("rb") as file:
            while piece := file.read(PIECE):
                if place.stopped():
                    raise FileProblem("it was interrupted")
                found.update(piece)
                on_bytes(item, len(piece))
    except OSError as error:
        raise FileProblem(f"it can't be read: {error.strerror}") from None
    if storage.state(item.path) != item.before:
        raise FileProblem("it changed after it was checked; run again when it is complete")
    return found.hexdigest()


def send(upload: Upload, jobs: int, on_bytes: Callable[[Item, int], None]) -> None:
    """Uploads the files that are not there, and the spec if then all are.

    A spec that is there is taken away before the first file that it may name is replaced.
    """
    wanted = [item for item in upload.items if not item.state]
    spec = Item("", upload.spec, str(upload.spec), upload.spec.name)

    def one(item: Item) -> None:
        try:
            assert item.path is not None
            if storage.state(item.path) != item.before:
                raise FileProblem("it changed after it was checked; run again when it is complete")
            upload.place.put(
                [(item.path, item.name)], None, lambda sent: on_bytes(item, sent), {item.name: item.sha256}
            )
            item.state = "uploaded"
        except FileProblem as problem:
            item.fail(str(problem))

    try:
        if wanted and upload.place.entry(spec.name):
            upload.place.remove([spec.name])
    except FileProblem as problem:
        for item in [*wanted, spec]:
            item.fail(str(problem))
        upload.items.append(spec)
        return
    each(upload, wanted, jobs, one)
    upload.items.append(spec)
    if any(item.state == "failed" for item in upload.items):
        spec.fail("it goes last, when all files are there")
        return
    text = yaml.safe_dump(upload.written, sort_keys=False, allow_unicode=True, width=120)
    with tempfile.TemporaryDirectory(prefix="crm-merge-") as folder:
        spec.path = Path(folder, "spec.yml")
        spec.path.write_text(text, encoding="utf-8")
        spec.before = storage.state(spec.path)
        spec.size, spec.sha256 = spec.before[0], hashlib.sha256(text.encode()).hexdigest()
        try:
            there = upload.place.entry(spec.name)
            if not wanted and there and (there.size, there.sha256) == (spec.size, spec.sha256):
                spec.state = "was there"
                return
        except FileProblem as problem:
            spec.fail(str(problem))
            return
        one(spec)


def each(upload: Upload, items: list[Item], jobs: int, work: Callable[[Item], None]) -> None:
    """Does something with each file, a few at a time; when it is interrupted, what is under way ends soon."""
    with ThreadPoolExecutor(jobs) as pool:
        running = [pool.submit(work, item) for item in items]
        try:
            for one in running:
                one.result()
        except BaseException:
            upload.place.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
