"""The page of the whole graph's cost: stations from steps, verdicts from bars, and a run at a tiny size."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks import scale
from benchmarks.scale import Step, measure
from benchmarks.scale_page import by_station, per_million, section, station_of, verdicts, write_page


def measured(engagements: int, wall: float, peak: float = 2.0, **seconds: float) -> dict[str, Any]:
    steps = [{"name": name, "seconds": held, "peak_gib": peak} for name, held in seconds.items()]
    return {
        "engagements": engagements,
        "users": engagements // 10,
        "items": engagements // 50,
        "machine": "2 cores, load 0.0",
        "wall": wall,
        "peak_gib": peak,
        "steps": steps,
    }


def test_every_step_belongs_to_one_station() -> None:
    assert station_of("ingest") == "ingestion (made and read)"
    assert station_of("ingestion__users_raw_users") == "quality checks"
    assert station_of("transforms__tables") == "export of tables"
    assert station_of("transforms__tables_leakage") == "quality checks"
    assert station_of("evaluation__sasrec_ranks") == "ranking of cases"
    assert station_of("evaluation__sasrec_ranks_sees_no_future") == "no rank sees its future"
    assert station_of("evaluation__metrics_metrics_are_sound") == "metrics, comparisons, leaderboard"
    assert station_of("monitoring__dashboard") == station_of("quality__data_docs") == "pages"
    with pytest.raises(KeyError, match="step elsewhere belongs to no station"):
        station_of("elsewhere")


def test_steps_of_a_station_add_up_and_share_their_highest_memory() -> None:
    one = measured(1000, 60.0, ingest=1.0, training__sasrec=20.0, training__two_tower=5.5)
    one["steps"][1]["peak_gib"] = 7.0
    assert by_station(one) == {"ingestion (made and read)": (1.0, 2.0), "training": (25.5, 7.0)}


def test_verdicts_say_what_was_missed() -> None:
    small, large = measured(1_000_000, 300.0, ingest=1.0), measured(10_000_000, 2_600.0, 11.0, ingest=9.0)
    assert per_million(large) == 260.0
    first, second = verdicts({"1": small, "2": large})
    assert "43.3 minutes" in first
    assert first.endswith(": met.")
    assert "at most 0.87 times" in second
    late = verdicts({"1": small, "2": measured(10_000_000, 7_000.0, 11.0, ingest=9.0)})
    assert late[0].endswith(": **missed**.")
    assert "at most 2.33 times" in late[1]
    assert late[1].endswith(": **missed**.")


def test_memory_alone_misses_the_bar() -> None:
    assert verdicts({"1": measured(10_000_000, 600.0, 12.5, ingest=1.0)})[0].endswith(": **missed**.")


def test_the_section_is_replaced_and_the_rest_of_the_page_kept(tmp_path: Path) -> None:
    page, image = tmp_path / "page.md", tmp_path / "scale.png"
    page.write_text("# Above\n\n<!-- begin scale -->\nold figures\n<!-- end scale -->\n\nbelow\n")
    record = {"1000": measured(1000, 60.0, ingest=1.0), "2000": measured(2000, 90.0, ingest=2.0, training__sasrec=3.0)}
    write_page(record, page, image)
    text = page.read_text()
    assert text == f"# Above\n\n<!-- begin scale -->\n\n{section(record)}\n\n<!-- end scale -->\n\nbelow\n"
    assert "old figures" not in text
    assert "| training/sasrec" in text
    assert image.read_bytes().startswith(b"\x89PNG")
    page.write_text("no marks")
    with pytest.raises(ValueError, match=r"page\.md: needs the marks"):
        write_page(record, page, image)


def test_a_run_is_measured_step_by_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "MAX_CASES", 500)
    found = measure(5_000, tmp_path, ("popularity", "decayed_popularity"))
    assert found.steps[0].name == "ingest"
    assert {"training__popularity", "evaluation__popularity_ranks"} <= {step.name for step in found.steps}
    assert all(station_of(step.name) for step in found.steps)
    assert all(isinstance(step, Step) and step.seconds > 0 and step.peak_gib > 0.05 for step in found.steps)
    assert found.peak_gib >= max(step.peak_gib for step in found.steps)
    assert sum(step.seconds for step in found.steps) < found.wall


def test_a_failed_run_says_what_it_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "MAX_CASES", 0)
    with pytest.raises(RuntimeError, match=r"max_cases"):
        measure(5_000, tmp_path)
