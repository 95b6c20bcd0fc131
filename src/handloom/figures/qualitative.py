"""Pairs of views with the skeletons of the source network, of S2DHand and of the ground truth: good cases and bad."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.lines import Line2D

from handloom.datasets.views import ViewSamples, load_views
from handloom.evaluation.pair_predictions import (
    PairPredictions,
    align,
    load_pair_predictions,
    pair_truth,
    source_pair_predictions,
    views_of,
)
from handloom.evaluation.pose_metrics import joint_errors
from handloom.evaluation.scores import load_sample_errors
from handloom.figures.skeleton import draw_ghost, draw_skeleton, look_at, placed_in_crop, show_crop
from handloom.figures.style import FINGER_COLOURS, SETTING_NAMES, drawn, headset_name
from handloom.runtime.errors import InputError

TRUTH = "ground truth"
INPUT = "input"
_COLUMN_IN, _GAP = 1.56, 0.08
FEWEST_JOINTS = 15
"""A hand of which less can be seen tells a reader nothing."""

ViewNetwork = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From crops (hands, px, px) and whether each shows a left hand, mirrored, to joints (hands, 21, 3) in camera axes."""


@dataclass(frozen=True)
class HeadsetResults:
    """The files of one headset in one setting that the picture needs."""

    headset: str
    views: Sequence[Path]  # cameras 1 to 4
    source_predictions: Path
    rotations: Path
    predictions: Sequence[Path]  # of S2DHand with one seed, all pairs
    sample_errors: Path

    @classmethod
    def of(cls, headset: str, files: Mapping[str, Sequence[str]]) -> "HeadsetResults":
        """One headset's files among those of all headsets, listed under the names of the fields."""

        def own(name: str) -> list[Path]:
            return [Path(path) for path in files[name] if f"/{headset}/" in path]

        source, rotations, errors = (own(name)[0] for name in ("source_predictions", "rotations", "sample_errors"))
        return cls(headset, own("views"), source, rotations, own("predictions"), errors)


@dataclass(frozen=True)
class Case:
    """One pair of hands to show, and why."""

    reason: str
    pair: str
    row_1: int
    row_2: int


@dataclass(frozen=True)
class CaseViews:
    """What is drawn of a case, view by view."""

    title: str
    images_u8: list[np.ndarray]
    is_left: bool
    keypoints_px: dict[str, list[np.ndarray]]  # by column
    errors_mm: dict[str, list[float]]
    valid: list[np.ndarray]

    @property
    def columns(self) -> tuple[str, ...]:
        """What is shown of each view, from left to right."""
        return (INPUT, *self.errors_mm, TRUTH)


def draw_qualitative(
    results: Sequence[HeadsetResults],
    output: Path,
    *,
    setting: str,
    root_joint: int,
    seed: int,
    others: Mapping[str, ViewNetwork] | None = None,
    note: str = "",
) -> None:
    """Stage: for each headset the worst hand after adaptation, a typical one and the most improved one, in both views.

    Skeletons are placed at the true root joint with the true bone 0-9, as they are scored, and projected into the crop;
    numbers are mean errors over the view's valid joints. `others` are networks of other authors, by their names, each
    with a column of its own; `note` is small print. Raises InputError when no hand shows enough joints.
    """
    cases = [case for result in results for case in _cases_of(result, root_joint, seed, others or {})]
    height, columns = 1.42 * len(cases), len(cases[0].columns)
    with drawn(output, _COLUMN_IN * (2 * columns + _GAP), height + 1.0) as figure:
        _draw_grid(figure, cases, height)
        figure.text(0.01, 1 - 0.31 / (height + 1.0), note, ha="left", va="top", fontsize=7)
        figure.suptitle(
            f"S2DHand, {SETTING_NAMES[setting]}: worst, typical and most improved hand of each headset",
            x=0.01, y=1 - 0.08 / (height + 1.0), ha="left", va="top", fontsize=11, fontweight="bold",
        )  # fmt: skip


