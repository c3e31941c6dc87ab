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
        engagement=EngagementRule(minimum_value=3.5, event_types=("buy",)),
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
        "split_kind": "quantile",
        "quantile": 0.9,
        "held_out_by": "time",
        "windows": 3,
        "cut_by": "count",
        "validation_fraction": 0.2,
        "head_rule": "pareto",
        "head_share": 0.001,
        "tail_max_count": 4,
        "qualified_user_min": 5,
        "history_length": 6,
    }


def test_leave_one_out_has_one_window_whatever_the_settings_say() -> None:
    split = SplitConfig(kind="leave_one_out", held_out_by="random", windows=7)
    values = dbt_vars(Settings(split=split))
    assert (values["split_kind"], values["held_out_by"], values["windows"]) == ("leave_one_out", "random", 1)
