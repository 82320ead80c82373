"""Writes the workload R(n): files of real widths. A CRM export of n rows with HubSpot's headers, and what Apollo, ZoomInfo, Clearbit and an
enrichment job (Parquet) sell of those people, 0.5 n rows each, with their own headers, gaps and spellings.

    python benchmarks/wide.py 2000 FOLDER [--countries 60] [--files 245]

The result has 106 columns. Rows follow from their numbers alone, so the same n gives the same cells. Vendors leave cells blank, spell names and
e-mails in their own way, write phone numbers as spreadsheets keep them, and contradict each other in titles, head counts and cities. With
``--countries`` people live in so many countries; with ``--files`` Apollo's rows come as so many files.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import duckdb
import phonenumbers

SPEC = """original: {path: crm.csv, columns: {Record ID: record_id}}
enriched:
{apollo}
  - {name: zoominfo, path: zoominfo.csv}
  - {name: clearbit, path: clearbit.csv}
  - {name: enrichment, path: enrichment.parquet}
match_on: [email, phone, linkedin]
region: US
strategies: {default: first, title: longest, industry: most_frequent}
"""
FIRST = [
    "James", "Mary", "José", "Zoë", "Łukasz", "Anna", "Jean-Luc", "Siân", "Ana María", "Mehmet", "Björn", "Yūki", "Dmitri", "Fatima", "O'Shea", "Chloé",
    "Priya", "Wei", "Søren", "Ines", "João", "Élodie", "Karl", "Müge", "Aoife", "Noah", "Olivia", "Liam", "Emma", "Ava",
]  # fmt: skip
LAST = [
    "Smith", "García", "Müller", "O'Neil", "van der Berg", "Nguyen", "Kowalski", "Dubois", "Rossi", "Silva", "Johansson", "Yılmaz", "Ivanova", "Haddad",
    "Tanaka", "Chen", "Patel", "Núñez", "Sørensen", "Lefèvre", "MacDonald", "St. John", "D'Angelo", "Okafor", "Schmidt", "Jones", "Brown", "Taylor",
]  # fmt: skip
TITLES = ["Account Executive", "VP of Sales", "Head of Marketing", "Software Engineer", "CFO", "Chief Executive Officer", "Buyer", "HR Manager"]  # fmt: skip
INDUSTRIES = ["information technology & services", "Banking", "hospital & health care", "Retail", "Automotive", "Construction"]  # fmt: skip
# a country's name, and its region; numbers follow from the example of the region
COUNTRIES = [
    ("United States", "US"), ("United Kingdom", "GB"), ("Germany", "DE"), ("France", "FR"), ("Netherlands", "NL"), ("Spain", "ES"), ("Italy", "IT"),
    ("Australia", "AU"), ("India", "IN"), ("Brazil", "BR"), ("Canada", "CA"), ("Switzerland", "CH"), ("Austria", "AT"), ("Belgium", "BE"),
    ("Sweden", "SE"), ("Norway", "NO"), ("Denmark", "DK"), ("Finland", "FI"), ("Poland", "PL"), ("Portugal", "PT"), ("Ireland", "IE"),
    ("Greece", "GR"), ("Turkey", "TR"), ("Israel", "IL"), ("South Africa", "ZA"), ("Nigeria", "NG"), ("Kenya", "KE"), ("Egypt", "EG"),
    ("Morocco", "MA"), ("Japan", "JP"), ("South Korea", "KR"), ("China", "CN"), ("Hong Kong", "HK"), ("Singapore", "SG"), ("Malaysia", "MY"),
    ("Thailand", "TH"), ("Vietnam", "VN"), ("Philippines", "PH"), ("Indonesia", "ID"), ("New Zealand", "NZ"), ("Mexico", "MX"), ("Argentina", "AR"),
    ("Chile", "CL"), ("Colombia", "CO"), ("Peru", "PE"), ("Ecuador", "EC"), ("Uruguay", "UY"), ("Costa Rica", "CR"), ("Panama", "PA"),
    ("Czech Republic", "CZ"), ("Slovakia", "SK"), ("Hungary", "HU"), ("Romania", "RO"), ("Bulgaria", "BG"), ("Croatia", "HR"), ("Serbia", "RS"),
    ("Ukraine", "UA"), ("Estonia", "EE"), ("Latvia", "LV"), ("Lithuania", "LT"),
]  # fmt: skip


def pick(seed: int, modulus: int) -> str:
    """SQL for a repeatable random number below modulus, different per person i and seed."""
    return f"(hash(i * 1000 + {seed}) % {modulus})"


def one_of(values: Sequence[str], seed: int) -> str:
    """SQL for one of the texts."""
    listed = ", ".join("'" + value.replace("'", "''") + "'" for value in values)
    return f"([{listed}])[cast({pick(seed, len(values))} as int) + 1]"


def some(text: str, seed: int, share: int) -> str:
    """SQL for a text in ``share`` of 10 rows, else a blank."""
    return f"case when {pick(seed, 10)} < {share} then {text} else '' end"


def numbers(countries: int) -> list[tuple[str, str, str]]:
    """Returns a country's name, its code and the first digits of a mobile number there."""
    found = []
    for name, region in COUNTRIES[:countries]:
        example = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
        found.append((name, str(example.country_code), str(example.national_number)))
    return found


