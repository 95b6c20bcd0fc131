"""Plots of S2DHand: curves over the epochs of adaptation and of pretraining, and errors of the camera rotations."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullFormatter

from handloom.datasets.assembly_hands import headset_name
from handloom.figures.style import BLUE, GREY, INK, ORANGE, SKY, VARIANT_COLOURS, VARIANT_NAMES, drawn, heading
from handloom.runtime.config.sources import SETTING_NAMES
from handloom.runtime.errors import InputError
from handloom.runtime.files import read_json, read_table

_DASHED = (0, (4, 2))
# Sizes are in inches: of a row of panels, and of what lies above and below all of them.


@dataclass(frozen=True)
class Panel:
    """One quantity of the adaptation histories; a second column is drawn dashed, a third one, where it is, dotted."""

    title: str
    unit: str
    column: str
    dashed: str | None = None
    dotted: str | None = None
    since_start: bool = False  # drawn as the change since epoch 0
    of_labels: bool = True  # and so not there without


PANELS = (
    Panel("Mono-M, change", "mm", "student_mono_mm", "teacher_mono_mm", since_start=True),
    Panel("Dual-M, change", "mm", "student_dual_mm", "teacher_dual_mm", since_start=True),
    Panel("pseudo-label error", "mm", "label_error_mm"),
    Panel("rotation error", "degrees", "rotation_error_deg", "teacher_rotation_error_deg",
          dotted="teacher_published_rotation_error_deg"),
    Panel("student-teacher distance", "relative", "student_teacher_distance", of_labels=False),
)  # fmt: skip


def draw_adaptation_curves(histories: Sequence[Path], picture: Path) -> None:
    """Stage: the histories `.../{setting}/{headset}/{pair}/{variant}/seed{seed}.history.csv` as mean curves.

    One row of panels per setting; lines are means over headsets, pairs and seeds, bands one standard deviation between
    pairs. Without labels, panels that need them say so. Raises InputError for a file without the columns.
    """
    table = pd.concat([read_history(path) for path in histories], ignore_index=True)
    settings = [name for name in SETTING_NAMES if name in set(table["setting"])]
    with drawn(picture, 13.0, 2.55 * len(settings) + 0.75) as figure:
        grid = figure.subplots(len(settings), len(PANELS), squeeze=False)
        for axes_row, setting in zip(grid, settings, strict=True):
            of_setting = table[table["setting"] == setting]
            for axes, panel in zip(axes_row, PANELS, strict=True):
                draw_panel(axes, of_setting, panel)
            runs = len(of_setting.groupby(["headset", "pair", "seed"]))
            axes_row[0].set_ylabel(f"{SETTING_NAMES[setting]}\n{runs} runs a variant\n\n{PANELS[0].unit}")
        handles = [
            *(Line2D([], [], color=VARIANT_COLOURS[name], label=VARIANT_NAMES[name]) for name in _variants(table)),
            Line2D([], [], color=INK, label="student, or rotation in use"),
            Line2D([], [], color=INK, ls=_DASHED, label="teacher, or the teacher's own rotation"),
        ]
        if any(panel.dotted in table for panel in PANELS):
            handles.append(Line2D([], [], color=INK, ls=":", label="... without viewing rays, as published"))
        heading(figure, "S2DHand adaptation: means over headsets, pairs and seeds; bands: deviation between pairs")
        _legend_below(figure, handles, room_in=0.35, w_pad=1.2)


def read_history(path: Path) -> pd.DataFrame:
    """One adaptation's history with the columns setting, headset, pair, variant and seed from its path added."""
    name = re.fullmatch(r"seed(\d+)\.history\.csv", path.name)
    if len(path.parts) < 5 or name is None:
        raise InputError(
            f"{path}: is not '{{setting}}/{{headset}}/{{pair}}/{{variant}}/seed{{seed}}.history.csv', so its "
            "curves cannot be named; give the files that adaptation writes"
        )
    table = read_table(path, {"epoch", *(panel.column for panel in PANELS if not panel.of_labels)})
    setting, headset, pair, variant = path.parts[-5:-1]
    return table.assign(setting=setting, headset=headset, pair=pair, variant=variant, seed=int(name[1]))


