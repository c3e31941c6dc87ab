"""Addresses and schemas of Dagster's records on Postgres; the server is in ``tests/extras/postgres``."""

import pytest
from sqlalchemy.engine import make_url

from assets.config import ConfigError
from orchestration.postgres import LONGEST, schema_of, url_with


def test_schemas_are_plain_names_that_differ_where_datasets_do() -> None:
    names = ["ml_100k", "ml-100k", "ML-100k", "ml.100k", "a" * 100, "a" * 99 + "b"]
    schemas = [schema_of(name) for name in names]
    assert schemas[0] == "thaw_ml_100k"
    assert len(set(schemas)) == len(names)
    assert all(len(schema) <= LONGEST and schema.replace("_", "").isalnum() for schema in schemas)


@pytest.mark.parametrize("url", ["postgresql://u:p%40@h:5432/d", "postgresql://u@/d?host=/run/x"])
def test_the_address_carries_the_schema_and_is_otherwise_as_given(url: str) -> None:
    before, after = make_url(url), make_url(url_with(url, "thaw_x"))
    assert after.query["options"] == "-c search_path=thaw_x"
    assert after.difference_update_query(["options"]) == before


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        "nonsense hunter2",
        "mysql://u:hunter2@h/d",
        "postgresql://u:hunter2@h",
        "postgresql://u:hunter2@h/d?options=-c",
    ],
)
def test_a_wrong_address_is_named_and_not_repeated(url: str | None) -> None:
    with pytest.raises(ConfigError, match="THAW_POSTGRES_URL") as failed:
        url_with(url, "thaw_x")
    assert "hunter2" not in str(failed.value)
