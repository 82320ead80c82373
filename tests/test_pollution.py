"""A clean CRM file, polluted in every way that we could think of, alone and in pairs: read right, or told. Never silent."""

from __future__ import annotations

import pytest

from tests import pollution
from tests.pollution import POLLUTIONS, Incompatible, clean, polluted, right, verdict
from tests.reader import read


def outcome(names, seed, folder):
    """Returns 'right' or 'told', or fails with what was silently wrong."""
    case = polluted(clean(seed), list(names), seed)
    path = folder / f"vendor{case.suffix}"
    path.write_bytes(case.content)
    reading = read(path)
    assert verdict(case, reading) is None, f"{names}, seed {seed}: {verdict(case, reading)}"
    return "right" if right(case, reading) else "told"


@pytest.mark.parametrize("name", POLLUTIONS)
def test_one_pollution(name, tmp_path):
    outcomes = [outcome([name], seed, tmp_path) for seed in range(1, 5)]
    if POLLUTIONS[name].kind != "broken":
        assert set(outcomes) == {"right"}, "a reader can be sure of this one"


def test_a_part_of_the_pairs(tmp_path):
    for names in pollution.pairs()[::9]:
        try:
            outcome(names, 1, tmp_path)
        except Incompatible:
            continue


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_all_pairs(seed, tmp_path):
    counts = {"right": 0, "told": 0}
    silent = []
    for names in pollution.pairs():
        try:
            counts[outcome(names, seed, tmp_path)] += 1
        except Incompatible:
            continue
        except AssertionError as error:
            silent.append(str(error))
    print(counts)
    assert not silent, "\n".join(silent)
    assert sum(counts.values()) > 6000
