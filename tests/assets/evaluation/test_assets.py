"""Every asset and check materialized on a small dataset with trained checkpoints, whole and broken."""

import json
from collections.abc import Sequence

import dagster as dg
import pandas as pd
import pytest

from assets import keys
from assets.config import Settings
from assets.evaluation import assets, checks, run
from assets.evaluation.files import StaleResultsError, read_info, read_ranks, seed_means_path
from assets.evaluation.run import (
    basis,
    build_comparisons,
    build_decay,
    build_leaderboard,
    gather_metrics,
    headline_k,
    rank_model,
)
from assets.schema import METRIC_COLUMNS
from assets.storage import Storage, read_parquet, write_parquet
from assets.stream import load_tables
from assets.training.registry import MODELS
from assets.training.saving import save_checkpoint
from assets.training.seeds import for_seed
from assets.training.train import train
from tests.assets.evaluation.test_soundness import LooksAhead
from tests.assets.evaluation.toy import ROSTER, toy_settings
from tests.support import write_manifest

Toy = tuple[Storage, Settings]


def materialize(toy: Toy, selected: Sequence[keys.Key], raise_on_error: bool = True) -> dg.ExecuteInProcessResult:
    storage, settings = toy
    wanted = dg.AssetSelection.assets(*map(dg.AssetKey, selected))
    return dg.materialize(
        [*assets.ASSETS, *checks.CHECKS],
        selection=wanted,
        resources={"storage": storage, "settings": settings},
        raise_on_error=raise_on_error,
    )


def metadata_of(result: dg.ExecuteInProcessResult, key: keys.Key) -> dict[str, object]:
    events = result.asset_materializations_for_node("__".join(key))
    return {name: value.value for name, value in events[0].metadata.items()}


def test_the_whole_stage(toy: Toy):
    storage, _ = toy
    everything = [
        *(keys.ranks(model) for model in ROSTER),
        keys.METRICS,
        keys.LEADERBOARD,
        keys.DECAY,
        keys.COMPARISONS,
    ]
    result = materialize(toy, everything)
    assert result.success
    evaluations = result.get_asset_check_evaluations()
    assert len(evaluations) == len(ROSTER) + 2
    assert all(evaluation.passed for evaluation in evaluations)

    ranked = metadata_of(result, keys.ranks("two_tower"))
    assert ranked["dagster/row_count"] == 2 * ranked["cases"]
    cases = storage.read_table("test_cases")
    assert ranked["cases"] + ranked["repeats_dropped"] == len(cases)
    assert ranked["repeats_dropped"] > 0
    assert ranked["off_catalog"] == (~cases["on_catalog"] & ~cases["is_repeat"]).sum()

    metrics = read_parquet(storage.metrics)
    assert list(metrics.columns) == list(METRIC_COLUMNS)
    assert set(metrics["model"]) == set(ROSTER)
    assert set(metrics["window"]) == {"0", "1", "all"}
    assert set(zip(metrics["user_history"], metrics["item_embeddings"], strict=True)) == {
        ("rolling", "refreshed"),
        ("frozen", "frozen"),
    }
    markdown = (storage.evaluation / "leaderboard.md").read_text(encoding="utf-8")
    board = metadata_of(result, keys.LEADERBOARD)
    assert board["leaderboard"] == markdown
    assert "| two_tower          | coverage " in str(board["recommended lists"])
    listed = metrics[metrics["metric"].isin(["coverage", "train_frequency"])]
    assert set(listed["user_history"]) == {"rolling"}
    assert set(listed["window"]) == {"0", "1", "all"}
    assert "two_tower" in (storage.evaluation / "leaderboard.txt").read_text(encoding="utf-8")
    assert (storage.evaluation / "decay.png").read_bytes().startswith(b"\x89PNG")
    decay = metadata_of(result, keys.DECAY)
    assert str(decay["figure"]).startswith("![toy: rolling user history, refreshed items](data:image/png;base64,")
    for shown in ("NDCG@10 overall", "HR@10 tail", "HR@10 cold"):
        assert shown in str(decay["decay"])
    assert "each window over the first" not in str(decay["figure"])
    assert (storage.evaluation / "decay_relative.png").read_bytes().startswith(b"\x89PNG")
    ratios = read_parquet(storage.evaluation / "decay.parquet")
    assert set(ratios["model"]) == set(ROSTER)
    assert (ratios.loc[ratios["window"] == "0", "value"] == 1).all()

    pairs = read_parquet(storage.evaluation / "comparisons.parquet")
    assert len(set(zip(pairs["model"], pairs["reference"], strict=True))) == len(ROSTER) * (len(ROSTER) - 1)
    assert "HR@10 minus popularity, every window" in str(metadata_of(result, keys.COMPARISONS)["comparisons"])
    assert "HR@10 minus popularity, every window" in (storage.evaluation / "comparisons.md").read_text(encoding="utf-8")


