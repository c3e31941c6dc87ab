"""The graph loads, is named as agreed, and every asset says what it is."""

from itertools import pairwise

import dagster as dg
import pytest

from assets import keys
from assets.config import load_settings
from assets.partitions import LANDED
from assets.training.registry import DEFAULT_ROSTER, MODELS
from orchestration.definitions import build_definitions
from orchestration.jobs import (
    DRIFT_REPORT,
    FRESHEN,
    REFRESH_ALL,
    REFRESH_DATA,
    RETRAIN,
    RETRAIN_QUANTIZER,
    left_out,
    out_of_reach,
)

DBT_KEYS = {
    "staging/stg_interactions",
    "staging/stg_items",
    "staging/stg_users",
    "splits/left_out",
    "splits/timeline",
    "splits/split_bounds",
    "splits/interactions_split",
    "slices/items",
    "slices/users",
    "slices/test_cases",
    "slices/dataset_profile",
    "histories/user_histories",
    "histories/item_histories",
}
OTHER_KEYS = {
    "ingestion/interactions",
    "ingestion/items",
    "ingestion/users",
    "transforms/tables",
    "quality/data_docs",
    "evaluation/metrics",
    "evaluation/leaderboard",
    "evaluation/decay",
    "evaluation/comparisons",
    "evaluation/leave_one_out",
    "evaluation/sampled_metrics",
    "evaluation/sampled_tables",
    "ingestion/landed_engagements",
    "serving/item_features",
    "serving/fresh_item_embeddings",
    "serving/item_index",
    "serving/freshness_report",
    "champion/quality_over_time",
    "champion/challenger",
    "champion/contest",
    "champion/promotion",
    "monitoring/engagement_drift",
    "monitoring/partition_drift",
    "monitoring/evidently_workspace",
    "monitoring/dashboard",
}

FOR_REPORTS = {
    "evaluation/leave_one_out",
    "evaluation/sampled_metrics",
    "evaluation/sampled_tables",
    *(f"evaluation/{model}_sampled" for model in MODELS),
}
"""What the job leaves to ``thaw report``."""

PER_PARTITION = {
    "ingestion/landed_engagements",
    "serving/item_features",
    "serving/fresh_item_embeddings",
    "serving/freshness_report",
    "champion/quality_over_time",
    "monitoring/partition_drift",
}
"""What the job leaves to the landing sensor, and what follows that."""

RETRAINING = {"champion/challenger", "champion/contest", "champion/promotion"}
"""What the job leaves to ``thaw retrain``."""

STUDIES = {
    "studies/sweep",
    "studies/gamma_sweep",
    "studies/gates",
    "studies/feature_groups",
    "studies/sessions",
    "studies/ratings",
    "studies/cold_items",
    "studies/time_sensitivity",
    "studies/frames",
    "studies/online_frames",
    "studies/online",
}
"""What the job leaves to whoever asks for it."""


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return build_definitions(load_settings({}))


