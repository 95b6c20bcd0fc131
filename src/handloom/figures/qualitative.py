"""Pairs of views with the skeletons of the source network, of S2DHand and of the ground truth: good cases and bad."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.lines import Line2D

from handloom.adaptation.pair_predictions import PairPredictions
from handloom.datasets.assembly_hands import headset_name, views_of
from handloom.datasets.box_crops import BOX_MARGIN, CROP_PX, project_in_crop
from handloom.datasets.views import HandCrops, HandLabels
from handloom.estimators.handoccnet import HandOccNetSettings
from handloom.evaluation.headset_scores import (
    ScoredPair,
    load_pair_predictions,
    load_sample_errors,
    source_pair_predictions,
)
from handloom.figures.skeleton import draw_bones, draw_skeleton, look_at, show_crop
from handloom.figures.style import FINGER_COLOURS, VARIANT_NAMES, drawn, heading
from handloom.runtime.config.sources import SETTING_NAMES
from handloom.runtime.errors import InputError

TRUTH = "ground truth"
INPUT = "input"
_COLUMN_IN, _ROW_IN, _GAP = 1.56, 1.42, 0.08  # the gap between views in columns
_ABOVE_AND_BELOW_IN = 1.0
"""Room for the title, the small print and the legend."""
FEWEST_JOINTS = 15
"""A hand of which less can be seen tells a reader nothing."""

ViewNetwork = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From crops (hands, px, px) and whether each shows a left hand, mirrored, to joints (hands, 21, 3) in camera axes."""


@dataclass(frozen=True)
class Case:
    """One pair of hands to show, and why."""

    reason: str
    pair: str
    rows: tuple[int, int]
    """Of the two views' samples."""


@dataclass(frozen=True)
class CaseViews:
    """What is drawn of a case, view by view."""

    reason: str
    title: str
    images_u8: list[UInt8[np.ndarray, "px px"]]
    is_left: bool
    keypoints_px: dict[str, list[Float[np.ndarray, "21 2"]]]  # by column
    errors_mm: dict[str, list[float]]
    """Of each view; without labels how far the views are apart."""
    valid: list[Float[np.ndarray, "21"]]

    @property
    def columns(self) -> tuple[str, ...]:
        """What is shown of each view, from left to right."""
        return (INPUT, *self.errors_mm, *([TRUTH] if TRUTH in self.keypoints_px else []))


def draw_qualitative(
    crops: Sequence[Path],
    labels: Sequence[Path],
    source_predictions: Sequence[Path],
    rotations: Sequence[Path],
    sample_errors: Sequence[Path],
    predictions: Sequence[Path],
    picture: Path,
    *,
    setting: str,
    seed: int,
    handoccnet: Path | None = None,
    hand: Path | None = None,
    handoccnet_settings: HandOccNetSettings | None = None,
    note: str = "",
) -> None:
    """Stage: for each headset the median hand after adaptation, the most improved and the worst one, in both views.

    Without labels, errors are how far the views are apart, and skeletons are placed by the hands' boxes.

    Files lie in folders named by their headset; `predictions` are S2DHand's, and S2DHand+'s if it is run, by which then
    hands are chosen, with one seed, of all pairs. Skeletons are
    placed at the true root joint with the true bone 0-9, as they are scored, and projected into the crop; numbers are
    mean errors over the view's valid joints. HandOccNet has a column where its weights, the MANO hand and its settings
    are given; `note` is small print. Raises InputError when no hand shows enough joints.
    """
    others: dict[str, ViewNetwork] = {}
    if handoccnet is not None and handoccnet_settings is not None:
        # Only here, as a picture without it needs no torch.
        from handloom.estimators.handoccnet.hands import load
        from handloom.hand.models import configured_hand

        network = load(handoccnet, None, handoccnet_settings, configured_hand(hand), "cpu")
        others["HandOccNet"] = network.joints_in_views
    cases: list[CaseViews] = []
    for files in zip(source_predictions, rotations, sample_errors, strict=True):
        headset = files[0].parent.name
        of, known, adapted = (
            [path for path in paths if headset in path.parts] for paths in (crops, labels, predictions)
        )
        cases += cases_of(headset, of, known, adapted, *files, seed=seed, others=others)
    height = _ROW_IN * len(cases) + _ABOVE_AND_BELOW_IN
    if any(TRUTH not in case.columns for case in cases):
        note += "\nWithout labels: how far the two views are apart; skeletons are placed by the hands' boxes"
    with drawn(picture, _COLUMN_IN * (2 * _columns(cases) + _GAP), height) as figure:
        _draw_grid(figure, cases)
        figure.text(0.01, 1 - 0.31 / height, note.strip(), ha="left", va="top", fontsize=7)
        text = f"S2DHand, {SETTING_NAMES[setting]}: median, most improved and worst hand of each headset"
        heading(figure, text, y=1 - 0.08 / height, va="top")


