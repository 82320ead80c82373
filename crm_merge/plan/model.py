"""The plan of a merge: one value, which models ask by name. What it holds is text, numbers, lists and dicts by names, so that it can be landed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from crm_merge.plan.columns import Header


class Unfit(Exception):
    """A spec that does not fit its files: a title, every problem as a sentence, and whether all of them pass by themselves."""

    def __init__(self, title: str, problems: list[str], transient: bool = False):
        super().__init__("\n".join([title, *problems]))
        self.title, self.problems, self.transient = title, problems, transient


@dataclass
class Strategy:
    """A strategy with what the spec gives it: the column of ``most_recent``; of ``source_priority`` [first file, last file,
    rank] by their numbers."""

    name: str
    argument: str | None = None
    file_ranks: list[list[int]] = field(default_factory=list)


@dataclass
class Group:
    """Columns that survive together."""

    index: int
    columns: list[str]
    strategy: Strategy
    allow_fill: bool


@dataclass
class VendorColumn:
    """A column that vendors bring: its number from 1, its name, the CRM's header that it fills (None: it has none), the new column that
    it becomes (None: it becomes none), the policy, key type, group, strategy, whether it is the first column of its group, the
    header of the result that it goes to and that one's place from 1."""

    index: int
    column: str
    header: str | None
    output: str | None
    policy: str
    key_type: str | None
    group: Group | None
    strategy: Strategy
    is_first_of_group: bool
    name: str = ""
    place: int = 0


@dataclass
class Tier:
    """A key of match_on: its number from 1, its type or ``column`` or ``external_id``, how cells are compared, what people call it, and
    {number of a file: its columns}."""

    tier: int
    kind: str
    compare: str
    label: str | None
    columns: dict[int, list[Header]] = field(default_factory=dict)


@dataclass
class Guards:
    """{tier: limit, None is off}, {tier of a weak type: name, surname or off}, the limit of an entity's size (None is off), blocked values
    as written, {label: blocked keys} and blocked domains as they are found, and whether test addresses are keys."""

    hub: dict[int, int | None]
    contradiction: dict[int, str]
    max_entity_size: int | None
    allow_test_addresses: bool
    blocked_texts: list[str] = field(default_factory=list)
    blocked: dict[str, list[str]] = field(default_factory=dict)
    blocked_domains: list[str] = field(default_factory=list)


@dataclass
class Widths:
    """The bytes that things take in memory: of a part (``room``, and the most rows of one), of an entity of several rows without its texts, of
    a vendor's row, of an entity's id, of what strategies compare of a row, of a row of the result and its buffers, of a newcomer, of any row held whole; the
    rows of a Parquet row group, which is held in memory whole; and whether rows are so wide or so long, be it in one place of a file (or does somebody want so small parts), that more is done in parts."""

    room: int
    most_rows: int
    entity: int
    row: int
    id: int
    compared: int
    original: int
    buffers: int
    newcomer: int
    any_row: int
    rows_together: int
    rows_are_large: bool


@dataclass
class Landing:
    """Files that one statement lands: the number of the first, and the numbers of all."""

    k: int
    files: list[int]


@dataclass
class Shape:
    """Files whose columns mean the same: the number of the first, which names the shape, their vendor, region and columns, how they are landed,
    whether each landed row keeps the number of its record (else its place in the one file says it), [first record, last record] of
    stretches of them, the rows of a Parquet row group, and what each header means, as JSON."""

    number: int
    vendor_number: int
    region: str | None
    headers: list[Header]
    landings: list[Landing]
    keeps_record: bool
    stretches: list[list[int]]
    rows_together: int
    column_map: str


@dataclass
class KeyColumn:
    """A column whose cells may hold keys: its position, the number of the vendors' column that it is (None: it is none of them), and the
    tiers that it feeds."""

    position: int
    column_number: int | None = None
    tiers: list[int] = field(default_factory=list)


@dataclass
class ShapeCells:
    """The columns of a shape that hold keys of one type, its columns of countries, and its region."""

    number: int
    countries: list[int]
    region: str | None
    columns: list[KeyColumn] = field(default_factory=list)


@dataclass
class Cells:
    """All cells that may hold keys of one type: the type, whether their columns hold names, what their file is called, the shapes with such
    columns, the most columns of countries that one has, whether cells differ in region, the region if not, the most cells there are, and
    whether a tier asks for their keys."""

    kind: str
    is_name: bool
    name: str
    shapes: list[ShapeCells] = field(default_factory=list)
    countries: int = 0
    region_varies: bool = False
    region: str | None = None
    most: int = 0
    feeds_tier: bool = False


@dataclass
class Plan:
    """What a merge is made by. ``files``: as they are read (crm_merge.reading.inputs), the original first; ``crm``: the original's columns;
    ``vendor``: what vendors bring; ``tiers``: match_on; ``evidence``: a tier that only guards look at; ``headers``: those of all files;
    ``directory``: of the merge; ``record_id``: the header of the CRM's own id; ``needs``: about how much disk and memory, in bytes;
    ``widths`` and ``parts``: by which work is cut (crm_merge.plan.parts); ``shapes``, ``cells`` and ``tiers_of_several``: what is landed
    together (crm_merge.plan.shapes)."""

    files: list[dict[str, Any]]
    crm: list[Header]
    vendor: list[VendorColumn]
    tiers: list[Tier]
    groups: list[Group]
    headers: list[Header]
    directory: str
    evidence: list[Tier]
    guards: Guards
    assertions: list[dict[str, Any]]
    vendors: list[dict[str, Any]]
    record_id: str | None
    max_reject_rate: float
    region: str
    needs: dict[str, Any] = field(default_factory=dict)
    widths: Widths | None = None
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    shapes: list[Shape] = field(default_factory=list)
    cells: list[Cells] = field(default_factory=list)
    tiers_of_several: list[int] = field(default_factory=list)