def test_keys_are_the_agreed_ones(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    names = ("training/{}", "evaluation/{}_ranks", "evaluation/{}_sampled")
    per_model = {name.format(model) for model in MODELS for name in names}
    found = {key.to_user_string() for key in graph.materializable_asset_keys}
    assert found == DBT_KEYS | OTHER_KEYS | STUDIES | per_model


def test_every_asset_says_what_it_is(definitions: dg.Definitions) -> None:
    for key in (graph := definitions.resolve_asset_graph()).materializable_asset_keys:
        node = graph.get(key)
        assert node.group_name == key.path[0], key
        assert node.owners == [keys.OWNER], key
        assert node.kinds, key
        assert node.description, key
        assert node.code_version, key


def test_blocking_checks_stand_on_raw_and_exported_tables(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    blocking = {key.asset_key.to_user_string() for key in graph.asset_check_keys if graph.get(key).blocking}
    assert {"ingestion/interactions", "ingestion/items", "ingestion/users", "transforms/tables"} <= blocking


def test_lineage_reaches_from_raw_data_to_the_index(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    upstream = dg.AssetSelection.assets(dg.AssetKey(keys.ITEM_INDEX)).upstream().resolve(graph)
    names = {key.to_user_string() for key in upstream}
    assert {"ingestion/interactions", "splits/interactions_split", "transforms/tables", "training/sasrec"} <= names


def test_every_op_that_opens_the_warehouse_is_in_its_pool(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    for key in graph.materializable_asset_keys:
        opens = key.to_user_string() in DBT_KEYS | {"transforms/tables"}
        assert (graph.get(key).pools == {keys.WAREHOUSE_POOL}) == opens, key


def test_the_job_leaves_out_models_that_are_not_in_the_roster() -> None:
    settings = load_settings({"THAW_MODELS": "popularity"})
    skipped = {"/".join(key) for key in left_out(settings)}
    of_others = {
        name for model in MODELS if model != "popularity" for name in (f"training/{model}", f"evaluation/{model}_ranks")
    }
    assert "evaluation/popularity_sampled" not in {"/".join(key) for key in out_of_reach(settings)}
    assert skipped == of_others | FOR_REPORTS | STUDIES | PER_PARTITION | RETRAINING
    job = build_definitions(settings).resolve_job_def(REFRESH_ALL)
    selected = {key.to_user_string() for key in job.asset_layer.executable_asset_keys}
    assert "training/popularity" in selected
    assert not selected & skipped


def test_the_job_makes_the_leave_one_out_table_under_that_split() -> None:
    settings = load_settings({}, split={"kind": "leave_one_out"})
    assert keys.LEAVE_ONE_OUT not in left_out(settings)
    assert keys.SAMPLED_METRICS in left_out(settings)
    assert keys.SAMPLED_METRICS in out_of_reach(settings)
    assert keys.LEAVE_ONE_OUT in out_of_reach(load_settings({}))


@pytest.mark.parametrize(("kind", "reached"), [("fraction", True), ("held_out_items", False)])
def test_sampled_protocols_are_in_reach_where_the_cutoff_is_in_time(kind: str, reached: bool) -> None:
    skipped = out_of_reach(load_settings({}, split={"kind": kind}))
    assert (keys.SAMPLED_METRICS not in skipped, keys.sampled("sasrec") not in skipped) == (reached, reached)
    assert keys.LEAVE_ONE_OUT in skipped


def test_the_default_roster_is_the_documented_one() -> None:
    floors = ("popularity", "recent_popularity", "decayed_popularity")
    assert (*floors, "two_tower", "sasrec", "ihm_sasrec") == DEFAULT_ROSTER


@pytest.mark.parametrize("job", [REFRESH_DATA, DRIFT_REPORT])
def test_jobs_of_the_clock_train_nothing(definitions: dg.Definitions, job: str) -> None:
    made = definitions.resolve_job_def(job).asset_layer.executable_asset_keys
    assert not {key.path[0] for key in made} & {keys.TRAINING, keys.STUDIES, keys.EVALUATION, keys.SERVING}
    assert dg.AssetKey(keys.ENGAGEMENT_DRIFT) in made


def test_the_data_job_goes_from_raw_tables_to_pages(definitions: dg.Definitions) -> None:
    made = {key.to_user_string() for key in definitions.resolve_job_def(REFRESH_DATA).asset_layer.executable_asset_keys}
    assert DBT_KEYS | {"ingestion/users", "transforms/tables", "quality/data_docs", "monitoring/dashboard"} <= made


def test_the_retrain_job_makes_challenger_contest_and_promotion(definitions: dg.Definitions) -> None:
    job = definitions.resolve_job_def(RETRAIN)
    assert {key.to_user_string() for key in job.asset_layer.executable_asset_keys} == RETRAINING
    assert job.tags["thaw/weight"] == "heavy"


def test_the_freshness_path_is_partitioned_and_in_its_order(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    for key in map(dg.AssetKey, keys.PER_PARTITION):
        assert graph.get(key).partitions_def == LANDED, key
    assert graph.get(dg.AssetKey(keys.ITEM_INDEX)).partitions_def is None
    chain = [*keys.PER_PARTITION[:3], keys.ITEM_INDEX, keys.PER_PARTITION[3]]
    for upper, lower in pairwise(chain):
        assert dg.AssetKey(upper) in graph.get(dg.AssetKey(lower)).parent_keys
    embeddings = dg.AssetSelection.assets(dg.AssetKey(keys.FRESH_ITEM_EMBEDDINGS)).upstream().resolve(graph)
    assert {"training/ihm_sasrec", "transforms/tables"} <= {key.to_user_string() for key in embeddings}


def test_a_landed_file_is_not_held_up_by_checks_that_compute_everything_anew(definitions: dg.Definitions) -> None:
    def checks(job: str) -> set[str]:
        graph = definitions.resolve_job_def(job).asset_layer.asset_graph
        return {key.name for key in graph.asset_check_keys if key.asset_key.path[0] == keys.SERVING}

    assert checks(FRESHEN) == {"pending_bound", "ats_bound", "snapshot_recall"}
    assert checks(RETRAIN_QUANTIZER) == {"state_equals_batch", "index_recall", "snapshot_recall"}
    assert checks(REFRESH_ALL) == {"index_recall", "snapshot_recall"}


@pytest.mark.parametrize(
    ("models", "reachable"), [("recent_popularity", False), ("recent_popularity,popularity", True)]
)
def test_an_index_needs_a_model_that_can_serve(models: str, reachable: bool) -> None:
    settings = load_settings({"THAW_MODELS": models})
    assert (keys.ITEM_INDEX not in out_of_reach(settings)) == reachable
