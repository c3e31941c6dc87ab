from pathlib import Path

import pytest

from assets.config import ConfigError, Settings
from assets.ingestion.datasets.simulated import SimulatedOptions
from assets.ingestion.registry import DATASETS, find, options_of


def test_the_datasets() -> None:
    movielens = ["ml-100k", "ml-1m", "ml-10m", "ml-20m", "ml-latest-small"]
    amazon = ["amazon-beauty", "amazon-games", "amazon-books"]
    others = ["movietweetings-100k", "movietweetings", *amazon, "book-crossing", "files"]
    assert list(DATASETS) == ["simulated", *movielens, *others]
    assert all(dataset.licence and dataset.citation for dataset in DATASETS.values())


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'ml-1b'; known: simulated, ml-100k, .*, files"):
        find("ml-1b")


def test_any_category_of_amazon_is_a_dataset() -> None:
    assert find("amazon-toys-and-games").name == "amazon-toys-and-games"
    with pytest.raises(ConfigError, match="'amazon-'; known"):
        find("amazon-")


def test_options_come_from_the_settings() -> None:
    settings = Settings(datasets={"simulated": {"users": 7}}, home=Path())
    options = options_of(find("simulated"), settings)
    assert isinstance(options, SimulatedOptions)
    assert options.users == 7


@pytest.mark.parametrize(
    ("datasets", "message"),
    [
        ({"simulated": {"user": 7}}, r"datasets\.simulated is not valid: user: .*Known options: .*users"),
        ({"simulated": {"users": 0}}, r"users: Input should be greater"),
        ({"simulatd": {}}, r"^datasets\.simulatd: unknown dataset 'simulatd'; known"),
    ],
)
def test_wrong_options_are_named(datasets: dict[str, dict[str, int]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        options_of(find("simulated"), Settings(datasets=datasets))