def choose_cases(errors: pd.DataFrame, seed: int, variant: str = "s2dhand") -> list[Case]:
    """The median, the most improved and the worst pair of hands by a variant's mean Mono error of both views.

    The median one is nearest to it in both error and improvement. Only hands with 15 valid joints in both views count,
    or, where the data have none, those with the most. Without any label, the views' distance stands for the error.
    """
    key = ["pair", "row_1", "row_2"]
    joints = errors[["valid_1", "valid_2"]].min(axis=1)
    if joints.max() > 0:
        shown = errors[(joints > 0) & (joints >= min(FEWEST_JOINTS, joints.max()))]
        shown = shown.assign(error=(shown["mono_1_mm"] + shown["mono_2_mm"]) / 2)
    else:
        shown = errors.assign(error=errors["apart_mm"])
    before = shown[shown["variant"] == "source"].set_index(key)["error"]
    after = shown[(shown["variant"] == variant) & (shown["seed"] == seed)].set_index(key)["error"]
    table = pd.DataFrame({"before": before, "after": after}).dropna()
    if table.empty:
        raise InputError(
            f"sample errors hold no hand with valid joints in both views, of the baseline and of {variant} "
            f"(seed {seed}); score with that seed, or show another"
        )
    gain = table["before"] - table["after"]
    from_median = (table["after"].rank(pct=True) - 0.5).abs() + (gain.rank(pct=True) - 0.5).abs()
    cases: list[Case] = []
    for reason, order in (
        ("median", from_median.sort_values()),
        ("most improved", gain.sort_values(ascending=False)),
        ("worst", table["after"].sort_values(ascending=False)),
    ):
        taken = {(case.pair, *case.rows) for case in cases}
        # With a handful of samples the same hand may be all three.
        best = next((index for index in order.index if index not in taken), order.index[0])
        cases.append(Case(reason, str(best[0]), (int(best[1]), int(best[2]))))
    return cases


def cases_of(
    headset: str,
    crops: Sequence[Path],
    labels: Sequence[Path],
    predictions: Sequence[Path],
    source_predictions: Path,
    rotations: Path,
    sample_errors: Path,
    *,
    seed: int,
    others: Mapping[str, ViewNetwork],
) -> list[CaseViews]:
    """The chosen hands of one headset, whose cameras' crops and labels come in order; `others` are networks by name.

    Raises InputError when a chosen hand is of a pair without predictions.
    """
    views = [(HandCrops.load(of), HandLabels.load(known)) for of, known in zip(crops, labels, strict=True)]
    adapted: dict[str, dict[str, PairPredictions]] = {}
    for found in map(load_pair_predictions, predictions):
        adapted.setdefault(found.pair, {})[found.variant] = found
    variants = [name for name in VARIANT_NAMES if any(name in of_pair for of_pair in adapted.values())]
    shown = []
    for case in choose_cases(load_sample_errors(sample_errors), seed, *variants[-1:]):
        if case.pair not in adapted:
            raise InputError(
                f"{sample_errors}: names pair {case.pair}, of which no predictions were given, only those of "
                f"{sorted(adapted)}; give all pairs"
            )
        source = source_pair_predictions(source_predictions, rotations, [known for _, known in views], case.pair)
        networks = {"baseline": source}
        networks |= {VARIANT_NAMES[name]: adapted[case.pair][name] for name in variants}
        shown.append(_case_views(case, headset, networks, others, views_of(views, case.pair)))
    return shown


def _case_views(
    case: Case,
    headset: str,
    networks: Mapping[str, PairPredictions],
    others: Mapping[str, ViewNetwork],
    views: tuple[tuple[HandCrops, HandLabels], tuple[HandCrops, HandLabels]],
) -> CaseViews:
    """A case by networks that took both views, and by others, each of which takes the two alone."""
    rows = np.array([case.rows])
    seen = [(known, row) for (_, known), row in zip(views, case.rows, strict=True)]
    images = [crops.image_u8[row, ..., 0] for (crops, _), row in zip(views, case.rows, strict=True)]
    is_left = np.array([known.is_left[row] for known, row in seen])
    predictions = {
        name: replace(found, rows=rows, joints=found.joints[(found.rows == rows).all(axis=1)][:1])
        for name, found in networks.items()
    }
    like = predictions["baseline"]
    for name, network in others.items():
        predictions[name] = replace(like, variant="other", joints=network(np.stack(images), is_left)[None])

    def placed(poses_mm: Float[np.ndarray, "2 21 3"], root_joint: int) -> list[Float[np.ndarray, "21 2"]]:
        """Key points in the 256-pixel crops of root-relative poses that are put at the true root joint."""
        roots_m = [known.joints_cam_m[row, root_joint].astype(np.float64) for known, row in seen]
        return [
            project_in_crop(pose_mm / 1000 + root_m, known.focal_px[row], known.principal_point_px[row])
            for pose_mm, root_m, (known, row) in zip(poses_mm, roots_m, seen, strict=True)
        ]

    keypoints: dict[str, list[np.ndarray]] = {}
    errors: dict[str, list[float]] = {}
    labelled = all((known.joint_valid[row] > 0).any() for known, row in seen)
    for name, found in predictions.items():
        scored = ScoredPair.of(found, (views[0][1], views[1][1]))
        distance, valid, poses = scored.mono_errors_mm()[0], scored.valid[0], scored.poses
        if not labelled:
            errors[name] = [float(scored.apart_mm[0])] * 2
            keypoints[name] = [placed_by_box(pose) for pose in found.joints[0]]
            continue
        errors[name] = [float(distance[view][valid[view] > 0].mean()) for view in range(2)]
        keypoints |= {name: placed(poses.predicted_mm[0], found.root_joint)}
        keypoints |= {TRUTH: placed(poses.true_mm[0], found.root_joint)}
    hand, frame = "left" if is_left[0] else "right", int(seen[0][0].frame[case.rows[0]])
    return CaseViews(
        reason=case.reason,
        title=f"{headset_name(headset)}, cam {case.pair.replace('-', ',')}\n{hand} hand, frame {frame}",
        images_u8=images,
        is_left=bool(is_left[0]),
        keypoints_px=keypoints,
        errors_mm=errors,
        valid=list(valid),
    )


