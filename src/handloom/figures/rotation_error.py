"""How far the rotations between cameras are off: estimated with and without viewing rays, synchronised, adapted."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from handloom.figures.style import BLUE, GREY, INK, ORANGE, SETTING_NAMES, SKY, drawn, headset_name
from handloom.runtime.errors import InputError
from handloom.runtime.files import read_json


class Series(NamedTuple):
    """One kind of bars."""

    key: str
    label: str
    colour: str


SERIES = (
    Series("published", "first estimate as published", GREY),
    Series("single", "first estimate, with viewing rays", SKY),
    Series("s2dhand", "... after adaptation", BLUE),
    Series("synchronised", "first estimate, synchronised", "#F3CF80"),
    Series("s2dhand_sync", "... after adaptation", ORANGE),
)
STARTS, ADAPTED = ("published", "single", "synchronised"), ("s2dhand", "s2dhand_sync")


def draw_rotation_errors(rotations: Sequence[Path], scores: Sequence[Path], output: Path) -> None:
    """Stage: bars of the rotation error of every pair, one panel per setting and headset, against the calibration.

    `rotations` are the `rotations.json` and `scores` the `scores.csv` of the same settings and headsets, in the same
    order. Whiskers span the seeds. Raises InputError when a file lacks what is drawn.
    """
    panels = [rotation_error_table(*paths) for paths in zip(rotations, scores, strict=True)]
    settings = [name for name in SETTING_NAMES if any(panel["setting"].iloc[0] == name for panel in panels)]
    headsets = sorted({str(panel["headset"].iloc[0]) for panel in panels})
    with drawn(output, 4.6 * len(headsets) + 0.6, 2.5 * len(settings) + 0.8) as figure:
        grid = figure.subplots(len(settings), len(headsets), squeeze=False, sharey="row")
        for panel in panels:
            setting, headset = str(panel["setting"].iloc[0]), str(panel["headset"].iloc[0])
            axes = grid[settings.index(setting), headsets.index(headset)]
            _draw_bars(axes, panel)
            axes.set_title(f"{SETTING_NAMES[setting]}, {headset_name(headset)}")
        for axes in grid[:, 0]:
            axes.set_ylabel("rotation error, degrees")
        handles = [Patch(color=series.colour, label=series.label) for series in SERIES]
        figure.legend(handles=handles, loc="lower center", ncols=len(SERIES))
        figure.suptitle("Rotation between the cameras of a pair, against calibration", x=0.01, ha="left",
                        fontsize=11, fontweight="bold")  # fmt: skip
        figure.tight_layout(rect=(0, 0.32 / (2.5 * len(settings) + 0.8), 1, 1), w_pad=1.5)


def rotation_error_table(rotations: Path, scores: Path) -> pd.DataFrame:
    """Columns setting, headset, pair, kind, mean, low and high (degrees); `overall` is the mean over the pairs."""
    try:
        diagnostics = read_json(rotations)["diagnostics"]
        table = pd.read_csv(scores)
        first = [
            (pair, kind, float(values[f"{kind}_error_deg"]), 0)
            for pair, values in diagnostics.items()
            for kind in STARTS
        ]
        adapted = table[table["variant"].isin(ADAPTED)][["pair", "variant", "rotation_error_deg", "seed"]]
        setting, headset = table["setting"].iloc[0], table["headset"].iloc[0]
    except (KeyError, TypeError, FileNotFoundError, IndexError, pd.errors.EmptyDataError) as error:
        raise InputError(
            f"{rotations} and {scores}: lack what the figure of rotation errors needs ({error!r}); expected "
            f"diagnostics with {', '.join(f'{kind}_error_deg' for kind in STARTS)}, scores with rotation_error_deg; "
            "make both again"
        ) from error
    names = ["pair", "kind", "degrees", "seed"]
    rows = pd.concat([pd.DataFrame(first, columns=names), adapted.set_axis(names, axis=1)], ignore_index=True)
    rows = rows[rows["pair"].isin(table["pair"])]
    mean_of_pairs = rows.groupby(["kind", "seed"], as_index=False)["degrees"].mean().assign(pair="overall")
    grouped = pd.concat([rows, mean_of_pairs]).groupby(["pair", "kind"])["degrees"]
    spread = pd.DataFrame({"mean": grouped.mean(), "low": grouped.min(), "high": grouped.max()}).reset_index()
    return spread.assign(setting=setting, headset=headset)


def _draw_bars(axes: Axes, panel: pd.DataFrame) -> None:
    pairs = [*sorted(set(panel["pair"]) - {"overall"}), "overall"]
    width = 0.8 / len(SERIES)
    for number, series in enumerate(SERIES):
        rows = panel[panel["kind"] == series.key].set_index("pair").reindex(pairs)
        place = np.arange(len(pairs)) + (number - (len(SERIES) - 1) / 2) * width
        axes.bar(place, rows["mean"], width=width * 0.92, color=series.colour)
        if (rows["high"] > rows["low"]).any():
            whiskers = np.array([rows["mean"] - rows["low"], rows["high"] - rows["mean"]])
            axes.errorbar(place, rows["mean"], yerr=whiskers, fmt="none", ecolor=INK, elinewidth=0.8, capsize=1.5)
    axes.set_xticks(np.arange(len(pairs)), [name.replace("-", ",") for name in pairs])
    axes.axvline(len(pairs) - 1.5, color=INK, lw=0.6, ls=":")
    axes.grid(visible=False, axis="x")
    axes.margins(x=0.01)
    axes.tick_params(axis="x", length=0)