# What a person has: the same for whoever sells it. Mobile numbers are an example's, but for the last digits, which are the person's.
PERSON = f"""
    select *,
      ascii || '.' || i || '@' || domain as email, left(ascii, 1) || i || '@gmail.com' as private,
      left(mobile_like, length(mobile_like) - 6) || lpad(cast(i % 1000000 as varchar), 6, '0') as mobile,
      '+1 212-' || (200 + (i // 10000) % 800) || '-' || lpad(cast(i % 10000 as varchar), 4, '0') as direct,
      'https://www.linkedin.com/in/' || ascii || '-' || i as linkedin
    from (
      select *, lower(translate(strip_accents(first), 'łøıŁØ'' ', 'loilo')) as ascii from (
      select i, r, {one_of(FIRST, 1)} as first, {one_of(LAST, 2)} as last, {one_of(TITLES, 3)} as title, {one_of(INDUSTRIES, 4)} as industry,
        'Company ' || (i % 500) || ' ' || {one_of(["Inc.", "GmbH", "Ltd", "S.A.", "& Co"], 5)} as company, 'company' || (i % 500) || '.com' as domain,
        'City ' || {pick(6, 300)} as city, 'State ' || {pick(7, 50)} as state, cast(10000 + {pick(8, 90000)} as varchar) as zip,
        {pick(9, 900)} || ' Main Street' as street, cast(10 + {pick(10, 5000)} as varchar) as employees,
        COUNTRY
      from (PEOPLE)
      )
    )
"""

