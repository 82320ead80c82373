"""The merge on e-mail, written by hand in pandas: ``python pandas_peer.py FOLDER OUT.csv``.

Text columns of Arrow, read by its CSV reader; ``groupby().first()`` skips what is missing.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pandas as pd
from rules import BLANK, EMAIL, FILLS, NEW


def read(path: Path) -> pd.DataFrame:
    """A file as text, blank cells as empty text."""
    return pd.read_csv(path, dtype="str", keep_default_na=False, engine="pyarrow")


def key(column: pd.Series) -> pd.Series:
    """The addresses that are compared; missing where there is none."""
    address = column.str.strip().str.lower()
    return address.where(address.str.fullmatch(EMAIL))


def merge(folder: Path, out: Path) -> None:
    """Merges crm.csv with v*.csv into the file."""
    crm = read(folder / "crm.csv")
    vendors = pd.concat([read(path) for path in sorted(folder.glob("v*.csv"))], ignore_index=True)
    keys = key(vendors["work_email"])
    given = [*FILLS, *NEW]
    for column in given:
        vendors[column] = vendors[column].mask(vendors[column].str.strip().str.lower().isin(BLANK))
    people = vendors[given].groupby(keys, sort=False).first()
    del vendors
    # missing keys are no keys of people, so they find nothing
    new = people.reindex(key(crm["Email"]))
    new.index = crm.index
    for column, header in FILLS.items():
        crm[header] = crm[header].where(crm[header].str.strip() != "", new[column])
    for column in NEW:
        crm[column] = new[column]
    part = out.with_suffix(".part")
    crm.to_csv(part, index=False)
    os.replace(part, out)


if __name__ == "__main__":
    started = time.monotonic()
    merge(Path(sys.argv[1]), Path(sys.argv[2]))
    print(time.monotonic() - started)
