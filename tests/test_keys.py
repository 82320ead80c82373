"""Match keys against those who know best: email-validator, libphonenumber, the public suffix list."""

from __future__ import annotations

import csv
import string
import sys
import unicodedata
from random import Random

import duckdb
import email_validator
import phonenumbers
import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from publicsuffixlist import PublicSuffixList

from crm_merge.engine.international import register_international
from tests.conftest import PROJECT, example_spec
from tests.oracle import Table

REFERENCE = PROJECT / "seeds" / "reference"
sys.path.insert(0, str(REFERENCE))

import make_countries  # noqa: E402
import make_domains  # noqa: E402

# corp.local and the like: whether a domain is reserved is not the normaliser's business
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()
SLOW = settings(deadline=None, max_examples=20, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def keys(runner, tmp_path_factory):
    """keys(type, [cell, …], region, [country, …]) → the keys of each cell, by the SQL that lands files."""
    connection = duckdb.connect()
    register_international(connection)
    place = tmp_path_factory.mktemp("keys")
    queries: dict[tuple, str] = {}

    def keys_of(
        kind: str, cells: list[str], region: str | None = None, countries: list[str] | None = None
    ) -> list[list[str]]:
        wanted = (kind, region, countries is not None)
        if wanted not in queries:
            arguments = f"'{kind}', 'cell', {region!r}, false".replace("None", "none")
            stages = f"key_stages({arguments})"
            if countries:
                stages = f"region_stages(['country'], none) + key_stages({arguments}, '_merge_phone_rules')"
            inline = (
                "{% if execute %}{% do graph.setdefault('merge_plan', {}).update({'in_full': true}) %}"
                f"select cell_{kind} from {{{{ staged('cells', {stages}) }}}}{{% endif %}}"
            )
            done = runner.invoke(["compile", "--inline", inline], place, example_spec())
            assert done.success, done.exception
            queries[wanted] = done.result.results[0].node.compiled_code
        connection.execute("create or replace table cells (cell varchar, country varchar)")
        connection.execute(
            "insert into cells select unnest($cells), unnest($countries)",
            {"cells": cells, "countries": countries or [None] * len(cells)},
        )
        return [found for (found,) in connection.execute(queries[wanted]).fetchall()]

    return keys_of


def valid_address(text: str) -> str | None:
    """The address as email-validator writes it, domain in ASCII, or None if there can be no such address."""
    try:
        found = validate_email(text, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        return None
    return f"{found.local_part}@{found.ascii_domain}".lower()


LETTERS = string.ascii_letters + string.digits
WORLD = "éüñßçøłαωждя日本語한어𝒳"
LOCAL = st.text(
    LETTERS + "!#$%&'*+/=?^_`{|}~-." + WORLD + '  "(),:;<>@[]\\\u0301\u200b\x7f😀', min_size=1, max_size=70
)
LABEL = st.text(LETTERS + "-" + WORLD, min_size=1, max_size=10) | st.text(
    LETTERS + "-", min_size=60, max_size=66
)
DOMAIN = st.lists(LABEL, min_size=1, max_size=5).map(".".join) | st.sampled_from(
    [
        "corp.com",
        "münchen.de",
        "XN--MNCHEN-3YA.DE",
        "xn--a.de",
        "a--b.com",
        "ab--c.com",
        "corp",
        "c.o",
        "a.b2",
        "-a.com",
    ]
)
PLAIN = st.from_regex(r"[A-Za-z0-9]{1,8}([._-][A-Za-z0-9]{1,8}){0,2}", fullmatch=True)


@SLOW
@given(cells=st.lists(st.tuples(LOCAL | PLAIN, DOMAIN).map("@".join), min_size=50, max_size=200))
def test_every_email_key_is_an_address_that_may_exist(keys, cells):
    for cell, found in zip(cells, keys("email", cells), strict=True):
        for key in found:
            assert valid_address(key) == key, (cell, key)


SAFE = st.text(LETTERS + "!#$%&*/=^_`{}~-" + "éüñçøłαωждя日本語한", min_size=1, max_size=12)


@SLOW
@given(
    cells=st.lists(
        st.tuples(st.lists(SAFE, min_size=1, max_size=3).map(".".join), DOMAIN).map("@".join),
        min_size=50,
        max_size=200,
    )
)
def test_every_plain_address_that_may_exist_is_a_key(keys, cells):
    cells = [unicodedata.normalize("NFC", cell) for cell in cells]
    for cell, found in zip(cells, keys("email", cells), strict=True):
        valid = valid_address(cell)
        assert found == ([valid] if valid else []), cell


KEYPAD = dict(zip("23456789", ["ABC", "DEF", "GHI", "JKL", "MNO", "PQRS", "TUV", "WXYZ"], strict=True))


def phone_cells(random: Random) -> list[tuple[str, str, str]]:
    """(region, cell, number): numbers of every region and kind, and neighbours of them, in many spellings."""
    cells = []
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        for kind in range(11):
            example = phonenumbers.example_number_for_type(region, kind)
            if example is None:
                continue
            numbers = [example]
            for _ in range(2):
                body = str(example.national_number)
                end = "".join(random.choice(string.digits) for _ in range(3))
                numbers.append(
                    phonenumbers.PhoneNumber(
                        country_code=example.country_code,
                        national_number=int(body[:-3] + end),
                        italian_leading_zero=example.italian_leading_zero,
                    )
                )
            for number in numbers:
                e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
                cells += [(region, cell, e164) for cell in spellings(number, region, random)]
    return cells


def spellings(number: phonenumbers.PhoneNumber, region: str, random: Random) -> list[str]:
    """One number as people write it."""
    formats = phonenumbers.PhoneNumberFormat
    e164 = phonenumbers.format_number(number, formats.E164)
    abroad = phonenumbers.format_number(number, formats.INTERNATIONAL)
    national = phonenumbers.format_number(number, formats.NATIONAL)
    trunk = phonenumbers.ndd_prefix_for_region(region, True) or ""
    found = [
        e164,
        abroad,
        abroad.replace(" ", "."),
        phonenumbers.format_number(number, formats.RFC3966),
        national,
        "".join(c for c in national if c.isdigit()),
        national + random.choice([" x12", " ext. 345", ", ext 6", " extension 78", ";ext=9"]),
        "Tel: " + national,
        f" {national}\u00a0",
        national.translate({ord("0") + n: ord("０") + n for n in range(10)}),
        e164.lstrip("+"),
        abroad.replace("+", random.choice(["00", "011 ", "++"])),
        abroad.replace(" ", f" ({trunk})", 1),
        phonenumbers.format_out_of_country_calling_number(number, random.choice(["US", "DE", "JP"])),
    ]
    if number.country_code == 1:
        # 0 and 1 have no letters
        start = next((n for n in range(len(e164), 4, -1) if e164[n - 1] in "01"), 5)
        word = e164[5:start] + "".join(random.choice(KEYPAD[digit]) for digit in e164[start:])
        found += [
            f"1-{e164[2:5]}-{word}",
            f"+1 ({e164[2:5]}) {word[:3]}-{word[3:]}",
            f"{e164[2:5]} {word} x7",
        ]
    return found


def by_libphonenumber(cell: str, region: str | None) -> str | None:
    try:
        number = phonenumbers.parse(cell, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def test_phone_keys_are_what_libphonenumber_says(keys):
    """Of numbers from all over the world. A key may also be the number that was meant where libphonenumber sees none
    (00 where people dial 011) or another (4915123456789 in Germany, which it takes for one with an area code 4915)."""
    cells = phone_cells(Random(4))
    countries = ["Namibia" if region == "NA" else region for region, _, _ in cells]
    found = keys("phone", [cell for _, cell, _ in cells], countries=countries)
    expected = [by_libphonenumber(cell, region) for region, cell, _ in cells]
    assert len(cells) > 20_000 and sum(map(bool, expected)) > 0.9 * len(cells)
    wrong, missed = [], []
    for (region, cell, meant), number, key in zip(cells, expected, found, strict=True):
        if key and key not in ([number], [meant]):
            wrong.append((region, cell, number, key))
        if number and not key:
            missed.append((region, cell, number))
    assert not wrong
    assert len(missed) <= 0.005 * len(cells), missed


@pytest.mark.parametrize("region", [None, "US", "FR", "AR"])
def test_the_region_of_a_row_and_that_of_a_file_read_a_number_alike(keys, region):
    cells = [cell for _, cell, _ in phone_cells(Random(5))][:: 11 if region else 5]
    cells += ["1-800-FLOWERS", "6.12E+11", "0800 FLOWERS", "+1 800 GOT-MILK", "n/a", "call me", ""]
    assert keys("phone", cells, countries=[region or "?"] * len(cells)) == keys("phone", cells, region)


TEXTS = st.text(string.ascii_letters + string.digits + " -.,/()+#:;", max_size=25) | st.sampled_from(
    [
        "n/a",
        "call me",
        "none",
        "10115 Berlin",
        "ABC-123-DEF",
        "see notes 2024",
        "room 212 ext",
        "2024-01-01",
        "abcdefghij",
    ]
)


@SLOW
@given(cells=st.lists(TEXTS, min_size=100, max_size=300))
def test_no_text_becomes_a_phone_number_that_libphonenumber_does_not_see(keys, cells):
    for cell, found in zip(cells, keys("phone", cells, "US"), strict=True):
        if found and found[0].startswith("+"):
            assert found == [by_libphonenumber(cell, "US")], cell


SUFFIXES = PublicSuffixList(accept_unknown=False)
RULES = [rule for rule, _ in make_domains.suffix_rows()]
NAME = st.from_regex("[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True).filter(
    lambda name: "--" not in name
)
HOSTS = st.tuples(st.lists(NAME, max_size=3), st.sampled_from(RULES)).map(
    lambda made: ".".join([*made[0], made[1].removeprefix("!").replace("*", "w")])
)


@SLOW
@given(hosts=st.lists(HOSTS, min_size=100, max_size=300))
def test_domain_keys_are_what_the_public_suffix_list_says(keys, hosts):
    cells = [f"https://{host}:8080/x?y=a@b.com" if n % 3 == 0 else host for n, host in enumerate(hosts)]
    for host, found in zip(hosts, keys("domain", cells), strict=True):
        registered = SUFFIXES.privatesuffix(host)
        assert found == ([registered] if registered else []), host


def test_every_rule_of_the_public_suffix_list_is_obeyed(keys):
    hosts = [rule.removeprefix("!").replace("*", "w") for rule in RULES]
    hosts += [f"{name}.{host}" for host in hosts for name in ("x", "y.x")]
    expected = [SUFFIXES.privatesuffix(host) for host in hosts]
    assert keys("domain", hosts) == [[domain] if domain else [] for domain in expected]


@pytest.mark.parametrize(
    "seed, rows",
    [
        ("public_suffixes", make_domains.suffix_rows),
        ("mail_domains", make_domains.mail_rows),
        ("countries", make_countries.rows),
    ],
)
def test_a_seed_is_what_its_package_says(seed, rows):
    with (REFERENCE / f"{seed}.csv").open(encoding="utf-8", newline="") as file:
        assert [tuple(row) for row in csv.reader(file)][1:] == rows()


def test_a_country_column_rules_over_the_region_of_the_file(merge):
    """Its own row's country, else the file's region, else the spec's."""
    original = Table(
        ["Id", "Phone", "Country"],
        [
            ["1", "030 12345678", "Germany"],
            ["2", "01 42 68 53 00", ""],
            ["3", "(212) 555-0142", "U.S."],
            ["4", "020 7946 0958", "Atlantis"],
        ],
    )
    vendor = Table(
        ["phone", "country_code", "n"],
        [
            ["03012345678", "de", "a"],
            ["212-555-0142", "USA", "b"],
            ["020 7946 0958", "", "c"],
            ["+33142685300", "GB", "d"],
        ],
    )
    spec = {
        "original": {"region": "FR"},
        "enriched": [{"name": "v"}],
        "match_on": ["phone"],
        "region": "GB",
    }
    done = merge(spec, original, [("v", vendor)])
    assert done.ok, done.problems
    assert done.query('select "Id", n from merged_result order by "Id"') == [
        ("1", "a"),
        ("2", "d"),
        ("3", "b"),
        ("4", None),
    ]
    keys = done.query("select key_value from int_match_keys where side = 'enriched' order by record")
    assert keys == [("+493012345678",), ("+12125550142",), ("+442079460958",), ("+33142685300",)]


def test_companies_meet_by_domain_and_free_mail_does_not(merge):
    original = Table(
        ["Company", "Website"],
        [["Acme", "https://www.acme.co.uk/"], ["Ada", "gmail.com"], ["Other", "b.github.io"]],
    )
    vendor = Table(
        ["company_domain", "industry"],
        [["ACME.co.uk", "tools"], ["ada@gmail.com", "none"], ["a.github.io", "code"]],
    )
    done = merge({"match_on": ["domain"]}, original, [("v", vendor)])
    assert done.ok, done.problems
    assert done.query("select industry from merged_result") == [("tools",), (None,), (None,)]


@pytest.mark.parametrize(
    "domain, usual, allowed",
    [
        ("corp.com", None, None),
        ("gmail.com", "free-mail domain", "free-mail domain"),
        ("mailinator.com", "disposable domain", "disposable domain"),
        ("example.com", "test address", None),
        ("acme.test", "test address", None),
        ("rival.com", None, "listed in guards.blocked"),
    ],
)
def test_domains_of_mail_providers_and_of_tests_are_blocked(blocked_domain, domain, usual, allowed):
    assert blocked_domain(domain) == (usual, allowed)


@pytest.fixture(scope="module")
def blocked_domain(runner, tmp_path_factory):
    """domain → why it is blocked, as a rule and with guards that allow tests and block rival.com."""
    guards = "{'allow_test_addresses': true, 'blocked': {'domain': ['rival.com']}}"
    inline = f"select {{{{ blocked_as('domain', '$domain', {{}}) }}}}, {{{{ blocked_as('domain', '$domain', {guards}) }}}}"
    done = runner.invoke(["compile", "--inline", inline], tmp_path_factory.mktemp("blocked"), example_spec())
    query = done.result.results[0].node.compiled_code
    return lambda domain: duckdb.execute(query, {"domain": domain}).fetchone()
