"""How all figures look: colours that colour-blind readers can tell apart, font sizes, heading, and how one is saved."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from handloom.hand.joints import FINGERS
from handloom.runtime.files import atomic_path

Rgb = tuple[int, int, int]

# The palette of M. Okabe and K. Ito, "Color Universal Design" (2008).
ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    *("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"),
)
GREY, INK, FAINT = "#8A8A8A", "#222222", "#D9D9D9"

FINGER_COLOURS = dict(zip(FINGERS, (VERMILION, ORANGE, GREEN, SKY, PURPLE), strict=True))
VARIANT_COLOURS = {"source": GREY, "s2dhand": BLUE, "s2dhand_plus": ORANGE}
VARIANT_NAMES = {"source": "baseline", "s2dhand": "S2DHand", "s2dhand_plus": "S2DHand+"}
DOTS_PER_INCH = 160  # small print can be read on a screen

_SETTINGS: dict[Any, Any] = {
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.labelsize": 8.5,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.linewidth": 0.8,
    "lines.linewidth": 1.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "figure.facecolor": "white",
}


@contextmanager
def drawn(path: Path, width_in: float, height_in: float) -> Iterator[Figure]:
    """A figure of the given size in inches that is written to `path` whole, or not at all if the block fails.

    The file holds no date and no version, so equal figures are equal files.
    """
    with rc_context(_SETTINGS):
        figure = Figure(figsize=(width_in, height_in))
        yield figure
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=DOTS_PER_INCH, metadata={"Software": None})


def heading(figure: Figure, text: str, **place: Any) -> None:
    """A figure's title, at its left."""
    figure.suptitle(text, x=0.01, ha="left", fontsize=11, fontweight="bold", **place)


def rgb_of(name: str) -> Rgb:
    """A colour's name or #RRGGBB as bytes."""
    red, green, blue = (round(255 * value) for value in to_rgb(name))
    return red, green, blue


def hide_frame(axes: Axes) -> None:
    """Leave nothing of the axes but what is drawn in them."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
