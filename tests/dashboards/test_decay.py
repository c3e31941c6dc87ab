"""The decay figure: deterministic bytes that depend on what is drawn."""

import io

import matplotlib.image
import pandas as pd
import pytest
from matplotlib.figure import Figure

from assets.evaluation.slices import metrics_frame
from dashboards.decay import decay_png
from dashboards.figures import COLORS, MARKERS, look
from tests.assets.evaluation.toy import random_ranks

METRICS = metrics_frame(pd.concat([random_ranks("a"), random_ranks("b", shift=4)]), (10,), 20, 0)
SHOWN = [("hr", 10), ("ndcg", 10)]


def png(metrics: pd.DataFrame = METRICS, floors: tuple[str, ...] = ("b",), min_cases: int = 1, **options: str) -> bytes:
    return decay_png(metrics, ["a", "b"], floors, SHOWN, min_cases, options.get("title", "toy"))


@pytest.fixture(scope="module")
def base() -> bytes:
    return png()


def test_equal_input_gives_equal_bytes_of_a_picture(base: bytes):
    assert base == png(METRICS[METRICS["window"] != "all"])  # the interval over all windows is not drawn
    height, width = matplotlib.image.imread(io.BytesIO(base)).shape[:2]
    assert (height, width) == (781, 1430)


def test_values_floors_and_few_cases_show(base: bytes):
    moved = METRICS.assign(value=METRICS["value"] * 0.9)
    assert len({base, png(moved), png(floors=()), png(min_cases=10_000), png(title="another")}) == 5


def test_a_slice_without_cases_and_a_model_without_metrics_are_no_error():
    without_cold = METRICS[METRICS["slice"] != "cold"]
    assert decay_png(without_cold, ["a", "missing"], (), SHOWN, 1, "toy").startswith(b"\x89PNG")


def words(figure: Figure) -> list[str]:
    """Texts inside the panels, each once."""
    return list(dict.fromkeys(text.get_text() for panel in figure.axes for text in panel.texts))


def test_a_panel_says_why_a_ratio_is_missing(monkeypatch: pytest.MonkeyPatch):
    figures: list[Figure] = []
    monkeypatch.setattr("matplotlib.figure.Figure", lambda **options: figures.append(Figure(**options)) or figures[-1])
    base = METRICS[METRICS["slice"] != "cold"]
    tail = base["slice"] == "tail"
    decay_png(base[~(tail & (base["model"] == "a"))], ["a", "b"], (), SHOWN, 1, "toy", ratios_of=base)
    assert words(figures[-1]) == ["no ratio, 0 in the first window:\na", "no cases"]
    decay_png(base[~tail], ["b", "a"], (), SHOWN, 1, "toy", ratios_of=base)
    assert words(figures[-1]) == ["no ratio, 0 in the first window:\nb\na", "no cases"]
    decay_png(base[~tail], ["b", "a"], (), SHOWN, 1, "toy")
    assert words(figures[-1]) == ["no cases"]


def test_where_nobody_hits_in_the_first_window_the_panels_of_ratios_say_so(monkeypatch: pytest.MonkeyPatch):
    """As under held_out_items, whose items most models know nothing of."""
    figures: list[Figure] = []
    monkeypatch.setattr("matplotlib.figure.Figure", lambda **options: figures.append(Figure(**options)) or figures[-1])
    decay_png(METRICS.head(0), ["a", "b"], (), SHOWN, 1, "toy", ratios_of=METRICS)
    assert words(figures[-1]) == ["no ratio, 0 in the first window:\na\nb"]


@pytest.mark.parametrize(("windows", "ticks"), [(4, [0, 1, 2, 3]), (91, [0, 10, 20, 30, 40, 50, 60, 70, 80, 90])])
def test_many_windows_have_few_ticks(monkeypatch: pytest.MonkeyPatch, windows: int, ticks: list[int]):
    figures: list[Figure] = []
    monkeypatch.setattr("matplotlib.figure.Figure", lambda **options: figures.append(Figure(**options)) or figures[-1])
    one = METRICS[METRICS["window"] == "0"]
    decay_png(pd.concat([one.assign(window=str(place)) for place in range(windows)]), ["a"], (), SHOWN, 1, "toy")
    assert figures[-1].axes[-1].get_xticks().tolist() == ticks


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match="no metric of any window"):
        decay_png(METRICS, ["missing"], (), SHOWN, 1, "toy")


def test_models_are_told_apart_by_more_than_color():
    assert len(set(COLORS)) == len(COLORS) == len(MARKERS) == len(set(MARKERS))
    assert len({look(index) for index in range(len(COLORS) ** 2)}) == len(COLORS) ** 2
    assert len({look(index)[1] for index in range(len(COLORS))}) == len(COLORS)
