"""Dagster's records on a Postgres server: a schema per dataset, shared by whoever has the address."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml

from assets.config import ConfigError, Settings, load_settings
from orchestration.home import open_instance, prepare_home
from orchestration.postgres import DAGSTER_URL, URL, schema_of
from tests.extras.needs import needs

needs("dagster_postgres")

from tests.extras.postgres.server import PASSWORD, running  # noqa: E402 - after the extra is known to be there

OPEN = """
import sys
from assets.config import load_settings
from orchestration.home import open_instance
from pathlib import Path
with open_instance(load_settings({}, home=Path(sys.argv[1]), dataset="raced", state={"kind": "postgres"})) as instance:
    assert instance.get_runs() == []
"""


@dg.asset(pool="warehouse")
def something() -> None:
    """An asset in a pool."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with running() as url:
        yield url


@pytest.fixture(autouse=True)
def _environment(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL, server)
    monkeypatch.setenv("DAGSTER_HOME", "")  # opening a home sets these; the test puts them back
    monkeypatch.setenv(DAGSTER_URL, "")


def settings_of(home: Path, dataset: str, kind: str = "postgres") -> Settings:
    return load_settings({}, home=home, dataset=dataset, state={"kind": kind})


def materialized(settings: Settings) -> str:
    with open_instance(settings) as instance:
        return dg.materialize([something], instance=instance).run_id


def runs_of(settings: Settings) -> set[str]:
    with open_instance(settings) as instance:
        return {run.run_id for run in instance.get_runs()}


def test_another_machine_sees_the_records_and_another_dataset_does_not(tmp_path: Path) -> None:
    here, there = (settings_of(tmp_path / name, "ml-100k") for name in ("here", "there"))
    run_id, other = materialized(here), materialized(settings_of(tmp_path / "here", "ML-100k"))
    assert runs_of(there) == {run_id}
    assert runs_of(settings_of(tmp_path / "there", "ML-100k")) == {other}
    with open_instance(there) as instance:
        record = instance.get_asset_records([dg.AssetKey("something")])[0]
        assert record.asset_entry.last_materialization.run_id == run_id
        pool = instance.event_log_storage.get_concurrency_info("warehouse")
        assert (pool.slot_count, pool.active_slot_count) == (1, 0)


def test_every_table_lies_in_the_datasets_schema(tmp_path: Path, server: str) -> None:
    import psycopg2  # noqa: PLC0415

    settings = settings_of(tmp_path, "tables-of-one")
    materialized(settings)
    with psycopg2.connect(server) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT schemaname, count(*) FROM pg_tables WHERE tablename = 'runs' GROUP BY 1")
        schemas = dict(cursor.fetchall())
        cursor.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        assert cursor.fetchone() == (0,)
    assert schemas[schema_of("tables-of-one")] == 1


def test_nothing_is_kept_beside_the_file_and_it_holds_no_secret(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "secret")
    materialized(settings)
    home = prepare_home(settings)
    written = yaml.safe_load((home / "dagster.yaml").read_text())
    assert written["storage"] == {"postgres": {"postgres_url": {"env": DAGSTER_URL}}}
    assert written["concurrency"]["pools"] == {"default_limit": 1, "granularity": "op"}
    assert not list(home.rglob("*.db"))
    assert not [path for path in home.rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()]


def test_a_home_moves_between_sqlite_and_postgres_as_configured(tmp_path: Path) -> None:
    on_postgres = materialized(settings_of(tmp_path, "moves"))
    on_sqlite = materialized(settings_of(tmp_path, "moves", "sqlite"))
    assert runs_of(settings_of(tmp_path, "moves")) == {on_postgres}
    assert runs_of(settings_of(tmp_path, "moves", "sqlite")) == {on_sqlite}


def test_an_edited_file_that_keeps_records_elsewhere_is_an_error(tmp_path: Path) -> None:
    copy = prepare_home(settings_of(tmp_path, "edited", "sqlite")) / "dagster.yaml"
    copy.write_text(copy.read_text() + "# mine\n")
    with pytest.raises(ConfigError, match=r"was edited and has no storage\.postgres"):
        prepare_home(settings_of(tmp_path, "edited"))


def test_processes_may_make_a_schema_at_once(tmp_path: Path) -> None:
    started = [
        subprocess.Popen([sys.executable, "-c", OPEN, str(tmp_path / str(n))], stderr=subprocess.PIPE, text=True)
        for n in range(3)
    ]
    for process in started:
        _, errors = process.communicate(timeout=200)
        assert process.returncode == 0, errors


def test_a_schema_made_for_a_user_who_may_make_none_is_used(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg2  # noqa: PLC0415

    with psycopg2.connect(server) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE ROLE plain LOGIN PASSWORD 'simple'")
        cursor.execute(f"CREATE SCHEMA {schema_of('granted')} AUTHORIZATION plain")
    monkeypatch.setenv(URL, f"postgresql://plain:simple@{server.rpartition('@')[2]}")
    assert runs_of(settings_of(tmp_path, "granted")) == set()
    with pytest.raises(ConfigError, match="may not make the schema"):
        prepare_home(settings_of(tmp_path, "refused"))


def test_a_wrong_password_and_a_server_that_is_gone_are_said_without_it(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = "quite-another"
    user, _, rest = server.partition("@")
    monkeypatch.setenv(URL, f"postgresql://thaw:{wrong}@{rest}")
    with pytest.raises(ConfigError, match="password authentication failed") as failed:
        prepare_home(settings_of(tmp_path, "wrong"))
    assert wrong not in str(failed.value)
    monkeypatch.setenv(URL, f"{user}@127.0.0.1:1/postgres")
    with pytest.raises(ConfigError, match=r"does not answer at 127\.0\.0\.1") as failed:
        prepare_home(settings_of(tmp_path, "gone"))
    assert "se cret" not in str(failed.value)
