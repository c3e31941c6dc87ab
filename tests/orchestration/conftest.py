import pytest

from assets.config import Settings, load_settings


@pytest.fixture(scope="session")
def small_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The whole graph in seconds: few engagements, one epoch, few resamples."""
    return load_settings(
        {},
        home=tmp_path_factory.mktemp("home"),
        datasets={"simulated": {"users": 300, "items": 200, "days": 40, "engagements": 6000}},
        training={"max_epochs": 1},
        evaluation={"bootstrap_samples": 50},
        drift={"sample_rows": 1000},
    )
