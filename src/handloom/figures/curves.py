"""Curves over epochs: what adaptation does to its networks, labels and rotation, and how pretraining went."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from handloom.figures.style import BLUE, INK, ORANGE, SETTING_NAMES, VARIANT_COLOURS, VARIANT_NAMES, drawn
from handloom.runtime.errors import InputError
from handloom.runtime.files import read_table


@dataclass(frozen=True)
class Panel:
    """One quantity of the adaptation histories; a second column is drawn dashed, a third one, where it is, dotted."""

    title: str
    unit: str
    column: str
    dashed: str | None = None
    dotted: str | None = None
    since_start: bool = False  # drawn as the change since epoch 0
    meaning: tuple[str, str] = ("student", "teacher")


PANELS = (
    Panel("Mono-M, change", "mm", "student_mono_mm", "teacher_mono_mm", since_start=True),
    Panel("Dual-M, change", "mm", "student_dual_mm", "teacher_dual_mm", since_start=True),
    Panel("pseudo-label error", "mm", "label_error_mm"),
    Panel("rotation error", "degrees", "rotation_error_deg", "teacher_rotation_error_deg",
          dotted="teacher_published_rotation_error_deg", meaning=("rotation in use", "teacher's own")),
    Panel("student-teacher distance", "relative", "student_teacher_distance"),
)  # fmt: skip


def draw_adaptation_curves(histories: Sequence[Path], output: Path) -> None:
    """Stage: the histories `.../{setting}/{headset}/{pair}/{variant}/seed{seed}.history.csv` as mean curves.

    One row of panels per setting; lines are means over headsets, pairs and seeds, bands one standard deviation between
    pairs. Raises InputError for a file without the columns.
    """
    table = pd.concat([read_history(path) for path in histories], ignore_index=True)
    settings = [name for name in SETTING_NAMES if name in set(table["setting"])]
    with drawn(output, 13.0, 2.55 * len(settings) + 0.75) as figure:
        grid = figure.subplots(len(settings), len(PANELS), squeeze=False)
        for axes_row, setting in zip(grid, settings, strict=True):
            of_setting = table[table["setting"] == setting]
            for axes, panel in zip(axes_row, PANELS, strict=True):
                _draw_panel(axes, of_setting, panel)
            runs = len(of_setting.groupby(["headset", "pair", "seed"]))
            axes_row[0].set_ylabel(f"{SETTING_NAMES[setting]}\n{runs} runs a variant\n\n{PANELS[0].unit}")
        handles = [
            Line2D([], [], color=VARIANT_COLOURS[name], label=VARIANT_NAMES[name])
            for name in VARIANT_COLOURS
            if name in set(table["variant"])
        ]
        handles += [
            Line2D([], [], color=INK, label="student, or rotation in use"),
            Line2D([], [], color=INK, ls=(0, (4, 2)), label="teacher, or the teacher's own rotation"),
        ]
        if any(panel.dotted in table for panel in PANELS):
            handles.append(Line2D([], [], color=INK, ls=":", label="... without viewing rays, as published"))
        figure.legend(handles=handles, loc="lower center", ncols=len(handles))
        figure.suptitle("S2DHand adaptation: means over headsets, pairs and seeds; bands: deviation between pairs",
                        x=0.01, ha="left", fontsize=11, fontweight="bold")  # fmt: skip
        figure.tight_layout(rect=(0, 0.35 / (2.55 * len(settings) + 0.75), 1, 1), w_pad=1.2)


def read_history(path: Path) -> pd.DataFrame:
    """One adaptation's history with the columns setting, headset, pair, variant and seed from its path added."""
    parts = path.parts[-5:]
    name = path.name.removesuffix(".history.csv")
    if len(parts) < 5 or not name.startswith("seed") or not name.removeprefix("seed").isdigit():
        raise InputError(
            f"{path}: is not '{{setting}}/{{headset}}/{{pair}}/{{variant}}/seed{{seed}}.history.csv', so its "
            "curves cannot be named; give the files that adaptation writes"
        )
    table = read_table(path, {"epoch", *(panel.column for panel in PANELS)})
    setting, headset, pair, variant = parts[:4]
    return table.assign(
        setting=setting, headset=headset, pair=pair, variant=variant, seed=int(name.removeprefix("seed"))
    )


def mean_curve(table: pd.DataFrame, column: str, *, since_start: bool) -> pd.DataFrame:
    """Mean and deviation of a column at every epoch: seeds are averaged first, then (headset, pair) are compared."""
    by_pair = table.groupby(["headset", "pair", "epoch"])[column].mean().unstack("epoch")
    if since_start:
        by_pair = by_pair.sub(by_pair[by_pair.columns.min()], axis=0)
    return pd.DataFrame({"mean": by_pair.mean(), "deviation": by_pair.std(ddof=0)}).dropna()


def _draw_panel(axes: Axes, table: pd.DataFrame, panel: Panel) -> None:
    for variant in [name for name in VARIANT_COLOURS if name in set(table["variant"])]:
        rows, colour = table[table["variant"] == variant], VARIANT_COLOURS[variant]
        for column, style in ((panel.column, "-"), (panel.dashed, (0, (4, 2))), (panel.dotted, ":")):
            if column is None or column not in rows:
                continue
            curve = mean_curve(rows, column, since_start=panel.since_start)
            axes.plot(curve.index, curve["mean"], color=colour, ls=style)
            if style == "-":
                low, high = curve["mean"] - curve["deviation"], curve["mean"] + curve["deviation"]
                axes.fill_between(curve.index.to_numpy(), low, high, color=colour, alpha=0.16, lw=0)
    if panel.since_start:
        axes.axhline(0, color=INK, lw=0.8)
    axes.set_title(panel.title)
    axes.set_ylabel(panel.unit)
    axes.set_xlabel("epoch")
    axes.locator_params(axis="x", integer=True, nbins=6)
    axes.margins(x=0.02)


_LOSSES: Mapping[str, Callable[[str], str]] = {
    "training": lambda name: f"train_{name}",
    "held out": lambda name: f"held_out_{name}",
}


def draw_pretraining_curves(histories: Mapping[str, Path], output: Path) -> None:
    """Stage: losses and held-out error of the source networks over epochs, one row per setting.

    Losses are drawn from the first epoch on a logarithmic axis. Raises InputError for a file without the columns.
    """
    names = ("total", "heat", "delta", "location")
    wanted = {"epoch", "learning_rate", "held_out_error_mm", *(of(name) for of in _LOSSES.values() for name in names)}
    tables = {setting: read_table(path, wanted) for setting, path in histories.items()}
    with drawn(output, 13.0, 2.4 * len(tables) + 0.7) as figure:
        grid = figure.subplots(len(tables), len(names) + 1, squeeze=False)
        for axes_row, (setting, table) in zip(grid, tables.items(), strict=True):
            for axes, name in zip(axes_row, names, strict=False):
                for (label, of), colour in zip(_LOSSES.items(), (BLUE, ORANGE), strict=True):
                    positive = table[of(name)].where(table[of(name)] > 0)
                    axes.plot(table["epoch"], positive, color=colour, label=label)
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
                axes.set_xlabel("epoch")
                axes.locator_params(axis="x", integer=True, nbins=6)
        figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="lower center", ncols=2)
        figure.suptitle("Pretraining of the source networks", x=0.01, ha="left", fontsize=11, fontweight="bold")
        figure.tight_layout(rect=(0, 0.3 / (2.4 * len(tables) + 0.7), 1, 1), w_pad=1.2)
