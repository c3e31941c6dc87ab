"""Settings from defaults, a file, the environment and arguments, later ones winning; nothing is dropped in silence."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from assets.config import PROJECT_ROOT, ConfigError, Protocol, Settings, SplitConfig, load_settings
from assets.schema import ItemEmbeddings, UserHistory


def yaml_file(folder: Path, text: str) -> str:
    path = folder / "thaw.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_defaults_need_nothing() -> None:
    settings = load_settings({})
    assert settings == Settings()
    assert settings.dataset == "simulated"
    assert settings.storage.base == PROJECT_ROOT / "data" / "simulated"
    assert settings.evaluation.headline == Protocol(
        user_history=UserHistory.ROLLING, item_embeddings=ItemEmbeddings.REFRESHED
    )


def test_a_file_sets_any_part_and_the_rest_stays_default(tmp_path: Path) -> None:
    path = yaml_file(tmp_path, "dataset: ml-100k\nsplit: {windows: 3, cut_by: count}\nmodels: [popularity]\n")
    settings = load_settings({"THAW_CONFIG": path})
    assert (settings.dataset, settings.models) == ("ml-100k", ("popularity",))
    assert (settings.split.windows, settings.split.cut_by) == (3, "count")
    assert settings.split.validation_fraction == Settings().split.validation_fraction


def test_the_environment_wins_over_the_file_and_arguments_over_both(tmp_path: Path) -> None:
    environment = {
        "THAW_CONFIG": yaml_file(tmp_path, "dataset: ml-100k\nmodels: [popularity]\n"),
        "THAW_DATASET": "movietweetings-100k",
        "THAW_MODELS": " sasrec, two_tower ,",
        "THAW_HOME": str(tmp_path),
        "THAW_DATA_DIR": str(tmp_path / "copies"),
    }
    settings = load_settings(environment)
    assert (settings.dataset, settings.models) == ("movietweetings-100k", ("sasrec", "two_tower"))
    assert settings.storage.base == tmp_path / "data" / "movietweetings-100k"
    assert settings.data_dir == tmp_path / "copies"
    assert load_settings(environment, dataset="files").dataset == "files"


def test_empty_variables_are_as_good_as_none(tmp_path: Path) -> None:
    path = yaml_file(tmp_path, "dataset: ml-100k\n")
    environment = {"THAW_CONFIG": path, "THAW_DATASET": "", "THAW_MODELS": "", "THAW_HOME": "", "THAW_DATA_DIR": ""}
    assert load_settings(environment) == Settings(dataset="ml-100k")
    assert load_settings({"THAW_CONFIG": ""}) == Settings()
    assert load_settings({"THAW_CONFIG": yaml_file(tmp_path, "")}) == Settings()


def test_the_real_environment_is_read_when_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THAW_DATASET", "ml-100k")
    assert load_settings().dataset == "ml-100k"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("colour: red", "colour"),
        ("split: {windws: 3}", "split.windws"),
        ("split: {windows: 0}", "split.windows"),
        ("split: {cut_by: moon}", "split.cut_by"),
        ("split: {kind: random}", "split.kind"),
        ("split: {kind: quantile, quantile: 1}", "split.quantile"),
        ("split: {kind: leave_one_out, held_out_by: item}", "split.held_out_by"),
        ("split: {kind: fraction, fraction: 70}", "split.fraction"),
        ("split: {kind: fraction, frame: month}", "split.frame"),
        ("split: {kind: held_out_items, held_out_share: 0}", "split.held_out_share"),
        ("split: {head_rule: pareto, head_share: 20}", "split.head_share"),
        ("training: {max_epochs: many}", "training.max_epochs"),
        ("training: {seed: -1}", "training.seed"),
        ("training: {seed: 4294967296}", "training.seed"),
        ("training: {seed: 4294967295, seeds: 2}", "training"),
        ("index: {minimum_recall: 1.5}", "index.minimum_recall"),
        ("evaluation: {protocols: [{user_history: rolling, speed: 3}]}", "evaluation.protocols.0.speed"),
    ],
)
def test_a_wrong_key_or_value_is_refused_with_the_file_and_the_key(text: str, key: str, tmp_path: Path) -> None:
    path = yaml_file(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_settings({"THAW_CONFIG": path})
    assert path in str(caught.value)
    assert f"{key}: " in str(caught.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{kind: quantile}", "needs a quantile"),
        ("{quantile: 0.9}", "no other kind has one"),
        ("{kind: leave_one_out, quantile: 0.9}", "no other kind has one"),
        ("{held_out_by: random}", "for kind leave_one_out"),
        ("{fraction: 0.6}", "fraction is for kind fraction"),
        ("{kind: fraction, quantile: 0.6}", "no other kind has one"),
        ("{kind: quantile, quantile: 0.6, frame: hour}", "frame is for kind fraction"),
        ("{kind: fraction, windows: 4}", "windows is for kind median_time or quantile"),
        ("{kind: fraction, cut_by: count}", "cut_by is for kind median_time or quantile"),
        ("{kind: leave_one_out, windows: 4}", "windows is for kind median_time or quantile"),
        ("{kind: leave_one_out, validation_fraction: 0.2}", "validation_fraction is for kind median_time or"),
        ("{kind: leave_one_out, held_out_seed: 1}", "held_out_seed is for kind held_out_items or held_out_users"),
        ("{kind: fraction, held_out_share: 0.3}", "held_out_share is for kind held_out_items or held_out_users"),
        ("{kind: held_out_users, windows: 2}", "windows is for kind median_time or quantile"),
        ("{kind: held_out_items, held_out_by: random}", "held_out_by is for kind leave_one_out"),
        ("{kind: held_out_items, fraction: 0.8}", "fraction is for kind fraction"),
        ("{head_share: 0.001}", "for head_rule pareto"),
    ],
)
def test_a_split_setting_without_effect_is_refused(text: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"split: .*{problem}"):
        load_settings({"THAW_CONFIG": yaml_file(tmp_path, f"split: {text}")})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("engagement: {k_core: 1}", "engagement: .*leaves nothing out"),
        ("engagement: {k_core: -1}", "engagement.k_core: "),
        ("engagement: {k_core: 5, k_core_passes: 0}", "engagement.k_core_passes: "),
        ("engagement: {k_core: 5, k_core_counts: all}", "engagement.k_core_counts: "),
        ("engagement: {k_core_counts: all_looking_ahead}", "engagement: .*are for a k_core of 2 and more"),
        ("engagement: {k_core_passes: 1}", "engagement: .*are for a k_core of 2 and more"),
        ("{engagement: {k_core: 5}, split: {kind: leave_one_out}}", "set engagement.k_core_counts to all_looking"),
        ("{engagement: {k_core: 5}, split: {kind: held_out_users}}", "split.kind held_out_users has no cutoff in time"),
    ],
)
def test_a_k_core_that_cannot_be_is_refused(text: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=problem):
        load_settings({"THAW_CONFIG": yaml_file(tmp_path, text)})


def test_a_k_core_looks_ahead_only_where_it_is_told_to(tmp_path: Path) -> None:
    known = load_settings({"THAW_CONFIG": yaml_file(tmp_path, "engagement: {k_core: 5}")})
    assert (known.engagement.k_core, known.engagement.looks_ahead) == (5, False)
    assert not Settings().engagement.looks_ahead
    text = "{engagement: {k_core: 5, k_core_counts: all_looking_ahead}, split: {kind: leave_one_out}}"
    assert load_settings({"THAW_CONFIG": yaml_file(tmp_path, text)}).engagement.looks_ahead


def test_the_share_that_is_held_out_is_the_paper_s_unless_told() -> None:
    assert SplitConfig(kind="held_out_items").share_held_out == 0.5
    assert SplitConfig(kind="held_out_users").share_held_out == 0.2
    assert SplitConfig(kind="held_out_users", held_out_share=0.3).share_held_out == 0.3


def test_kinds_of_split() -> None:
    splits = [
        SplitConfig(),
        SplitConfig(kind="quantile", quantile=0.9, windows=3, cut_by="count"),
        SplitConfig(kind="fraction"),
        SplitConfig(kind="fraction", fraction=0.8, frame="hour", validation_fraction=0.2),
        SplitConfig(kind="leave_one_out", held_out_by="random", head_rule="pareto", head_share=0.001),
        SplitConfig(kind="held_out_items", held_out_share=0.3, held_out_seed=2, validation_fraction=0.2),
        SplitConfig(kind="held_out_users", held_out_seed=2, validation_fraction=0.2),
    ]
    assert [split.test_windows for split in splits] == [5, 3, None, None, 1, 1, 1]
    assert [split.test_cut for split in splits] == [
        "duration",
        "count",
        "frame",
        "frame",
        "duration",
        "duration",
        "duration",
    ]
    assert [split.cutoff_quantile for split in splits[:4]] == [0.5, 0.9, 0.7, 0.8]
    assert [split.cuts_in_time for split in splits] == [True, True, True, True, False, False, False]
    assert all(SplitConfig(**split.model_dump()) == split for split in splits)


@pytest.mark.parametrize("part", ["evaluation", "sampled"])
@pytest.mark.parametrize(
    ("lists", "problem"),
    [
        ("protocols: [{}, {}]", "protocols: .*lists one protocol twice"),
        ("protocols: []", "protocols: .*lists no protocol"),
        ("ks: [10, 5, 10]", "ks: .*lists one k twice"),
        ("ks: []", "ks: .*lists no k"),
        ("ks: [10, 0]", "ks.1: .*greater than or equal to 1"),
    ],
)
def test_what_is_measured_is_listed_once_and_something_is(part: str, lists: str, problem: str, tmp_path: Path) -> None:
    path = yaml_file(tmp_path, f"{part}: {{{lists}}}")
    with pytest.raises(ConfigError, match=rf"{part}\.{problem}"):
        load_settings({"THAW_CONFIG": path})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [1", "cannot be read"),
        ("- a\n- b\n", "must hold a mapping"),
        ("just words", "must hold a mapping"),
        ("1_000: ml-100k", "1000: Keys should be strings"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused(text: str, problem: str, tmp_path: Path) -> None:
    path = yaml_file(tmp_path, text)
    with pytest.raises(ConfigError, match=problem) as caught:
        load_settings({"THAW_CONFIG": path})
    assert path in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"THAW_CONFIG=.*absent\.yaml cannot be read"):
        load_settings({"THAW_CONFIG": str(tmp_path / "absent.yaml")})


def test_settings_cannot_be_changed() -> None:
    settings = Settings()
    with pytest.raises(ValidationError):
        settings.dataset = "other"  # type: ignore[misc]