def test_the_fallback_ranks_for_users_without_history_whatever_the_model(toy: Toy):
    storage, settings = toy
    frames = [rank_model(storage, settings, model).ranks for model in ROSTER]
    for frame in frames[1:]:
        pd.testing.assert_series_equal(frame["has_history"], frames[0]["has_history"])
        unknown = ~frame["has_history"]
        assert unknown.any()
        assert (frame.loc[unknown, ["above", "tied"]] == frames[0].loc[unknown, ["above", "tied"]]).all().all()


def test_ranking_twice_gives_equal_bytes(toy: Toy):
    storage, settings = toy
    path = storage.evaluation / "ranks" / "two_tower.parquet"
    rank_model(storage, settings, "two_tower")
    first = path.read_bytes()
    rank_model(storage, settings, "two_tower")
    assert path.read_bytes() == first


def test_progress_reaches_the_total(toy: Toy):
    storage, settings = toy
    seen: list[tuple[int, int]] = []
    ranked = rank_model(storage, settings, "popularity", lambda done, total: seen.append((done, total)))
    assert sum(done for done, _ in seen) == len(ranked.ranks) == seen[0][1]


def test_ranks_of_an_older_checkpoint_are_refused(toy: Toy):
    storage, settings = toy
    for model in ROSTER:
        rank_model(storage, settings, model)
    manifest = storage.checkpoint("two_tower", 0) / "manifest.json"
    retrained = {**json.loads(manifest.read_text(encoding="utf-8")), "best_epoch": 17}
    manifest.write_text(json.dumps(retrained), encoding="utf-8")
    with pytest.raises(StaleResultsError, match="ranks of two_tower were made with checkpoints"):
        gather_metrics(storage, settings)


def test_a_leaderboard_of_other_ranks_than_the_metrics_is_refused(toy: Toy):
    storage, settings = toy
    for model in ROSTER:
        rank_model(storage, settings, model)
    gather_metrics(storage, settings)
    changed = settings.evaluation.model_copy(update={"protocols": settings.evaluation.protocols[:1]})
    other = settings.model_copy(update={"evaluation": changed})
    rank_model(storage, other, "popularity")
    with pytest.raises(StaleResultsError, match="not computed from the current ranks of popularity"):
        build_leaderboard(storage, other)


def test_metrics_without_the_ranks_of_a_model_name_the_asset(toy: Toy):
    storage, settings = toy
    rank_model(storage, settings, "popularity")
    with pytest.raises(FileNotFoundError, match="materialize evaluation/decayed_popularity_ranks first"):
        gather_metrics(storage, settings)


def test_a_roster_without_the_reference_floor_has_a_leaderboard_too(toy: Toy):
    storage, _ = toy
    settings = toy_settings(storage.root.parent, ("popularity",))
    rank_model(storage, settings, "popularity")
    gather_metrics(storage, settings)
    assert "against" not in build_leaderboard(storage, settings).text()


def test_basis_names_protocols_and_the_current_tables(toy: Toy):
    storage, settings = toy
    rank_model(storage, settings, "popularity")
    held = read_info(storage, "popularity").basis
    assert held == basis(storage, settings, "popularity")
    assert held.protocols == ("rolling/refreshed", "frozen/frozen")
    frame = storage.read_table("users")
    write_parquet(storage.table("users"), frame.assign(train_count=frame["train_count"] + 1))
    write_manifest(storage)
    assert basis(storage, settings, "popularity").tables != held.tables


def test_ranks_of_another_smoothing_or_half_life_are_refused(toy: Toy):
    storage, settings = toy
    rank_model(storage, settings, "two_tower")
    evaluation = settings.evaluation.model_copy(update={"smoothing": 0.5})
    training = settings.training.model_copy(update={"hyper_parameters": {"decayed_popularity": {"half_life_days": 9}}})
    for changed in ({"evaluation": evaluation}, {"training": training}):
        now = settings.model_copy(update=changed)
        with pytest.raises(StaleResultsError, match="ranks of two_tower were made with fallback"):
            read_ranks(storage, "two_tower", basis(storage, now, "two_tower"))


def test_a_floor_configured_with_another_smoothing_is_refused(toy: Toy):
    storage, settings = toy
    changed = settings.evaluation.model_copy(update={"smoothing": 0.5})
    with pytest.raises(
        StaleResultsError, match=r"popularity was made with smoothing 0.02, now it is 0.5: .* training/"
    ):
        rank_model(storage, settings.model_copy(update={"evaluation": changed}), "popularity")