def mean_curve(table: pd.DataFrame, column: str, *, since_start: bool) -> pd.DataFrame:
    """Mean and deviation of a column at every epoch: seeds are averaged first, then (headset, pair) are compared."""
    by_pair = table.groupby(["headset", "pair", "epoch"])[column].mean().unstack("epoch")
    if since_start:
        by_pair = by_pair.sub(by_pair[by_pair.columns.min()], axis=0)
    return pd.DataFrame({"mean": by_pair.mean(), "deviation": by_pair.std(ddof=0)}).dropna()


def draw_panel(axes: Axes, table: pd.DataFrame, panel: Panel) -> None:
    """The mean curves of a quantity, of every variant in the histories of a setting."""
    for variant in _variants(table):
        rows, colour = table[table["variant"] == variant], VARIANT_COLOURS[variant]
        for column, style in ((panel.column, "-"), (panel.dashed, _DASHED), (panel.dotted, ":")):
            if column is None or column not in rows:
                continue
            curve = mean_curve(rows, column, since_start=panel.since_start)
            axes.plot(curve.index, curve["mean"], color=colour, ls=style)
            if style == "-":
                low, high = curve["mean"] - curve["deviation"], curve["mean"] + curve["deviation"]
                axes.fill_between(curve.index.to_numpy(), low, high, color=colour, alpha=0.16, lw=0)
    if not axes.get_lines():
        axes.text(0.5, 0.5, "no labels", transform=axes.transAxes, ha="center", va="center", color=GREY)
    if panel.since_start:
        axes.axhline(0, color=INK, lw=0.8)
    axes.set_title(panel.title)
    axes.set_ylabel(panel.unit)
    _along_epochs(axes)
    axes.margins(x=0.02)


def _variants(table: pd.DataFrame) -> list[str]:
    return [name for name in VARIANT_COLOURS if name in set(table["variant"])]


_LOSSES = ("total", "heat", "delta", "location")
_KINDS = (("train", "training", BLUE), ("held_out", "held out", ORANGE))


def draw_pretraining_curves(histories: Sequence[Path], picture: Path) -> None:
    """Stage: losses and held-out error of the source networks over epochs; the histories are `.../{setting}/*.csv`.

    One row per setting; losses are drawn from the first epoch on a logarithmic axis. Raises InputError for a file
    without the columns.
    """
    wanted = {"epoch", "held_out_error_mm", *(f"{kind}_{name}" for kind, _, _ in _KINDS for name in _LOSSES)}
    tables = {path.parent.name: read_table(path, wanted) for path in histories}
    with drawn(picture, 13.0, 2.4 * len(tables) + 0.7) as figure:
        grid = figure.subplots(len(tables), len(_LOSSES) + 1, squeeze=False)
        for axes_row, (setting, table) in zip(grid, tables.items(), strict=True):
            for axes, name in zip(axes_row, _LOSSES, strict=False):
                for kind, label, colour in _KINDS:
                    loss = table[f"{kind}_{name}"]
                    axes.plot(table["epoch"], loss.where(loss > 0), color=colour, label=label)
                axes.set_yscale("log")
                axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axes.yaxis.set_major_formatter("{x:g}")
                axes.yaxis.set_minor_formatter(NullFormatter())
                axes.set_title(f"{name} loss")
            error = axes_row[-1]
            error.plot(table["epoch"], table["held_out_error_mm"], color=ORANGE)
            best = table["held_out_error_mm"].min()
            error.set_title(f"held-out error, mm (best {best:.1f})" if np.isfinite(best) else "nothing held out")
            error.set_ylim(bottom=0)
            axes_row[0].set_ylabel(SETTING_NAMES.get(setting, setting))
            for axes in axes_row:
                _along_epochs(axes)
        heading(figure, "Pretraining of the source networks")
        _legend_below(figure, grid[0, 0].get_legend_handles_labels()[0], room_in=0.3, w_pad=1.2)