CRM = f"""
    i + 1 as "Record ID", first as "First Name", last as "Last Name",
    case {pick(20, 10)} when 0 then '' when 1 then upper(email) when 2 then email || ' ' else email end as "Email",
    {some("direct", 21, 6)} as "Phone Number", {some("'+' || code || ' ' || mobile", 22, 5)} as "Mobile Phone Number", company as "Company Name",
    {some("title", 23, 6)} as "Job Title", {some("'https://www.' || domain", 24, 5)} as "Website URL", {some("linkedin || '/'", 25, 4)} as "LinkedIn URL",
    {some("street", 26, 5)} as "Street Address", {some("city", 27, 6)} as "City", {some("state", 28, 4)} as "State/Region",
    {some("zip", 29, 5)} as "Postal Code", {some("country", 30, 8)} as "Country/Region", {some("industry", 31, 5)} as "Industry",
    {some("employees", 32, 4)} as "Number of Employees", '' as "Annual Revenue", 'lead' as "Lifecycle Stage", {some("'OPEN'", 33, 5)} as "Lead Status",
    'Owner ' || {pick(34, 20)} as "Contact owner", '2024-01-' || lpad(cast(1 + i % 28 as varchar), 2, '0') as "Create Date",
    {some("'2025-03-' || lpad(cast(1 + i % 28 as varchar), 2, '0')", 35, 7)} as "Last Activity Date", 'note, "x" ' || i as "Notes"
"""
APOLLO = f"""
    first as "First Name", last as "Last Name", {some("case when i % 3 = 0 then 'Senior ' else '' end || title", 40, 9)} as "Title",
    replace(company, '.', '') as "Company", company as "Company Name for Emails", {some("email", 41, 8)} as "Email", 'Verified' as "Email Status",
    'Apollo' as "Primary Email Source", {some("'0.9'", 42, 5)} as "Email Confidence", 'c_suite' as "Seniority", {some("'Sales'", 43, 6)} as "Departments",
    {some("'''' || direct", 44, 5)} as "Work Direct Phone", {some("'0' || mobile", 45, 1)} as "Home Phone",
    {some("'''+' || code || ' ' || mobile", 46, 5)} as "Mobile Phone", '+1 800-555-0' || (100 + i % 500 % 100) as "Corporate Phone",
    {some("'+' || code || mobile", 47, 1)} as "Other Phone", 'Cold' as "Stage", '' as "Lists", '' as "Last Contacted", 'ops@us.example' as "Account Owner",
    {some("cast(cast(employees as int) + i % 7 as varchar)", 48, 9)} as "# Employees", industry as "Industry", {some("'saas, b2b'", 49, 6)} as "Keywords",
    {some("replace(linkedin, 'https://www.', 'http://www.')", 50, 8)} as "Person Linkedin Url", 'http://www.' || domain as "Website",
    'http://www.linkedin.com/company/c' || (i % 500) as "Company Linkedin Url", {some("'https://facebook.com/c' || (i % 500)", 51, 4)} as "Facebook Url",
    {some("'https://twitter.com/c' || (i % 500)", 52, 4)} as "Twitter Url", {some("city", 53, 7)} as "City", {some("state", 54, 6)} as "State",
    {some("country", 55, 8)} as "Country", street || ', ' || city as "Company Address", 'HQ ' || (i % 500) as "Company City",
    '' as "Company State", 'United States' as "Company Country", '+1 212-555-0' || (100 + i % 500 % 100) as "Company Phone",
    {some("'Salesforce, AWS'", 56, 6)} as "Technologies", {some("cast(1000000 + i % 500 as varchar)", 57, 5)} as "Annual Revenue", '' as "Total Funding",
    '' as "Latest Funding", '' as "Subsidiary of", 'false' as "Email Sent", 'false' as "Replied", 'apollo-' || i as "Apollo Contact Id",
    {some("private", 58, 3)} as "Secondary Email", '' as "Tertiary Email"
"""
ZOOMINFO = f"""
    'zi' || i as "ZoomInfo Contact ID", last as "Last Name", strip_accents(first) as "First Name", '' as "Middle Name", '' as "Salutation", '' as "Suffix",
    {some("title || case when i % 4 = 0 then ', EMEA' else '' end", 60, 9)} as "Job Title", 'Manager' as "Management Level", '' as "Job Start Date",
    {some("'Finance'", 61, 5)} as "Job Function", {some("'Sales'", 62, 5)} as "Department", {some("'(212) ' || substr(direct, 8)", 63, 5)} as "Direct Phone Number",
    {some("upper(left(email, 1)) || substr(email, 2)", 64, 7)} as "Email Address", domain as "Email Domain",
    {some("'+' || code || ' ' || mobile", 65, 5)} as "Mobile phone", 'https://app.zoominfo.com/p/' || i as "ZoomInfo Contact Profile URL",
    {some("linkedin", 66, 6)} as "LinkedIn Contact Profile URL", {some("street", 67, 6)} as "Person Street", {some("'City ' || " + pick(68, 300), 69, 6)} as "Person City",
    {some("state", 70, 6)} as "Person State", {some("zip", 71, 6)} as "Person Zip Code", country as "Country", 'zc' || (i % 500) as "ZoomInfo Company ID",
    upper(company) as "Company Name", 'We make "things", and more' as "Company Description", cast(1950 + i % 60 as varchar) as "Founded Year",
    '+1 212 555 0' || (100 + i % 500 % 100) as "Company HQ Phone", '' as "Fax", '' as "Ticker", cast(i % 900 as varchar) as "Revenue (in 000s USD)",
    '$1M - $5M' as "Revenue Range (in USD)", {some("employees", 72, 9)} as "Employees", '50 - 100' as "Employee Range", '7372' as "SIC Code 1",
    '511210' as "NAICS Code 1", domain as "Website", industry as "Primary Industry", 'false' as "Is Acquired"
"""
CLEARBIT = f"""
    {some("email", 80, 9)} as "email", first as "givenName", last as "familyName", first || ' ' || last as "fullName", {some("country", 81, 7)} as "country",
    {some("city", 82, 6)} as "city", {some("state", 83, 6)} as "state", {some("'America/New_York'", 84, 5)} as "timeZone", {some("'I like ' || city", 85, 3)} as "bio",
    'https://' || domain as "site", {some("title", 86, 7)} as "employment_title", company as "employment_name", domain as "employment_domain",
    'sales' as "employment_role", 'manager' as "employment_seniority", {some("'h' || i", 87, 3)} as "twitter_handle", {some("'in/' || i", 88, 2)} as "linkedin_handle",
    {some("'+' || code || '-' || mobile", 89, 2)} as "phone", {some("linkedin", 90, 5)} as "linkedin_url", cast(i % 90 as varchar) as "fuzzy_score",
    {some("industry", 91, 6)} as "industry", {some("employees", 92, 6)} as "metrics_employees", 'NASDAQ' as "exchange", '2025-11-0' || (1 + i % 9) as "indexedAt"
"""
ENRICHMENT = f"""
    {some("private", 100, 4)} as personal_email, {some("email", 101, 5)} as work_email, {some("code || mobile", 102, 3)} as mobile_phone, first as first_name,
    last as last_name, title as job_title, cast(employees as bigint) as company_size, i % 2 = 0 as is_customer, date '2025-01-01' + cast(i % 300 as int) as checked_on,
    cast(i % 100 as double) / 100 as score, country, domain as company_domain
"""


