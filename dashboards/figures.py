"""What every figure shares: style, colors, a canvas without a window, and the way to PNG bytes and into a text."""

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # matplotlib is for those who draw: glue that only puts a picture into a text does without
    from matplotlib.figure import Figure

COLORS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, which people with any kind of colour blindness can tell apart."""
MARKERS: Final = "osD^vPX"

STYLE: Final[dict[Any, Any]] = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",  # matplotlib's own, so the picture is the same everywhere
    "font.size": 9,
    "grid.alpha": 0.25,
}
DPI: Final = 110


def look(index: int) -> tuple[str, str]:
    """Color and marker of the ``index``-th model: another pair for each of the first 49."""
    turns, color = divmod(index, len(COLORS))
    return COLORS[color], MARKERS[(color + turns) % len(MARKERS)]


@contextmanager
def drawing(width: float, height: float) -> Iterator["Figure"]:
    """A figure of ``width`` x ``height`` inches, drawn by Agg alone, in our style as long as the block lasts."""
    import matplotlib as mpl  # noqa: PLC0415
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def png_of(figure: "Figure") -> bytes:
    """The figure as a PNG; equal figures give equal bytes. To be called before the block of :func:`drawing` ends."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def inline_png(png: bytes, title: str) -> str:
    """Markdown of a picture that carries its bytes, so that a page shows it without a file."""
    return f"![{title}](data:image/png;base64,{base64.b64encode(png).decode()})"
