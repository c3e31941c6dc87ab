"""The alert of what serves: which days, which files, and when it is judged anew."""

import numpy as np
import pandas as pd
import pytest

from assets.champion.quality import files
from assets.champion.quality.alert import look_for_decay, read_alert
from assets.champion.quality.measure import measure_partitions
from assets.champion.quality.spans import span_of, spans_within, windows_of
from assets.config import AlertConfig, RetrainingConfig
from assets.serving.live.build import renew
from tests.assets.serving.live.conftest import Live

CUTOFF = np.datetime64("2024-03-04T00:00:00", "us")
ALERT = AlertConfig(reference_days=2, recent_days=1, min_cases=5)


@pytest.fixture
def measured(live: Live) -> Live:
    live.settings = live.settings.model_copy(update={"retraining": RetrainingConfig(alert=ALERT)})
    live.land([("u01", "brand new", "2024-03-07T02:00:00")])
    live.process()
    measure_partitions(live.storage, live.settings, ["2024-03-07"])
    return live


def checkpoint_of(live: Live) -> str:
    with live.opened() as opened:
        return opened.model.digest


def rewrite(live: Live, partition: str, above: int) -> None:
    """Pretend that the champion's cases of a partition came after ``above`` others, and the floor's after two."""
    checkpoint = checkpoint_of(live)
    account = files.read_ranks_account(live.storage, checkpoint, partition)
    assert account is not None
    ranks = files.read_ranks(live.storage, checkpoint, partition)
    ranks["above"], ranks["tied"] = np.where(ranks["contender"] == "champion", above, 2), 0
    files.write_ranks(live.storage, ranks, account)


def test_days_that_are_compared() -> None:
    windows = windows_of(CUTOFF, np.datetime64("2024-04-01", "us"), AlertConfig(reference_days=14, recent_days=7))
    assert windows.reference == (CUTOFF, np.datetime64("2024-03-18"))
    assert windows.recent == (np.datetime64("2024-03-25"), np.datetime64("2024-04-01"))


def test_recent_days_never_reach_into_the_reference() -> None:
    config = AlertConfig(reference_days=14, recent_days=7)
    windows = windows_of(CUTOFF, np.datetime64("2024-03-20", "us"), config)
    assert windows.recent == (np.datetime64("2024-03-18"), np.datetime64("2024-03-20"))
    early = windows_of(CUTOFF, np.datetime64("2024-03-10", "us"), config)
    assert early.reference == (CUTOFF, np.datetime64("2024-03-10"))
    assert early.recent[0] == early.recent[1]
    nothing = windows_of(CUTOFF, np.datetime64("2024-03-01", "us"), config)
    assert nothing.reference == (CUTOFF, CUTOFF)


def test_spans_hold_instants_of_the_windows_only() -> None:
    windows = windows_of(CUTOFF, np.datetime64("2024-03-08T12:00", "us"), ALERT)
    days = ["2024-03-03T10:00", "2024-03-04T10:00", "2024-03-06T10:00", "2024-03-07T11:00", "2024-03-08T01:00"]
    instants = np.array(days, "datetime64[us]")
    assert [span.partition for span in spans_within(instants, windows, "day")] == ["2024-03-04", "2024-03-08"]
    hours = [span.partition for span in spans_within(instants, windows, "hour")]
    assert hours == ["2024-03-04-10", "2024-03-08-01"]
    assert span_of("2024-03-04-10").length == np.timedelta64(1, "h")


def test_nothing_serves(unbuilt: Live) -> None:
    assert look_for_decay(unbuilt.storage, unbuilt.settings) is None


def test_nothing_measured(live: Live) -> None:
    assert look_for_decay(live.storage, live.settings) is None
    assert read_alert(live.storage) is None


def test_a_champion_that_lost_everything_is_found_and_written(measured: Live) -> None:
    rewrite(measured, "2024-03-04", 0)
    rewrite(measured, "2024-03-05", 0)
    rewrite(measured, "2024-03-06", 5)
    rewrite(measured, "2024-03-07", 5)
    alert = look_for_decay(measured.storage, measured.settings, now=77)
    assert alert is not None
    assert alert.alerted
    # Ends with the latest case, 02:00 on the 7th; a day of it, so from 02:00 on the 6th.
    assert alert.recent.ends_at == int(pd.Timestamp("2024-03-07T02:00:00").value // 1000) + 1
    assert alert.recent.ends_at - alert.recent.starts_at == 86_400_000_000
    ranks = files.read_ranks(measured.storage, checkpoint_of(measured), "2024-03-06")
    late = ranks[(ranks["contender"] == "champion") & (ranks["timestamp"] > pd.Timestamp("2024-03-06T02:00:00"))]
    assert alert.recent.cases == len(late) + 1
    assert alert.ratio == pytest.approx(1 / np.log2(7))
    assert (alert.at, alert.checkpoint, alert.model) == (77, checkpoint_of(measured)[:12], "ihm_sasrec")
    assert read_alert(measured.storage) == alert


def test_the_same_files_are_not_judged_again(measured: Live) -> None:
    first = look_for_decay(measured.storage, measured.settings, now=1)
    assert look_for_decay(measured.storage, measured.settings, now=2) == first
    rewrite(measured, "2024-03-06", 9)
    again = look_for_decay(measured.storage, measured.settings, now=3)
    assert again is not None
    assert again.at == 3


def test_other_settings_are_judged_anew(measured: Live) -> None:
    look_for_decay(measured.storage, measured.settings, now=1)
    strict = ALERT.model_copy(update={"min_cases": 10_000})
    other = measured.settings.model_copy(update={"retraining": RetrainingConfig(alert=strict)})
    alert = look_for_decay(measured.storage, other, now=2)
    assert alert is not None
    assert alert.at == 2
    assert "10000 are needed" in alert.reason


def test_the_former_champions_ranks_do_not_count(measured: Live) -> None:
    assert look_for_decay(measured.storage, measured.settings) is not None
    renew(measured.storage, measured.settings, measured.tables, "decayed_popularity", 0, measured.later())
    assert look_for_decay(measured.storage, measured.settings) is None
    measure_partitions(measured.storage, measured.settings, [])
    alert = look_for_decay(measured.storage, measured.settings)
    assert alert is not None
    assert alert.model == "decayed_popularity"
    table = files.read_table(measured.storage, "quality")
    assert table["checkpoint"].nunique() == 2


def test_an_unreadable_alert_is_judged_again(measured: Live) -> None:
    files.alert_path(measured.storage).parent.mkdir(parents=True, exist_ok=True)
    files.alert_path(measured.storage).write_text("{")
    assert look_for_decay(measured.storage, measured.settings) is not None
