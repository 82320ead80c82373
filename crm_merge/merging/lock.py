"""A merge directory is held by a lock (flock) on its ``.lock`` for as long as a run is at work in it."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOCK = ".lock"
MARKS = (LOCK, "merge.duckdb", ".crm-merge")  # what only a merge directory has
PATIENCE = 0.5  # seconds: who only looks whether a merge is at work holds its lock for a moment


class InUse(Exception):
    """Another run is at work in a merge directory."""


@contextmanager
def held(place: Path) -> Iterator[None]:
    """Holds a merge directory, which it makes if need be; InUse if another run has it; OSError if it can't be made.

    The lock counts only if it is the one at the place: a sweep may have removed the directory since it was opened.
    """
    end = time.monotonic() + PATIENCE
    while (lock := _locked(place)) is None:
        if time.monotonic() > end:
            if not place.is_dir():
                raise FileNotFoundError(errno.ENOENT, "no directory can be made there", str(place))
            raise InUse(f"another run is at work in {place}")
        time.sleep(PATIENCE / 20)
    try:
        os.utime(lock)  # the time of its last use, by which a sweep goes
        yield
    finally:
        with suppress(OSError):
            os.utime(lock)
        os.close(lock)


def _locked(place: Path) -> int | None:
    """Returns the open lock of a merge directory, None if it can't be had now."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        lock = os.open(place / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    except FileNotFoundError:  # a sweep removed a folder between the two
        return None
    except FileExistsError:  # or between two looks of mkdir; else it is a file
        if os.path.lexists(place) and not place.is_dir():
            raise
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(lock), os.stat(place / LOCK, follow_symlinks=False)):
            return lock
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(lock)
        raise
    os.close(lock)
    return None


def at_work(place: Path) -> bool:
    """Says whether a run holds a merge directory. Looks only: it keeps no run from starting (``held`` is patient)."""
    try:
        lock = os.open(place / LOCK, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        if not stat.S_ISREG(os.fstat(lock).st_mode):
            return False
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(lock)
    return False