def _along_epochs(axes: Axes) -> None:
    axes.set_xlabel("epoch")
    axes.locator_params(axis="x", integer=True, nbins=6)


_BARS = {
    "published": ("first estimate as published", GREY),
    "single": ("first estimate, with viewing rays", SKY),
    "s2dhand": ("... after adaptation", BLUE),
    "s2dhand_plus": ("S2DHand+", ORANGE),
}
"""Kinds of bars, in order, with label and colour."""
_STARTS, _ADAPTED = ("published", "single"), ("s2dhand", "s2dhand_plus")


def draw_rotation_errors(rotations: Sequence[Path], scores: Sequence[Path], picture: Path) -> None:
    """Stage: bars of the rotation error of every pair, one panel per setting and headset, against the calibration.

    `rotations` are the `rotations.json` and `scores` the `scores.csv` of the same settings and headsets, in the same
    order. Whiskers span the seeds. Raises InputError when a file lacks what is drawn.
    """
    panels = [rotation_error_table(*paths) for paths in zip(rotations, scores, strict=True)]
    settings = [name for name in SETTING_NAMES if any(panel["setting"].iloc[0] == name for panel in panels)]
    headsets = sorted({str(panel["headset"].iloc[0]) for panel in panels})
    with drawn(picture, 4.6 * len(headsets) + 0.6, 2.5 * len(settings) + 0.8) as figure:
        grid = figure.subplots(len(settings), len(headsets), squeeze=False, sharey="row")
        for panel in panels:
            setting, headset = str(panel["setting"].iloc[0]), str(panel["headset"].iloc[0])
            axes = grid[settings.index(setting), headsets.index(headset)]
            _draw_bars(axes, panel)
            axes.set_title(f"{SETTING_NAMES[setting]}, {headset_name(headset)}")
        for axes in grid[:, 0]:
            axes.set_ylabel("rotation error, degrees")
        heading(figure, "Rotation between the cameras of a pair, against calibration")
        handles = [Patch(color=colour, label=label) for label, colour in _BARS.values()]
        _legend_below(figure, handles, room_in=0.32, w_pad=1.5)


