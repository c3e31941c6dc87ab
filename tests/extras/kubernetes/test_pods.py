"""What goes to Kubernetes is what dagster-k8s takes. No cluster is asked: the jobs are built, not run."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._config import process_config, resolve_to_config_type

from assets.config import Settings, load_settings
from orchestration.definitions import build_definitions
from orchestration.pods import POD_TAG
from tests.extras.needs import needs

needs("dagster_k8s")

from dagster_k8s import K8sRunLauncher, k8s_job_executor  # noqa: E402 - after the extra is known to be there
from dagster_k8s.job import (  # noqa: E402
    DagsterK8sJobConfig,
    UserDefinedDagsterK8sConfig,
    construct_dagster_k8s_job,
)

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """As a pod loads them from what ``deploy/`` holds."""
    environment = {"THAW_CONFIG": str(DEPLOY / "thaw.yaml"), "THAW_DATASET": "movietweetings"}
    return load_settings(environment, home=tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def definitions(settings: Settings) -> dg.Definitions:
    return build_definitions(settings)


@pytest.fixture(scope="module")
def config(definitions: dg.Definitions) -> dict[str, Any]:
    executor = definitions.resolve_job_def("refresh_all").executor_def
    assert executor.name == "k8s"
    resolved = executor.apply_config_mapping({"config": {}})
    assert resolved.success, resolved.errors
    return dict(resolved.value["config"])


def test_the_executor_takes_its_configuration(config: dict[str, Any]) -> None:
    checked = process_config(resolve_to_config_type(k8s_job_executor.config_schema.config_type), config)
    assert checked.success, checked.errors
    assert config["max_concurrent"] == 8


def test_every_step_of_the_job_has_a_pod_of_a_stated_size(definitions: dg.Definitions, config: dict[str, Any]) -> None:
    steps = {node.name for node in definitions.resolve_job_def("refresh_all").nodes}
    assert steps <= set(config["per_step_k8s_config"])
    assert len(steps) > 30


def built(pod: dict[str, Any]) -> Any:
    """The container and pod of the Kubernetes job that dagster-k8s makes of a pod's configuration."""
    job = construct_dagster_k8s_job(
        DagsterK8sJobConfig(job_image="thaw:test", dagster_home="/opt/dagster/dagster_home"),
        ["dagster", "api", "execute_step"],
        "job",
        user_defined_k8s_config=UserDefinedDagsterK8sConfig.from_dict(pod),
    )
    return job.spec.template.spec


def test_a_training_pod_gets_what_is_configured(config: dict[str, Any]) -> None:
    pod = built(config["per_step_k8s_config"]["training__sasrec"])
    resources = pod.containers[0].resources
    assert resources.requests == {"cpu": "4", "memory": "10Gi"}
    assert resources.limits == {"memory": "10Gi"}
    assert not pod.volumes


def test_the_index_pod_mounts_the_datasets_folder_and_checks_of_tables_do_not(
    settings: Settings, config: dict[str, Any]
) -> None:
    pod = built(config["per_step_k8s_config"]["serving__item_index"])
    assert [volume.persistent_volume_claim.claim_name for volume in pod.volumes] == ["thaw-live"]
    assert [mount.mount_path for mount in pod.containers[0].volume_mounts] == [str(settings.storage.base)]
    assert not built(config["per_step_k8s_config"]["transforms__tables_leakage"]).volumes


@pytest.mark.parametrize("job", ["freshen", "retrain", "retrain_quantizer", "drift_report"])
def test_jobs_of_what_serves_are_one_pod_with_the_volume(definitions: dg.Definitions, job: str) -> None:
    import json  # noqa: PLC0415

    resolved = definitions.resolve_job_def(job)
    assert resolved.executor_def.name == "in_process"
    pod = built(json.loads(resolved.tags[POD_TAG]))
    assert pod.volumes[0].persistent_volume_claim.claim_name == "thaw-live"
    assert pod.containers[0].resources.limits["memory"].endswith("Gi")


def test_without_pods_no_job_says_a_word_of_them(tmp_path: Path) -> None:
    plain = build_definitions(load_settings({}, home=tmp_path))
    for job in ("refresh_all", "freshen", "retrain"):
        resolved = plain.resolve_job_def(job)
        assert resolved.executor_def.name == "in_process"
        assert POD_TAG not in resolved.tags


def test_the_run_launcher_takes_the_charts_values() -> None:
    """The chart's template turns camelCase into these keys."""
    values = yaml.safe_load((DEPLOY / "values.yaml").read_text())
    given = values["runLauncher"]["config"]["k8sRunLauncher"]
    raw = given["runK8sConfig"]
    launcher = {
        "dagster_home": values["global"]["dagsterHome"],
        "instance_config_map": "thaw-instance",
        "postgres_password_secret": values["global"]["postgresqlSecretName"],
        "service_account_name": "thaw",
        "load_incluster_config": True,
        "image_pull_policy": given["imagePullPolicy"],
        "fail_pod_on_run_failure": given["failPodOnRunFailure"],
        "resources": given["resources"],
        "run_k8s_config": {
            "job_spec_config": raw["jobSpecConfig"],
            "pod_spec_config": raw["podSpecConfig"],
        },
    }
    checked = process_config(resolve_to_config_type(K8sRunLauncher.config_type()), launcher)
    assert checked.success, checked.errors
    pod = built(launcher["run_k8s_config"])
    assert pod.security_context.run_as_non_root is True