def write(n: int, folder: Path, countries: int = 10, files: int = 1) -> None:
    """Writes crm.csv, apollo.csv (or apollo/N.csv), zoominfo.csv, clearbit.csv, enrichment.parquet and spec.yml to the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect()
    named, codes, mobiles = zip(*numbers(countries), strict=True)
    country = (
        f"{one_of(named, 11)} as country, {one_of(codes, 11)} as code, {one_of(mobiles, 11)} as mobile_like"
    )

    def copy(columns: str, people: str, to: Path, options: str = "(header)") -> None:
        person = PERSON.replace("PEOPLE", people).replace("COUNTRY", country)
        connection.execute(f"copy (select {columns} from ({person}) order by r) to '{to}' {options}")

    def bought(vendor: int, first: int = 0, end: int = n // 2) -> str:
        return f"select hash(r * 7 + {vendor}) % {int(n * 1.2)} as i, r from range({first}, {end}) as t (r)"

    copy(CRM, f"select i, i as r from range({n}) as t (i)", folder / "crm.csv")
    if files == 1:
        apollo = "  - {name: apollo, path: apollo.csv}"
        copy(APOLLO, bought(1), folder / "apollo.csv")
    else:
        apollo = '  - {name: apollo, path: "apollo/*.csv"}'
        (folder / "apollo").mkdir(exist_ok=True)
        for k in range(files):
            part = bought(1, n // 2 * k // files, n // 2 * (k + 1) // files)
            copy(APOLLO, part, folder / "apollo" / f"{k:05}.csv")
    copy(ZOOMINFO, bought(2), folder / "zoominfo.csv")
    copy(CLEARBIT, bought(3), folder / "clearbit.csv")
    copy(ENRICHMENT, bought(4), folder / "enrichment.parquet", "(format parquet)")
    (folder / "spec.yml").write_text(SPEC.replace("{apollo}", apollo), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("rows", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--countries", type=int, default=10)
    parser.add_argument("--files", type=int, default=1)
    given = parser.parse_args()
    write(given.rows, given.folder, given.countries, given.files)
