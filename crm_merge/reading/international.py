"""Addresses and domains that are not plain ASCII, as the one form that all their spellings share (IDNA 2008).

DuckDB has no punycode. Both functions take lower-case text of the right shape and return '' for what can't exist.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import idna


def address(text: str) -> str:
    """Returns the address with its domain in ASCII: zoé@münchen.de becomes zoé@xn--mnchen-3ya.de."""
    local, _, host = text.partition("@")
    host = domain(host)
    if not host or len(local.encode()) > 64 or len(local.encode()) + 1 + len(host) > 254:
        return ""
    # letters, marks, digits, punctuation and symbols; no white space, controls, private or unassigned characters
    if any(unicodedata.category(character)[0] not in "LMNPS" for character in local):
        return ""
    if any(unicodedata.category(atom[0])[0] == "M" for atom in local.split(".")):
        return ""  # a mark belongs to a letter
    return f"{local}@{host}"


@lru_cache(maxsize=10_000)  # the domains of a file repeat
def domain(text: str) -> str:
    """Returns a domain's ASCII form: münchen.de and xn--mnchen-3ya.de become xn--mnchen-3ya.de."""
    try:
        host = idna.encode(text, uts46=True, std3_rules=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        return ""
    return host if len(host) <= 253 and "." in host and host[-1].isalpha() else ""
