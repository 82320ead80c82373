"""The same merge on DuckDB and on Spark: every relation row by row, every published byte; on one machine, and on a cluster that loses a worker."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import duckdb
import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings

from crm_merge.engine import dbt_run, spark
from crm_merge.merging import publish, steps
from crm_merge.spec import yaml_file
from tests.conftest import PROJECT, write_csv
from tests.oracle import Table
from tests.random_merges import audited
from tests.servers import ACCESS_KEY, SECRET_KEY, s3_server, spark_cluster

sys.path.insert(0, str(PROJECT / "benchmarks"))
COMMAND = PROJECT / ".venv" / "bin" / "crm-merge"
needs_spark = pytest.mark.skipif(find_spec("pyspark") is None, reason="Spark is not installed: make spark")

# What differs per engine. A word more is a word that every reader has to learn.
WORDS = {
    "epoch_microseconds", "exploded", "failures_of_check", "first_of", "form_or_landed", "hash_number", "in_stored_order", "join_in_order", "landed_form", "last_of", "list_holds", "list_of_strings", "matches", "original_form",
    "parquet_files", "parquet_folders", "parquet_rows", "part_of", "place_in_file", "quick_number", "read_again", "replace_all", "scratch", "sql_name", "sql_text", "with_landed_forms", "within", "written_in_order_of",
}  # fmt: skip
# What DuckDB does before Spark begins: files are landed, and with them what the spec and the reference seeds say. And what it alone asks before a check.
LANDING = {
    "begin_merge",
    "land_assertions",
    "land_files",
    "land_forms",
    "names_of_shape",
    "quick_question",
    "read_plan",
    "read_reference",
    "recall_journal",
}
# What dbt itself asks for by engine.
OF_DBT = {"get_test_sql", "location_clause"}


def test_the_words_that_differ_per_engine_are_few_and_known():
    texts = {path: path.read_text() for path in (PROJECT / "macros").rglob("*.sql")}
    dispatched = {name for text in texts.values() for name in re.findall(r"adapter\.dispatch\('(\w+)'", text)}
    assert dispatched == WORDS | LANDING
    for engine in ("duckdb", "spark"):
        defined = {
            (name, path.parent.name) for path, text in texts.items() for name in re.findall(rf"macro {engine}__(\w+)", text)
        }  # fmt: skip
        assert {name for name, _ in defined} - OF_DBT == WORDS | LANDING
        assert {folder for name, folder in defined if name in WORDS or engine == "spark"} == {"engine"}
    for path in [*(PROJECT / "models").rglob("*.sql"), *(PROJECT / "tests/sql").rglob("*.sql")]:
        assert not re.search(r"target\.(type|name)|adapter\.type|dispatch", path.read_text()), path


def stages(place: Path, spec: dict, target: str) -> dbt_run.Outcome:
    place.mkdir(parents=True, exist_ok=True)
    return dbt_run.follow(steps.stages(place, spec, False, target))


def merged(folder: Path, spec: dict, *targets: str) -> list[Path]:
    """Merges on each target, publishes; returns the merge directories."""
    places = []
    for target in targets:
        place = folder / target
        outcome = stages(place, spec, target)
        assert outcome.ok, steps.problems_of(outcome, place)
        publish.publish(place, spec, 0, steps.checks(outcome), made_by=target)
        places.append(place)
    return places


def assert_same(a: Path, b: Path) -> None:
    """Every relation of two merges, both ways, and every published file."""
    with duckdb.connect(str(a / "merge.duckdb"), read_only=True) as connection:
        connection.execute(f"attach '{b / 'merge.duckdb'}' as other (read_only)")
        relations = {}
        for database in ("merge", "other"):
            found = connection.execute(
                "select table_name from information_schema.tables where table_catalog = ? and not starts_with(table_name, '_')", [database]
            )  # fmt: skip
            relations[database] = {name for (name,) in found.fetchall()}
        models = {path.stem for path in (PROJECT / "models").rglob("*.sql")}
        # what DuckDB lands for Spark, a merge of its own does not have
        assert relations["merge"] == relations["other"] - {"stg_forms"} == models - {"stg_forms"}
        for name in sorted(models - {"stg_forms"}):
            columns = [
                [row[0] for row in connection.execute(f'describe {database}.main."{name}"').fetchall()]
                for database in ("merge", "other")
            ]
            assert columns[0] == columns[1], name
            # the same queries, each in the words of its engine
            kept = "* exclude (query)" if name == "merge_checks" else "*"
            for left, right in (("merge", "other"), ("other", "merge")):
                only = connection.execute(
                    f'select {kept} from {left}.main."{name}" except all select {kept} from {right}.main."{name}" limit 3'
                ).fetchall()
                assert only == [], (name, f"only in {left}")
    digests = [
        {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in (place / "out").iterdir()}
        for place in (a, b)
    ]
    for files in digests:
        files.pop("manifest.json")
    assert digests[0] == digests[1]
    for place, engine in ((a, "duckdb"), (b, "spark")):
        manifest = json.loads((place / "out/manifest.json").read_text())
        assert manifest["engine"] == engine and ("pyspark" in manifest["versions"]) == (engine == "spark")


def difference(a: Path, b: Path) -> list[str]:
    """The cells in which two merges differ, as lines of the file that `crm-merge diff` writes."""
    file = a.parent / "difference.csv"
    done = subprocess.run([COMMAND, "diff", a, b, "--csv", file], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = file.read_text().splitlines()[1:]
    file.unlink()
    return lines


@pytest.fixture
def quick(monkeypatch):
    """Small merges on Spark are over before its compiler has begun to do well: it is told not to try."""
    monkeypatch.setenv("SPARK_MASTER", "local[2]")
    monkeypatch.setenv("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")


@pytest.fixture(scope="module")
def workload(tmp_path_factory):
    """20,000 CRM rows on e-mail, phone and LinkedIn; a hub, a contradiction, a decision, every kind of strategy. The spec, and its merge on DuckDB."""
    import workload

    folder = tmp_path_factory.mktemp("workload")
    workload.write(20_000, folder)
    with (folder / "v1.csv").open("a") as vendor:
        for n in range(3_000):  # one switchboard for thousands: a hub, and an entity that would be one
            vendor.write(f"hub{n}@corp{n}.com,(212) 200 0000,,Agent,City {n % 9},Industry 1,v1-h{n},{n},,\n")
    (folder / "decisions.csv").write_text(
        "decision,a_source,a_row,b_source,b_row\nmust_link,original,1,v0,2\nmust_link,v0,7,v1,9\ncannot_link,original,5,v2,3\n"
    )
    spec = yaml.safe_load((folder / "spec.yml").read_text())
    spec |= {
        "match_on": ["email", "phone", "linkedin"],
        "assertions": "decisions.csv",
        "strategies": {"default": "first", "title": "most_frequent", "city": "collect", "employees": "max", "industry": "longest"},
        "overwrite": {"default": "fill", "title": "update"},
        "export": {"formats": ["csv", "parquet"]},
    }  # fmt: skip
    (folder / "spec.yml").write_text(yaml.safe_dump(spec))
    spec = yaml_file.load(folder / "spec.yml")
    [place] = merged(folder / "merges", spec, "duckdb")
    return folder, spec, place


@needs_spark
@pytest.mark.slow
def test_the_example_on_spark_publishes_the_same_bytes(tmp_path, quick):
    """As a user runs it."""
    for target in ("duckdb", "spark"):
        done = subprocess.run(
            [COMMAND, "run", PROJECT / "seeds/example/merge.yml", "--dir", tmp_path / target, "--target", target],
            capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
    assert_same(tmp_path / "duckdb", tmp_path / "spark")
    assert difference(tmp_path / "duckdb", tmp_path / "spark") == []
    # what one engine left is not taken for the other's
    other = {
        **yaml.safe_load((PROJECT / "seeds/example/merge.yml").read_text()),
        "overwrite": {"default": "update"},
    }
    for block in [other["original"], *other["enriched"]]:
        block["path"] = str(PROJECT / "seeds/example" / block["path"])
    (tmp_path / "other.yml").write_text(yaml.safe_dump(other))
    for place in ("spark", "third"):
        subprocess.run(
            [COMMAND, "run", tmp_path / "other.yml", "--dir", tmp_path / place],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    assert difference(tmp_path / "spark", tmp_path / "third") == []
    assert difference(tmp_path / "duckdb", tmp_path / "spark") != []
    assert not (tmp_path / "spark/.crm-merge/spark").exists()


@needs_spark
@pytest.mark.slow
def test_hostile_files_go_to_spark_and_come_back_by_a_shared_place(tmp_path, quick, monkeypatch):
    """A bucket on a real S3 server, which Spark reads and writes by the folder that the server keeps it in: it has no S3 client here."""
    (tmp_path / "s3/bucket").mkdir(parents=True)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    headers = ["Id", "Email", "Title", "Cost ${env:HOME}", "back\\slash`'", "Amount, net; a:b", "a.b"]
    crm = [
        ["1", "a@x.com", "", "${env:HOME}", "\\", "x\ny", "{{ x }}"],
        ["2", "b@x.com", "", "", "'", '"', ""],
        ["3", "", "n/a", "", "", "", ""],
    ]
    write_csv(tmp_path / "crm.csv", Table(headers, crm))
    (tmp_path / "it's $v.csv").write_text(
        "email;title;cost ${env:HOME};a.b;seen\nA@x.com;CTO \\1;${x};1.0E-4;2024-02-30\nc@x.com;CEO;é;\U0001f600;2024-02-29\nd@x.com;too;few\n"
        "b@x.com;;'it''s';"
        + "x" * 3000
        + ";2024-01-01T10:00:00+02:00\n"
        + "".join(f"p{n}@x.com;;;;\n" for n in range(400)),
        encoding="utf-8",
    )
    (tmp_path / "empty.csv").write_text("email,title\n")
    spec = {
        "original": {"path": str(tmp_path / "crm.csv")},
        "enriched": [
            {"name": "it's ${env:HOME}", "path": str(tmp_path / "it's $v.csv")},
            {"name": "none", "path": str(tmp_path / "empty.csv")},
        ],
        "match_on": ["email"],
        "strategies": {"default": {"most_recent": "seen"}},
        "overwrite": {"default": "update"},
    }
    with s3_server(tmp_path / "s3") as url:
        for name, value in {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL_S3": url,
            "CRM_MERGE_SPARK_ROOT": "s3://bucket/shared/", "CRM_MERGE_SPARK_ROOT_ON_SPARK": f"file://{tmp_path}/s3/bucket/shared",
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        places = merged(tmp_path / "m", spec, "duckdb", "spark")
        assert_same(*places)
        assert os.environ["HOME"] not in (places[1] / "out/merged_result.csv").read_text()
        assert not [path for path in (tmp_path / "s3/bucket").rglob("*.parquet") if path.is_file()]
        monkeypatch.setenv("CRM_MERGE_SPARK_ROOT", "s3://nowhere/shared")
        outcome = stages(tmp_path / "m/spark", spec, "spark")
    assert not outcome.ok and "there is no bucket 'nowhere'" in outcome.problems[0]


@needs_spark
@pytest.mark.slow
@settings(
    max_examples=2, deadline=None, derandomize=True, phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(case=audited())
def test_random_merges_are_the_same_on_both(tmp_path_factory, quick, case):
    folder = tmp_path_factory.mktemp("random")
    wanted = json.loads(json.dumps(case.spec))
    wanted["original"] = {"path": str(write_csv(folder / "original.csv", case.original))} | wanted.get(
        "original", {}
    )
    given_blocks = {block["name"]: block for block in wanted.get("enriched", [])}
    wanted["enriched"] = [
        {"name": name, "path": str(write_csv(folder / f"{name}.csv", table))} | given_blocks.get(name, {})
        for name, table in case.enriched
    ]
    if isinstance(lines := wanted.get("assertions"), list):
        headers = list(lines[0]) if lines else ["decision", "a_source", "a_row", "b_source", "b_row"]
        decisions = Table(headers, [[line[header] for header in headers] for line in lines])
        wanted["assertions"] = str(write_csv(folder / "decisions.csv", decisions))
    assert_same(*merged(folder, wanted, "duckdb", "spark"))


@needs_spark
@pytest.mark.slow
def test_twenty_thousand_rows_on_one_machine(workload, tmp_path, quick):
    _, spec, on_duckdb = workload
    assert_same(on_duckdb, *merged(tmp_path, spec, "spark"))


@needs_spark
@pytest.mark.slow
def test_a_cluster_that_loses_a_worker_still_merges(workload, tmp_path, monkeypatch):
    """One master and two workers on loopback; a worker is killed, with its executor and all it had shuffled, once entities are found."""
    folder, _, on_duckdb = workload
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    monkeypatch.setenv("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
    with spark_cluster(tmp_path) as cluster:
        monkeypatch.setenv("SPARK_MASTER", cluster.url)
        process = subprocess.Popen(
            [COMMAND, "run", folder / "spec.yml", "--dir", tmp_path / "m", "--target", "spark"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(os.environ),
        )  # fmt: skip
        ender = threading.Timer(900, process.kill)
        ender.start()
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "vendor rows linked" in line:
                cluster.kill(0)
        ender.cancel()
        assert process.wait() == 0, "".join(lines[-20:])
        assert any("vendor rows linked" in line for line in lines) and cluster.workers[1].poll() is None
    assert_same(on_duckdb, tmp_path / "m")


@needs_spark
def test_what_is_wrong_with_an_engine_is_told(tmp_path, monkeypatch):
    write_csv(tmp_path / "crm.csv", Table(["Id", "Email"], [["1", "a@x.com"]]))
    write_csv(tmp_path / "v.csv", Table(["email", "title"], [["a@x.com", "CTO"]]))
    text = "original: {path: crm.csv}\nenriched:\n  - {name: v, path: v.csv}\nmatch_on: [email]\n"
    (tmp_path / "people.yml").write_text(text)
    for target, others, said in (
        (
            "sparc",
            {},
            "--target (CRM_MERGE_TARGET): 'sparc' is not one. Accepted: duckdb, spark, spark_thrift",
        ),
        (
            "spark",
            {"SPARK_MASTER": "nonsense"},
            "SPARK_MASTER: 'nonsense' is not a master. Accepted: such as local[4]",
        ),
        ("spark", {"JAVA_HOME": str(tmp_path)}, f"JAVA_HOME: there is no '{tmp_path}/bin/java'"),
        ("spark", {"CRM_MERGE_SPARK_ROOT": "/a[1]"}, "'/a[1]': Spark takes none of [ ] { }"),
    ):
        done = subprocess.run(
            [COMMAND, "run", tmp_path / "people.yml", "--dir", tmp_path / "m", "--target", target],
            capture_output=True, text=True, timeout=300, env=os.environ | others,
        )  # fmt: skip
        assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr
    # files that were landed for another spec are not taken for this one's
    spec = yaml_file.load(tmp_path / "people.yml")
    place = tmp_path / "other"
    place.mkdir()
    landed = dbt_run.follow(dbt_run.planned(["build", "--selector", "landing"], place, spec))
    assert landed.ok, landed.problems
    monkeypatch.setenv("SPARK_MASTER", "local[1]")
    changed = spec | {"strategies": {"default": "last"}}
    outcome = dbt_run.follow(dbt_run.stream(["build"], dbt_run.begin(place, "spark"), changed))
    assert not outcome.ok and any("landed for another spec" in problem for problem in outcome.problems)


def test_without_its_packages_spark_is_told_to_be_missing(monkeypatch):
    monkeypatch.setattr(spark, "find_spec", lambda name: None)
    assert spark.problems("duckdb") == []
    assert any(
        "the package pyspark is missing; install it: make spark" in problem
        for problem in spark.problems("spark")
    )
    assert any("the package pyhive is missing" in problem for problem in spark.problems("spark_thrift"))
