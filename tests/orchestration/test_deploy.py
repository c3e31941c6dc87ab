"""``deploy/``: what can be said of it without Kubernetes and without an engine that builds images."""

import re
import shlex
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from assets.config import ConfigError, Settings, load_settings
from assets.config.deployment import MEASURED, OF_SEVERAL_ASSETS
from orchestration.definitions import ASSETS, CHECKS
from orchestration.pods import executor_of, pod_of, steps_of

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
INSTRUCTIONS = {"FROM", "ENV", "WORKDIR", "RUN", "COPY", "USER", "EXPOSE", "HEALTHCHECK", "CMD"}


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    held: dict[str, Any] = yaml.safe_load((DEPLOY / "values.yaml").read_text())
    return held


def instructions() -> list[tuple[str, str]]:
    """Of the image definition, comments and line ends taken out."""
    lines = [line for line in (DEPLOY / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line.strip())]


def test_the_image_holds_only_known_instructions_and_files_that_exist_and_are_let_in() -> None:
    assert {word for word, _ in instructions()} <= INSTRUCTIONS
    let_in = {line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"}
    copied = [shlex.split(rest)[:-1] for word, rest in instructions() if word == "COPY" and "--from" not in rest]
    names = {name for sources in copied for name in sources}
    assert names == let_in
    assert all((ROOT / name).exists() for name in names)


def test_the_image_holds_every_package_of_the_project() -> None:
    let_in = (DEPLOY / "Dockerfile.dockerignore").read_text()
    project = (ROOT / "pyproject.toml").read_text()
    found = re.search(r"packages.find\]\ninclude = \[(.*)\]", project)
    assert found
    assert all(f"!{name}\n" in let_in for name in re.findall(r'"(\w+)\*"', found[1]))


def test_the_image_runs_as_nobody_special_and_holds_no_secret() -> None:
    last = [rest for word, rest in instructions() if word == "USER"][-1]
    assert int(last) >= 1000
    text = (DEPLOY / "Dockerfile").read_text() + (DEPLOY / "values.yaml").read_text()
    text += (DEPLOY / "thaw.yaml").read_text()
    assert not re.search(r"(?im)^[^#]*(password|secret_access_key|token)\s*[:=]\s*\S", text)


def test_the_python_of_the_image_is_one_that_the_project_takes() -> None:
    images = {rest.split()[0] for word, rest in instructions() if word == "FROM"}
    assert images == {"python:3.11-slim-bookworm"}
    assert any(word == "HEALTHCHECK" for word, _ in instructions())


def test_the_locks_fit_as_constraints() -> None:
    names = [line for line in (ROOT / "requirements-extras.lock").read_text().splitlines() if line[:1].isalnum()]
    assert names
    assert not [name for name in names if "[" in name.partition(";")[0]]  # pip takes no extras in constraints


def test_code_server_and_image_agree_and_the_chart_is_dagsters_version(values: dict[str, Any]) -> None:
    (server,) = values["dagster-user-deployments"]["deployments"]
    (command,) = [rest for word, rest in instructions() if word == "CMD"]
    assert f'"{server["port"]}"' in command
    assert all(f'"{argument}"' in command for argument in server["dagsterApiGrpcArgs"])
    assert f"version {dg.__version__})" in (DEPLOY / "values.yaml").read_text()


def test_runs_and_pools_are_limited_as_on_one_machine(values: dict[str, Any]) -> None:
    here = yaml.safe_load((ROOT / "orchestration" / "dagster.yaml").read_text())
    queue = values["dagsterDaemon"]["runCoordinator"]["config"]["queuedRunCoordinator"]
    assert values["additionalInstanceConfig"]["concurrency"] == here["concurrency"]
    assert queue["dequeueIntervalSeconds"] == here["run_queue"]["dequeue_interval_seconds"]
    assert values["pythonLogs"]["managedPythonLoggers"] == here["python_logs"]["managed_python_loggers"]


def test_dagster_takes_the_instance_that_the_chart_makes_of_the_values(values: dict[str, Any], tmp_path: Path) -> None:
    queue = values["dagsterDaemon"]["runCoordinator"]["config"]["queuedRunCoordinator"]
    written = {
        "run_coordinator": {
            "module": "dagster.core.run_coordinator",
            "class": "QueuedRunCoordinator",
            "config": {"dequeue_interval_seconds": queue["dequeueIntervalSeconds"]},
        },
        **values["additionalInstanceConfig"],
    }
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(written))
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        held = instance.get_concurrency_config()
        assert held.pool_config.default_pool_limit == 1
        assert held.run_queue_config.max_concurrent_runs == 10
        assert held.run_queue_config.tag_concurrency_limits[0]["limit"] == 1


def in_pods(**steps: Any) -> Settings:
    return load_settings({}, steps={"executor": "kubernetes", **steps}, objects={"url": "s3://b/x"})


def test_each_stage_has_a_measured_size_and_configuration_goes_before_it() -> None:
    stages = set(steps_of([*ASSETS, *CHECKS]).values())
    assert stages - set(MEASURED) == {"studies"}
    settings = in_pods(resources={"training": {"memory": "20Gi"}, "training__sasrec": {"cpu": "500m"}})
    requests = [
        pod_of("training", settings, step)["container_config"]["resources"]["requests"]
        for step in ("", "training__sasrec")
    ]
    assert requests == [{"cpu": "1", "memory": "20Gi"}, {"cpu": "500m", "memory": "2Gi"}]
    assert pod_of("serving", settings)["container_config"]["resources"]["limits"] == {"memory": "11Gi"}


def test_resources_are_for_steps_that_there_are() -> None:
    steps = steps_of([*ASSETS, *CHECKS])
    assert {step for step in steps if step.partition("__")[0] not in {*MEASURED, "studies"}} == set(OF_SEVERAL_ASSETS)
    with pytest.raises(ConfigError, match=r"training__sasrecc is no stage and no step; closest are .*training__sasrec"):
        executor_of(in_pods(resources={"training__sasrecc": {"memory": "20Gi"}}), steps)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steps": {"executor": "kubernetes"}}, r"pods share no disk; set objects\.url"),
        ({"steps": {"max_concurrent": 2}}, r"steps\.max_concurrent is for pods"),
        ({"steps": {"volume_claim": "x"}}, r"steps\.volume_claim is for pods"),
        ({"objects": {"url": "/data"}}, r"write s3://bucket/prefix or file:///folder"),
        ({"objects": {"url": "s3://key:secret@bucket"}}, "leave names and passwords to the environment"),
        ({"steps": {"executor": "kubernetes", "resources": {"training": {"memory": "4GB"}}}}, "'4GB' is no size"),
        ({"steps": {"executor": "kubernetes", "resources": {"training": {"cpu": "0"}}}}, "'0' is no number of cores"),
        (
            {"steps": {"executor": "kubernetes", "resources": {"trainnig": {"memory": "64Gi"}}}},
            r"steps\.resources\.trainnig is no stage and no step: stages are ingestion, .*training",
        ),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_settings({}, **given)