def choose_cases(errors: pd.DataFrame, seed: int) -> list[Case]:
    """The worst, the typical and the most improved pair of hands by S2DHand's mean Mono error of both views.

    Typical is nearest to the median in both error and improvement. Only hands with 15 valid joints in both views count,
    or, where the data have none, those with the most.
    """
    key = ["pair", "row_1", "row_2"]
    joints = errors[["valid_1", "valid_2"]].min(axis=1)
    shown = errors[(joints > 0) & (joints >= min(FEWEST_JOINTS, joints.max()))]
    shown = shown.assign(error=(shown["mono_1_mm"] + shown["mono_2_mm"]) / 2)
    before = shown[shown["variant"] == "source"].set_index(key)["error"]
    after = shown[(shown["variant"] == "s2dhand") & (shown["seed"] == seed)].set_index(key)["error"]
    table = pd.DataFrame({"before": before, "after": after}).dropna()
    if table.empty:
        raise InputError(
            f"sample errors hold no hand with valid joints in both views, of the baseline and of S2DHand "
            f"(seed {seed}); score with that seed, or show another"
        )
    gain = table["before"] - table["after"]
    from_median = (table["after"].rank(pct=True) - 0.5).abs() + (gain.rank(pct=True) - 0.5).abs()
    cases: list[Case] = []
    for reason, order in (
        ("worst", table["after"].sort_values(ascending=False)),
        ("typical", from_median.sort_values()),
        ("most improved", gain.sort_values(ascending=False)),
    ):
        taken = {(case.pair, case.row_1, case.row_2) for case in cases}
        # With a handful of samples the same hand may be all three.
        best = next((index for index in order.index if index not in taken), order.index[0])
        cases.append(Case(reason, str(best[0]), int(best[1]), int(best[2])))
    return cases


def _cases_of(result: HeadsetResults, root_joint: int, seed: int, others: Mapping[str, ViewNetwork]) -> list[CaseViews]:
    samples = [load_views(path) for path in result.views]
    adapted = {found.pair: found for found in (load_pair_predictions(path, root_joint) for path in result.predictions)}
    cases = choose_cases(load_sample_errors(result.sample_errors), seed)
    shown = []
    for case in cases:
        if case.pair not in adapted:
            raise InputError(
                f"{result.sample_errors}: names pair {case.pair}, of which no predictions were given, only those of "
                f"{sorted(adapted)}; give all pairs"
            )
        source = source_pair_predictions(result.source_predictions, result.rotations, samples, case.pair, root_joint)
        views = views_of(samples, case.pair)
        networks = {"baseline": source, "S2DHand": adapted[case.pair]}
        networks |= {name: _seen_alone(network, case, views, source) for name, network in others.items()}
        shown.append(_case_views(case, result.headset, networks, views, root_joint))
    return shown


def _seen_alone(
    network: ViewNetwork, case: Case, views: tuple[ViewSamples, ViewSamples], like: PairPredictions
) -> PairPredictions:
    """The case by a network that takes each view alone."""
    rows = (case.row_1, case.row_2)
    images = np.stack([view.image_u8[row] for view, row in zip(views, rows, strict=True)])
    is_left = np.array([view.is_left[row] for view, row in zip(views, rows, strict=True)])
    return replace(like, variant="other", rows=np.array([rows]), joints=network(images, is_left)[None])


