"""Writes people whose identities are known: a CRM export, four vendor files, and who each row really is.

    python benchmarks/people.py 2000 FOLDER

    crm.csv, apex.csv, beacon.csv, cobalt.csv, delta.csv
    truth.csv   source, row, person (source of the CRM: original)
    keys.csv    source, row, label, value: what the row's cells mean, without noise; role mailboxes left out

Seeded: the same n and seed give the same bytes. The trouble in it is that of real lists: people who moved jobs,
phones that many share, mailboxes of roles, rows that meet only through a third file, names that two people have.
"""

from __future__ import annotations

import argparse
import csv
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

GIVEN_NAMES = """
Ada Alice Amir Ana Anton Bea Ben Carla Chloe Clara Dana David Elena Emil Emma Erik Eva Felix Fiona Grace
Hana Henry Ines Ivan Jack Jana Jean Jonas Julia Karim Lara Lea Leo Lena Lucas Mara Maria Max Mia Nadia Nina
Noah Nora Olga Omar Oscar Paul Petra Rosa Sam Sara Simon Sofia Tara Theo Tom Uma Vera Zoë
"""
SURNAMES = """
Abel Adams Baker Bauer Becker Bell Berg Blanc Brown Castro Clark Cohen Cook Costa Cruz Davis Diaz Dubois
Evans Fischer Flores Fox Garcia Gomez Gray Green Hall Hansen Hill Hoffmann Hughes Ito Jensen Jones Kaya
Keller Kim King Klein Koch Kumar Lang Laurent Lee Lopez Lund Martin Meyer Miller Moreau Müller Nagy Nguyen
Novak Olsen Ortiz Park Patel Perez Petit Quinn Ramos Reed Rossi Roux Russo Santos Sato Schmidt Silva Singh
Smith Stein Tanaka Taylor Torres Vega Wagner Walker Weber White Wolf Wood Yilmaz Young Zhang
"""
GIVEN, SURNAME = GIVEN_NAMES.split(), SURNAMES.split()
AREAS = ("212", "312", "415", "617", "713", "305", "206", "404")
TITLES = ("CEO", "CTO", "Sales Manager", "Buyer", "Engineer", "Head of HR", "Analyst", "Controller")
CITIES = ("Boston", "Chicago", "Denver", "Houston", "Miami", "New York", "Seattle", "Portland")

# Shares of people, rows or cells.
MOVED = 0.12  # people with a new employer: new address and phone, the same LinkedIn page
CHAINED = 0.05  # people whose rows meet only one after the other
IN_FAMILIES = 0.1
STRANGERS = 0.02  # people whose number was another's before
SWITCHBOARDS = 0.2  # companies that have one
LARGEST = 500  # people behind the largest switchboard

VENDOR_SHARES = {"apex": 0.6, "beacon": 0.55, "cobalt": 0.5, "delta": 0.4}
HEADERS = {
    "crm": ["Id", "First Name", "Last Name", "Email", "Phone", "Mobile", "LinkedIn", "Company", "City"],
    "apex": ["work_email", "phone", "first_name", "last_name", "title", "company"],
    "beacon": ["full_name", "email", "linkedin_url", "city"],
    "cobalt": ["linkedin_url", "mobile_phone", "first_name", "last_name", "title"],
    "delta": ["crm_id", "email", "phone", "first_name", "last_name", "city"],
}
LABELS = {
    **dict.fromkeys(["Email", "work_email", "email"], "email"),
    **dict.fromkeys(["Phone", "Mobile", "phone", "mobile_phone"], "phone"),
    **dict.fromkeys(["LinkedIn", "linkedin_url"], "linkedin"),
    **dict.fromkeys(["Id", "crm_id"], "external_id"),
}
Row = dict[str, str]  # column -> what the cell means, before noise


@dataclass
class Job:
    """What an employer gives a person."""

    company: int
    email: str
    phone: str


@dataclass
class Person:
    """Somebody, whole; files know parts of it."""

    number: int
    given: str
    surname: str
    jobs: list[Job]  # the last one is today's
    personal_email: str
    mobile: str
    slug: str
    title: str
    city: str
    landline: str = ""
    is_chained: bool = False