def placed_by_box(joints: Float[np.ndarray, "21 3"]) -> Float[np.ndarray, "21 2"]:
    """Key points in the 256-pixel crop of a pose seen along the optical axis, where and as large as the hand's box."""
    low, high = joints[:, :2].min(axis=0), joints[:, :2].max(axis=0)
    return CROP_PX / 2 + (joints[:, :2] - (low + high) / 2) * (CROP_PX / BOX_MARGIN / (high - low).max())


def _columns(cases: Sequence[CaseViews]) -> int:
    return max(len(case.columns) for case in cases)


def _draw_grid(figure: Figure, cases: Sequence[CaseViews]) -> None:
    width, height, columns = figure.get_figwidth(), figure.get_figheight(), _columns(cases)
    grid = GridSpec(
        len(cases), 2 * columns + 1, figure=figure, width_ratios=[1] * columns + [_GAP] + [1] * columns,
        left=1.45 / width, right=0.995, top=1 - 0.62 / height, bottom=0.34 / height, wspace=0.03, hspace=0.04,
    )  # fmt: skip
    for number, case in enumerate(cases):
        for view in range(2):
            for place, column in enumerate(case.columns):
                axes = figure.add_subplot(grid[number, (columns + 1) * view + place])
                _draw_cell(axes, case, view, column)
                if number == 0:
                    axes.set_title(f"view {view + 1}: {column}" if place == 0 else column, pad=3)
                if view == 0 and place == 0:
                    beside: dict[str, Any] = {"transform": axes.transAxes, "ha": "right"}
                    axes.text(-0.06, 0.72, case.reason, **beside, fontweight="bold", fontsize=9.5)
                    axes.text(-0.06, 0.62, case.title, **beside, va="top", fontsize=7.5)
    hollow: dict[str, Any] = {"marker": "o", "ls": "", "markerfacecolor": "black", "markeredgecolor": "#BBBBBB"}
    handles = [
        *(Line2D([], [], color=colour, lw=3, label=finger) for finger, colour in FINGER_COLOURS.items()),
        Line2D([], [], color="#BBBBBB", lw=1, label="ground truth, to compare with (white)"),
        Line2D([], [], **hollow, label="joint not valid, so not scored"),
    ]
    if not any(TRUTH in case.columns for case in cases):
        handles = handles[: len(FINGER_COLOURS)]
    figure.legend(handles=handles, loc="lower center", ncols=len(handles), bbox_to_anchor=(0.5, 0.0))


def _draw_cell(axes: Axes, case: CaseViews, view: int, column: str) -> None:
    show_crop(axes, case.images_u8[view], is_left=case.is_left, dimmed=column != INPUT)
    truth = case.keypoints_px.get(TRUTH)
    look_at(axes, (truth or next(iter(case.keypoints_px.values())))[view])
    if column == INPUT:
        return
    if column == TRUTH:
        draw_skeleton(axes, case.keypoints_px[column][view], case.valid[view])
        return
    if truth is not None:
        draw_bones(axes, truth[view], "white", 0.8)  # to compare with
    draw_skeleton(axes, case.keypoints_px[column][view])
    told = f"{case.errors_mm[column][view]:.1f} mm{'' if truth else ' apart'}"
    axes.text(
        0.03, 0.97, told, transform=axes.transAxes, ha="left", va="top",
        color="white", fontsize=8, fontweight="bold", bbox={"facecolor": "black", "alpha": 0.6, "pad": 1.5, "lw": 0},
    )  # fmt: skip