def _case_views(
    case: Case,
    headset: str,
    networks: dict[str, PairPredictions],
    views: tuple[ViewSamples, ViewSamples],
    root_joint: int,
) -> CaseViews:
    rows = np.array([[case.row_1, case.row_2]])
    truth = pair_truth(views, rows)
    keypoints: dict[str, list[np.ndarray]] = {}
    errors: dict[str, list[float]] = {}
    for name, predictions in networks.items():
        found = predictions.joints[(predictions.rows == rows).all(axis=1)]
        poses = align(replace(predictions, rows=rows, joints=found[:1]), truth, root_joint)
        distance = joint_errors(poses.predicted_mm, poses.true_mm)[0]
        errors[name] = [float(distance[v][truth.valid[0, v] > 0].mean()) for v in range(2)]
        keypoints[name] = [_keypoints(poses.predicted_mm[0, v], views[v], rows[0, v], root_joint) for v in range(2)]
        keypoints[TRUTH] = [_keypoints(poses.true_mm[0, v], views[v], rows[0, v], root_joint) for v in range(2)]
    first = views[0]
    hand = "left" if first.is_left[case.row_1] else "right"
    return CaseViews(
        title=f"{case.reason}\n{headset_name(headset)}, cam {case.pair.replace('-', ',')}\n"
        f"{hand} hand, frame {int(first.frame[case.row_1])}",
        images_u8=[view.image_u8[row] for view, row in zip(views, rows[0], strict=True)],
        is_left=bool(first.is_left[case.row_1]),
        keypoints_px=keypoints,
        errors_mm=errors,
        valid=[truth.valid[0, v] for v in range(2)],
    )


def _keypoints(pose_mm: np.ndarray, view: ViewSamples, row: int | np.integer, root_joint: int) -> np.ndarray:
    root_m = view.joints_cam_m[row, root_joint].astype(np.float64)
    return placed_in_crop(pose_mm, root_m, view.focal_px[row], view.principal_point_px[row])


def _draw_grid(figure: Figure, cases: Sequence[CaseViews], height: float) -> None:
    total, columns = height + 1.0, len(cases[0].columns)
    grid = GridSpec(
        len(cases), 2 * columns + 1, figure=figure, width_ratios=[1] * columns + [_GAP] + [1] * columns,
        left=1.45 / figure.get_figwidth(), right=0.995, top=1 - 0.62 / total, bottom=0.34 / total,
        wspace=0.03, hspace=0.04,
    )  # fmt: skip
    for number, case in enumerate(cases):
        for view in range(2):
            for place, column in enumerate(case.columns):
                axes = figure.add_subplot(grid[number, (columns + 1) * view + place])
                _draw_cell(axes, case, view, column)
                if number == 0:
                    axes.set_title(f"view {view + 1}: {column}" if place == 0 else column, pad=3)
                if view == 0 and place == 0:
                    reason, _, rest = case.title.partition("\n")
                    axes.text(
                        -0.06, 0.72, reason, transform=axes.transAxes, ha="right", fontweight="bold", fontsize=9.5
                    )
                    axes.text(-0.06, 0.62, rest, transform=axes.transAxes, ha="right", va="top", fontsize=7.5)
    handles = [Line2D([], [], color=colour, lw=3, label=finger) for finger, colour in FINGER_COLOURS.items()]
    handles.append(Line2D([], [], color="#BBBBBB", lw=1, label="ground truth, to compare with (white)"))
    handles.append(
        Line2D(
            [],
            [],
            marker="o",
            ls="",
            markerfacecolor="black",
            markeredgecolor="#BBBBBB",
            label="joint not valid, so not scored",
        )
    )
    figure.legend(handles=handles, loc="lower center", ncols=len(handles), bbox_to_anchor=(0.5, 0.0))


def _draw_cell(axes: Axes, case: CaseViews, view: int, column: str) -> None:
    show_crop(axes, case.images_u8[view], is_left=case.is_left, dimmed=column != INPUT)
    look_at(axes, case.keypoints_px[TRUTH][view])
    if column == INPUT:
        return
    if column == TRUTH:
        draw_skeleton(axes, case.keypoints_px[column][view], case.valid[view])
        return
    draw_ghost(axes, case.keypoints_px[TRUTH][view])
    draw_skeleton(axes, case.keypoints_px[column][view])
    axes.text(
        0.03, 0.97, f"{case.errors_mm[column][view]:.1f} mm", transform=axes.transAxes, ha="left", va="top",
        color="white", fontsize=8, fontweight="bold", bbox={"facecolor": "black", "alpha": 0.6, "pad": 1.5, "lw": 0},
    )  # fmt: skip
