"""Compiled Jinja that is kept: dbt compiles each model's and macro's text anew in each run, though it is the same for every merge.

What is kept is code, so it lies inside the installation, by the versions of Python and Jinja, and is put there by rename.
"""

from __future__ import annotations

import hashlib
import marshal
import os
import sys
from contextlib import suppress
from pathlib import Path
from types import CodeType
from typing import Any

import jinja2

from crm_merge import PROJECT

FILE = PROJECT / "target" / "words" / f"{sys.implementation.cache_tag}-jinja{jinja2.__version__}.marshal"
LONGEST, MOST = (
    60_000,
    4_000,
)  # characters of a text, texts: what is made of a merge's data would grow without end


class Kept:
    """Compiled texts by a hash of each: those of a file, and those that were compiled since."""

    def __init__(self, file: Path = FILE):
        self.file = file
        self.codes: dict[bytes, CodeType] = {}
        self.new = 0
        with suppress(OSError, ValueError, EOFError, TypeError):  # there is none yet, or it is cut off
            self.codes = marshal.loads(file.read_bytes())

    def install(self) -> None:
        """Lets Jinja take from here what was compiled before."""
        environment: Any = jinja2.Environment
        compile_anew = environment.compile

        def compiled(
            own: Any, source: Any, name: Any = None, filename: Any = None, *more: Any, **named: Any
        ) -> Any:
            if not isinstance(source, str) or "{%" not in source or len(source) > LONGEST or more or named:
                return compile_anew(own, source, name, filename, *more, **named)
            kind = f"{type(own).__module__}.{type(own).__name__} {sorted(own.extensions)} {name}\n"
            key = hashlib.sha256((kind + source).encode("utf-8", "surrogatepass")).digest()
            if key not in self.codes:
                code = compile_anew(own, source, name, filename)
                if len(self.codes) >= MOST:
                    return code
                self.codes[key] = code
                self.new += 1
            return self.codes[key]

        environment.compile = compiled

    def save(self) -> None:
        """Keeps what was compiled since, for later runs; not where nobody may write."""
        if not self.new:
            return
        part = self.file.with_name(f"{self.file.name}.{os.getpid()}.part")
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(marshal.dumps(self.codes))
            os.replace(part, self.file)
        except (OSError, ValueError):
            part.unlink(missing_ok=True)
        self.new = 0
