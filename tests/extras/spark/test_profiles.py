"""The profile of a Thrift server, rendered by dbt itself: types, and a secret that only the environment holds."""

import os
from argparse import Namespace
from typing import Any

import pytest
import yaml

from tests.extras.needs import needs

needs("dbt.adapters.spark")

from dbt.config.profile import Profile  # noqa: E402
from dbt.config.renderer import ProfileRenderer  # noqa: E402
from dbt.flags import set_from_args  # noqa: E402
from dbt_common.context import set_invocation_context  # noqa: E402

from assets.config import Settings  # noqa: E402
from assets.transforms.engines import ENGINES  # noqa: E402
from assets.transforms.project import PROJECT_DIR  # noqa: E402

PROFILE = yaml.safe_load((PROJECT_DIR / "profiles.yml").read_text(encoding="utf-8"))["thaw"]


def _rendered(target: str) -> dict[str, Any]:
    set_invocation_context(dict(os.environ))
    set_from_args(Namespace(), {})
    return dict(Profile.render_profile(PROFILE, "thaw", target, ProfileRenderer({}))[1])


def test_every_engine_is_a_target_and_the_default_is_the_settings() -> None:
    assert set(PROFILE["outputs"]) - {"ducklake"} == set(ENGINES)
    assert PROFILE["target"] == Settings().transforms.engine


def test_a_server_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THAW_SPARK_HOST", "spark.example")
    monkeypatch.delenv("DBT_ENV_SECRET_THAW_SPARK_PASSWORD", raising=False)
    plain = _rendered("spark_thrift")
    assert (plain["host"], plain["port"], plain["auth"], plain["password"]) == ("spark.example", 10000, "NONE", None)
    monkeypatch.setenv("THAW_SPARK_AUTH", "LDAP")
    monkeypatch.setenv("DBT_ENV_SECRET_THAW_SPARK_PASSWORD", "word")
    secret = _rendered("spark_thrift")
    assert (secret["auth"], secret["password"]) == ("LDAP", "word")


def test_both_spark_targets_agree_in_what_sql_means(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THAW_SPARK_HOST", "spark.example")
    session, thrift = (_rendered(name)["server_side_parameters"] for name in ("spark", "spark_thrift"))
    shared = {"spark.sql.session.timeZone", "spark.sql.timestampType", "spark.sql.legacy.allowNonEmptyLocationInCTAS"}
    assert {name: session[name] for name in shared} == {name: thrift[name] for name in shared}
    assert session["spark.sql.session.timeZone"] == "UTC"
