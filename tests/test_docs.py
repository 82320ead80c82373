"""The documents: short enough to be read, and every link leads somewhere."""

from __future__ import annotations

import re

import pytest

from crm_merge import PROJECT

PAGES = [
    *PROJECT.glob("*.md"),
    *PROJECT.glob("docs/*.md"),
    PROJECT / "benchmarks" / "README.md",
    PROJECT / "seeds" / "example" / "README.md",
]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def anchors(page) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"(?ms)^```.*?^```", "", page.read_text()), flags=re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-") for heading in headings
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_links_lead_somewhere(page):
    text = re.sub(r"(?ms)^```.*?^```", "", page.read_text())
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), link


def test_the_readme_takes_ten_minutes():
    assert len((PROJECT / "README.md").read_text().split()) <= 900


def test_the_glossary_is_short():
    text = (PROJECT / "docs" / "architecture.md").read_text().split("## Glossary")[1]
    assert len(text.strip().splitlines()) <= 40