def rotation_error_table(rotations: Path, scores: Path) -> pd.DataFrame:
    """Columns setting, headset, pair, kind, mean, low and high (degrees); `overall` is the mean over the pairs."""
    try:
        diagnostics = read_json(rotations)["diagnostics"]
        table = pd.read_csv(scores)
        first = [
            (pair, kind, float(values[f"{kind}_error_deg"]), 0)
            for pair, values in diagnostics.items()
            for kind in _STARTS
        ]
        adapted = table[table["variant"].isin(_ADAPTED)][["pair", "variant", "rotation_error_deg", "seed"]]
        setting, headset = table["setting"].iloc[0], table["headset"].iloc[0]
    except (KeyError, TypeError, FileNotFoundError, IndexError, pd.errors.EmptyDataError) as error:
        raise InputError(
            f"{rotations} and {scores}: lack what the figure of rotation errors needs ({error!r}); expected "
            f"diagnostics with {', '.join(f'{kind}_error_deg' for kind in _STARTS)}, scores with rotation_error_deg; "
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
    width = 0.8 / len(_BARS)
    for number, (kind, (_, colour)) in enumerate(_BARS.items()):
        rows = panel[panel["kind"] == kind].set_index("pair").reindex(pairs)
        place = np.arange(len(pairs)) + (number - (len(_BARS) - 1) / 2) * width
        axes.bar(place, rows["mean"], width=width * 0.92, color=colour)
        if (rows["high"] > rows["low"]).any():
            whiskers = np.array([rows["mean"] - rows["low"], rows["high"] - rows["mean"]])
            axes.errorbar(place, rows["mean"], yerr=whiskers, fmt="none", ecolor=INK, elinewidth=0.8, capsize=1.5)
    axes.set_xticks(np.arange(len(pairs)), [name.replace("-", ",") for name in pairs])
    axes.axvline(len(pairs) - 1.5, color=INK, lw=0.6, ls=":")
    axes.grid(visible=False, axis="x")
    axes.margins(x=0.01)
    axes.tick_params(axis="x", length=0)


def _legend_below(figure: Figure, handles: Sequence[Artist], *, room_in: float, w_pad: float) -> None:
    figure.legend(handles=handles, loc="lower center", ncols=len(handles))
    figure.tight_layout(rect=(0, room_in / figure.get_figheight(), 1, 1), w_pad=w_pad)


_ANALYSED = {
    ("source_rays", "mono_mm"): ("source network", GREY),
    ("source_turned", "mono_mm"): ("... with viewing rays", "#B5B5B5"),
    ("s2dhand", "mono_mm"): ("S2DHand", BLUE),
    ("s2dhand_plus", "mono_mm"): ("S2DHand+", ORANGE),
    ("drawn", "mono_mm"): ("mean answer to draws", "#CFE8F5"),
    ("drawn", "merged_mm"): ("... both views merged", SKY),
    ("drawn", "merged_true_mm"): ("... by the true rotation", "#2E8FBF"),
    ("drawn", "best_view_mm"): ("... the better view (oracle)", "#F3CF80"),
    ("drawn", "oriented_mm"): ("... orientation repaired (oracle)", "#CC79A7"),
}
"""Bars, in order: a network, its column, label and colour."""


def draw_view_analysis(analyses: Sequence[Path], picture: Path) -> None:
    """Stage: bars of Mono-M that the networks have, and that their views' poses would have if more were known.

    One group per setting and headset, means over the pairs; below, how alike the two views' errors are. Bars of what a
    configuration leaves out are not there. Raises InputError for a file without the columns.
    """
    columns = ("setting", "headset", "pair", "variant", "mono_mm", "correlation")
    table = pd.concat([read_table(path, columns) for path in analyses], ignore_index=True)
    means = table.drop(columns="pair").groupby(["setting", "headset", "variant"], sort=False).mean()
    groups = list(dict.fromkeys(zip(table["setting"], table["headset"], strict=True)))
    shown = {key: look for key, look in _ANALYSED.items() if key[0] in set(table["variant"])}
    with drawn(picture, 2.6 * len(groups) + 1.2, 3.6) as figure:
        axes = figure.subplots()
        for number, ((variant, column), (_, colour)) in enumerate(shown.items()):
            heights = [means[column].get((*group, variant), np.nan) for group in groups]
            places = np.arange(len(groups)) + (number - (len(shown) - 1) / 2) * 0.85 / len(shown)
            axes.bar(places, heights, width=0.8 / len(shown), color=colour)
            for place, height in zip(places, heights, strict=True):
                if np.isfinite(height):
                    axes.text(place, height + 0.3, f"{height:.1f}", ha="center", fontsize=6)
        alike = [means["correlation"].get((*group, "source_turned"), np.nan) for group in groups]
        names = [
            f"{SETTING_NAMES[setting]}, {headset_name(headset)}\nviews' errors alike: {value:.2f}"
            for (setting, headset), value in zip(groups, alike, strict=True)
        ]
        axes.set_xticks(np.arange(len(groups)), names)
        axes.set_ylabel("Mono-M, mm")
        axes.grid(visible=False, axis="x")
        heading(figure, "What the views' poses have, and what they could have")
        handles = [Patch(color=colour, label=label) for label, colour in shown.values()]
        figure.legend(handles=handles, loc="lower center", ncols=5)
        figure.tight_layout(rect=(0, 0.14, 1, 1))