class World:
    """n people, and the numbers and addresses they share or not."""

    def __init__(self, n: int, seed: int):
        self.random = random.Random(seed)
        self.numbers = 0
        self.addresses: set[str] = set()
        companies = n // 25 + 2
        self.switchboards = {0: self.number()}
        for company in range(1, companies):
            if self.chance(SWITCHBOARDS):
                self.switchboards[company] = self.number()
        in_largest = min(LARGEST, n // 4)
        self.people = [self.person(i, 0 if i < in_largest else None, companies) for i in range(n)]
        self.move(companies)
        self.share_landlines()
        self.share_mobiles()
        for person in self.people:
            person.is_chained = self.chance(CHAINED)

    def chance(self, share: float) -> bool:
        """True for this share of the times."""
        return self.random.random() < share

    def number(self) -> str:
        """A US number that nobody has yet: +1, ten digits."""
        self.numbers += 1
        k = self.numbers // len(AREAS)
        return f"+1{AREAS[self.numbers % len(AREAS)]}{220 + k // 10000 % 80:03d}{k * 7919 % 10000:04d}"

    def address(self, local: str, domain: str) -> str:
        """local@domain, with a number where two people have one name."""
        found, again = f"{local}@{domain}", 2
        while found in self.addresses:
            found, again = f"{local}{again}@{domain}", again + 1
        self.addresses.add(found)
        return found

    def job(self, given: str, surname: str, company: int) -> Job:
        """A job there: an address of one's own, and a number of one's own or the switchboard's."""
        local = plain(f"{given}.{surname}")
        behind_switchboard = company in self.switchboards and (company == 0 or self.chance(0.6))
        phone = self.switchboards[company] if behind_switchboard else self.number()
        return Job(company, self.address(local, f"company{company}.com"), phone)

    def person(self, i: int, company: int | None, companies: int) -> Person:
        """Somebody new, at this company or at any but the first."""
        given, surname = self.random.choice(GIVEN), self.random.choice(SURNAME)
        company = self.random.randrange(1, companies) if company is None else company
        personal = self.address(plain(f"{given}{surname}{self.random.randrange(60, 99)}"), "mail-home.net")
        slug = f"{plain(given)}-{plain(surname)}-{i:x}"
        title, city = self.random.choice(TITLES), self.random.choice(CITIES)
        job = self.job(given, surname, company)
        return Person(i, given, surname, [job], personal, self.number(), slug, title, city)

    def move(self, companies: int) -> None:
        """Some get a new job."""
        for person in self.people:
            if self.chance(MOVED):
                person.jobs.append(
                    self.job(person.given, person.surname, self.random.randrange(1, companies))
                )

    def share_landlines(self) -> None:
        """Families: one surname, one landline, an address each."""
        pool = self.random.sample(self.people, int(len(self.people) * IN_FAMILIES))
        while pool:
            family = [pool.pop() for _ in range(min(len(pool), self.random.randint(2, 4)))]
            landline = self.number()
            for person in family:
                person.landline = landline
                person.surname = family[0].surname

    def share_mobiles(self) -> None:
        """Two strangers on one number, since numbers are given out again."""
        pool = self.random.sample(self.people, int(len(self.people) * STRANGERS) // 2 * 2)
        for one, other in zip(pool[::2], pool[1::2], strict=True):
            other.mobile = one.mobile


def plain(name: str) -> str:
    """A name as addresses spell it."""
    return name.lower().replace("ë", "e").replace("ü", "ue")


# -- Files: who is in one, and what it knows of a person --


class Files:
    """The rows of each file: (person, row)."""

    def __init__(self, world: World):
        self.world, self.random = world, world.random
        self.rows: dict[str, list[tuple[int, Row]]] = {name: [] for name in HEADERS}
        self.crm_ids: dict[int, list[str]] = {}
        for person in self.shuffled(0.92):
            self.add_crm(person)
            if self.world.chance(0.03):  # the CRM has some people twice, differently
                self.add_crm(person)
        for vendor, share in VENDOR_SHARES.items():
            for person in self.shuffled(share):
                row = getattr(self, vendor)(person)
                self.rows[vendor].append((person.number, row))
                if self.world.chance(0.05):  # and vendors sell rows twice
                    self.rows[vendor].append((person.number, row))
            self.random.shuffle(self.rows[vendor])

    def shuffled(self, share: float) -> list[Person]:
        """The people that a file knows, in its order."""
        found = [person for person in self.world.people if person.is_chained or self.world.chance(share)]
        self.random.shuffle(found)
        return found

    def known(self, share: float, value: str) -> str:
        """The value, unless the file lacks it."""
        return value if self.world.chance(share) else ""

    def add_crm(self, person: Person) -> None:
        """One more row of the CRM."""
        row_id = f"C{len(self.rows['crm']) + 1:06d}"
        self.crm_ids.setdefault(person.number, []).append(row_id)
        job = person.jobs[0]  # a CRM is not told when people move
        row = {"Id": row_id, "First Name": person.given, "Last Name": person.surname}
        row |= {"Company": f"Company {job.company}", "City": self.known(0.7, person.city)}
        if person.is_chained:
            row["Email"] = person.jobs[-1].email
        else:
            email = self.random.choices([job.email, person.personal_email, ""], [70, 15, 15])[0]
            row["Email"] = f"info@company{job.company}.com" if self.world.chance(0.03) else email
            phones = [person.landline or job.phone, job.phone, ""]
            row["Phone"] = self.random.choices(phones, [35, 30, 35])[0]
            row["Mobile"] = self.known(0.4, person.mobile)
            row["LinkedIn"] = self.known(0.45, person.slug)
        self.rows["crm"].append((person.number, row))

    def apex(self, person: Person) -> Row:
        """Work addresses and phones, of today or of before."""
        job = person.jobs[-1] if person.is_chained else self.random.choice(person.jobs)
        email = f"sales@company{job.company}.com" if self.world.chance(0.02) else job.email
        return {
            "work_email": job.email if person.is_chained else self.known(0.9, email),
            "phone": "" if person.is_chained else self.known(0.7, job.phone),
            "first_name": person.given,
            "last_name": person.surname,
            "title": self.known(0.8, person.title),
            "company": f"Company {job.company}",
        }

    def beacon(self, person: Person) -> Row:
        """Addresses of any kind and LinkedIn pages; names in one column, either way round."""
        names = [f"{person.given} {person.surname}", f"{person.surname}, {person.given}"]
        email = self.random.choice([person.personal_email, *(job.email for job in person.jobs)])
        return {
            "full_name": self.random.choice(names),
            "email": person.jobs[-1].email if person.is_chained else self.known(0.65, email),
            "linkedin_url": person.slug if person.is_chained else self.known(0.85, person.slug),
            "city": self.known(0.6, person.city),
        }

    def cobalt(self, person: Person) -> Row:
        """LinkedIn pages and mobile phones, no addresses."""
        return {
            "linkedin_url": person.slug if person.is_chained else self.known(0.8, person.slug),
            "mobile_phone": "" if person.is_chained else self.known(0.75, person.mobile),
            "first_name": person.given,
            "last_name": self.known(0.95, person.surname),
            "title": self.known(0.8, person.title),
        }

    def delta(self, person: Person) -> Row:
        """A vendor that echoes the CRM's ids, and knows people at home."""
        ids = self.crm_ids.get(person.number, [""])
        if person.is_chained:
            ids = [""]
        return {
            "crm_id": self.known(0.6, self.random.choice(ids)),
            "email": "" if person.is_chained else self.known(0.6, person.personal_email),
            "phone": "" if person.is_chained else self.known(0.7, person.landline or person.mobile),
            "first_name": person.given,
            "last_name": person.surname,
            "city": self.known(0.7, person.city),
        }


# -- Noise: how a cell says what it means --


def spelled(random: random.Random, column: str, value: str) -> str:
    """A value as somebody typed it."""
    label = LABELS.get(column)
    if not value or label == "external_id":
        return value
    if label == "email":
        style = random.choices(
            ["{}", "upper", "capital", " {} ", "mailto:{}", "Contact <{}>"], [60, 8, 14, 8, 6, 4]
        )[0]
        return {"upper": value.upper(), "capital": value[0].upper() + value[1:]}.get(
            style, style.format(value)
        )
    if label == "phone":
        a, b, c = value[2:5], value[5:8], value[8:]
        styles = [
            "+1{}{}{}",
            "({}) {}-{}",
            "{}-{}-{}",
            "+1 {} {} {}",
            "{}.{}.{}",
            "1-{}-{}-{}",
            "001 {} {} {}",
        ]
        return random.choice(styles).format(a, b, c)
    if label == "linkedin":
        styles = [
            "https://www.linkedin.com/in/{}",
            "linkedin.com/in/{}/",
            "http://uk.linkedin.com/in/{}?trk=people",
        ]
        style = random.choice([*styles, "https://www.LinkedIn.com/in/{}/en"])
        return style.format(value.upper() if random.random() < 0.1 else value)
    return f" {value.upper()} " if random.random() < 0.05 else value


def clean_keys(row: Row) -> Iterator[tuple[str, str]]:
    """(label, value) of a row's cells; what a role answers says nothing about a person."""
    for column, value in row.items():
        if value and column in LABELS and not value.startswith(("info@", "sales@")):
            yield LABELS[column], value


def write(n: int, folder: Path, seed: int = 1) -> None:
    """Writes the five files, truth.csv and keys.csv to the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    files = Files(World(n, seed))
    noise = random.Random(seed + 1)
    truth, keys = [["source", "row", "person"]], [["source", "row", "label", "value"]]
    for name, rows in files.rows.items():
        source = "original" if name == "crm" else name
        cells = [HEADERS[name]]
        spellings: dict[int, list[str]] = {}  # of rows that stand there twice
        for number, (person, row) in enumerate(rows, start=1):
            line = [spelled(noise, column, row.get(column, "")) for column in HEADERS[name]]
            first = spellings.setdefault(id(row), line)
            cells.append(first if noise.random() < 0.6 else line)  # most copies are so byte for byte
            truth.append([source, str(number), str(person)])
            keys += [[source, str(number), *key] for key in sorted(set(clean_keys(row)))]
        write_csv(folder / f"{name}.csv", cells)
    write_csv(folder / "truth.csv", truth)
    write_csv(folder / "keys.csv", keys)


def write_csv(path: Path, rows: list[list[str]]) -> None:
    """Writes rows, the header first."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("n", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    write(given.n, given.folder, given.seed)