def test_seeds_are_ranked_side_by_side(toy: Toy):
    storage, first = toy
    settings = toy_settings(storage.root.parent, seeds=2)
    save_checkpoint(storage, train("two_tower", load_tables(storage), for_seed(settings, 1)))
    alone = rank_model(storage, first, "two_tower").ranks
    for model in ROSTER:
        rank_model(storage, settings, model)
    both = read_ranks(storage, "two_tower", basis(storage, settings, "two_tower"))
    assert both.groupby("seed").size().to_dict() == {0: len(alone), 1: len(alone)}
    pd.testing.assert_frame_equal(both[both["seed"] == 0].reset_index(drop=True), alone)
    assert set(read_ranks(storage, "popularity", basis(storage, settings, "popularity"))["seed"]) == {0}
    with pytest.raises(StaleResultsError, match="made with seeds 0, 1, now it is 0:"):
        read_ranks(storage, "two_tower", basis(storage, first, "two_tower"))

    metrics = gather_metrics(storage, settings)
    assert metrics.groupby("model")["seed"].nunique().to_dict() == {**dict.fromkeys(ROSTER, 1), "two_tower": 2}
    means = read_parquet(seed_means_path(storage)).set_index("model")
    assert means["seeds"].groupby("model").first().to_dict() == {**dict.fromkeys(ROSTER, 1), "two_tower": 2}
    assert means.loc["two_tower", "standard_error"].notna().all()
    board = build_leaderboard(storage, settings)
    assert "mean of 2 seeds" in board.title
    cells = {row[0].split(" ")[0]: row[1] for row in board.rows}
    assert "±" in cells["two_tower"]
    assert "±" not in cells["popularity"]
    build_decay(storage, settings)
    build_comparisons(storage, settings)


def test_headline_k_is_ten_where_it_is_measured(toy: Toy):
    _, settings = toy
    assert headline_k(settings) == 10
    without = settings.model_copy(update={"evaluation": settings.evaluation.model_copy(update={"ks": (5, 20)})})
    assert headline_k(without) == 5


def run_check(check: dg.AssetChecksDefinition, toy: Toy) -> dg.AssetCheckResult:
    storage, settings = toy
    names = check.required_resource_keys
    result = check(
        **{name: value for name, value in {"storage": storage, "settings": settings}.items() if name in names}
    )
    assert isinstance(result, dg.AssetCheckResult)
    return result


def test_unsound_metrics_fail_their_check(toy: Toy):
    storage, settings = toy
    small = settings.model_copy(update={"models": ("popularity",)})
    rank_model(storage, small, "popularity")
    metrics = gather_metrics(storage, small)
    metrics.loc[0, "value"] = float("nan")
    write_parquet(storage.metrics, metrics)
    result = run_check(checks.metrics_are_sound, toy)
    assert not result.passed
    assert result.metadata["unsound_rows"].value == 1


def test_a_missing_window_fails_its_check(toy: Toy):
    storage, settings = toy
    small = settings.model_copy(update={"models": ("popularity",)})
    rank_model(storage, small, "popularity")
    metrics = gather_metrics(storage, small)
    write_parquet(storage.metrics, metrics[metrics["window"] != "1"])
    result = run_check(checks.every_window_is_measured, (storage, small))
    assert not result.passed
    assert result.metadata["missing"].value == ["popularity rolling/refreshed 1", "popularity frozen/frozen 1"]


def test_a_model_that_looks_ahead_fails_its_check_and_stops_the_metrics(toy: Toy, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run, "load_recommender", lambda storage, model, seed, tables: LooksAhead(tables))
    everything = [*(keys.ranks(model) for model in ROSTER), keys.METRICS]
    result = materialize(toy, everything, raise_on_error=False)
    assert not result.success
    assert not any(evaluation.passed for evaluation in result.get_asset_check_evaluations())
    assert not toy[0].metrics.exists()


def test_every_registered_model_has_ranks_and_a_future_check():
    held = {tuple(asset.key.path) for asset in assets.ASSETS}
    assert held == {tuple(keys.ranks(model)) for model in MODELS} | {
        tuple(key) for key in (keys.METRICS, keys.LEADERBOARD, keys.DECAY, keys.COMPARISONS)
    }
    checked = {tuple(key.asset_key.path) for check in checks.CHECKS for key in check.check_keys}
    assert checked == {tuple(keys.ranks(model)) for model in MODELS} | {tuple(keys.METRICS)}
