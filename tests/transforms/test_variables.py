"""Settings as dbt vars."""

import yaml

from assets.config import EngagementRule, Settings, SplitConfig
from assets.transforms.project import PROJECT_DIR
from assets.transforms.variables import dbt_vars


def test_the_project_s_defaults_are_the_settings_defaults() -> None:
    project = yaml.safe_load((PROJECT_DIR / "dbt_project.yml").read_text())
    assert project["vars"] == dbt_vars(Settings())


def test_every_setting_reaches_its_var() -> None:
    settings = Settings(
        engagement=EngagementRule(
            minimum_value=3.5,
            event_types=("buy",),
            k_core=5,
            k_core_counts="all_looking_ahead",
            k_core_passes=1,
        ),
        split=SplitConfig(
            kind="quantile",
            quantile=0.9,
            windows=3,
            cut_by="count",
            validation_fraction=0.2,
            head_rule="pareto",
            head_share=0.001,
            tail_max_count=4,
            qualified_user_min=5,
            history_length=6,
        ),
    )
    assert dbt_vars(settings) == {
        "minimum_value": 3.5,
        "event_types": ["buy"],
        "k_core": 5,
        "k_core_counts": "all_looking_ahead",
        "k_core_passes": 1,
        "split_kind": "quantile",
        "quantile": 0.9,
        "held_out_by": "time",
        "held_out_share": 0.5,
        "held_out_seed": 0,
        "frame": "day",
        "windows": 3,
        "cut_by": "count",
        "validation_fraction": 0.2,
        "head_rule": "pareto",
        "head_share": 0.001,
        "tail_max_count": 4,
        "qualified_user_min": 5,
        "history_length": 6,
    }


def test_what_is_held_out_is_tested_in_one_window() -> None:
    by_user = dbt_vars(Settings(split=SplitConfig(kind="leave_one_out", held_out_by="random")))
    assert (by_user["split_kind"], by_user["held_out_by"], by_user["windows"]) == ("leave_one_out", "random", 1)
    by_item = dbt_vars(Settings(split=SplitConfig(kind="held_out_items", held_out_share=0.3, held_out_seed=4)))
    assert (by_item["split_kind"], by_item["windows"], by_item["cut_by"]) == ("held_out_items", 1, "duration")
    assert (by_item["held_out_share"], by_item["held_out_seed"]) == (0.3, 4)
    of_users = dbt_vars(Settings(split=SplitConfig(kind="held_out_users", held_out_seed=4)))
    assert (of_users["split_kind"], of_users["windows"], of_users["held_out_share"]) == ("held_out_users", 1, 0.2)


def test_a_fraction_is_a_quantile_and_its_windows_are_frames_as_many_as_there_are() -> None:
    values = dbt_vars(Settings(split=SplitConfig(kind="fraction", fraction=0.8, frame="hour")))
    assert (values["split_kind"], values["quantile"]) == ("fraction", 0.8)
    assert (values["cut_by"], values["frame"], values["windows"]) == ("frame", "hour", None)
