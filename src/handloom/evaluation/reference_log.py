"""The text log of S2DHand's released code, written and read, and the numbers its `calc_metrics` makes of one.

A header line; two lines a pair (view 1, view 2) of 14 fields separated by spaces, vectors joined by commas; a footer
`AUC: x, EPE: y` without a line break (facts/s2dhand.md 4.4). Lengths are millimetres, focal and principal point belong
to the 256-pixel crop, `campos` is the translation of `R x + t`.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from handloom.datasets.views import ViewSamples, load_views
from handloom.evaluation.alignment import MM_PER_M, AlignedPoses
from handloom.evaluation.pair_predictions import align, load_pair_predictions, pair_truth
from handloom.evaluation.pose_metrics import auc, dual_m, euler_angles, joint_errors, mono_m
from handloom.geometry.rotations import mean_rotation_unsigned, rotation_between
from handloom.runtime.errors import InputError
from handloom.runtime.files import write_text

HEADER = "img seq cam frame pred gt valid camrot campos focal pricpt hand pred_trans gt_trans"
FIELDS = HEADER.split()
VECTORS = {
    "pred": 63,
    "gt": 63,
    "valid": 21,
    "camrot": 9,
    "campos": 3,
    "focal": 2,
    "pricpt": 2,
    "pred_trans": 63,
    "gt_trans": 63,
}
_FOOTER = re.compile(r"AUC: (\S+), EPE: (\S+)")


@dataclass(frozen=True)
class ReferenceLog:
    """The rows of a log, (pairs, view)."""

    sequence: np.ndarray
    camera: np.ndarray
    frame: Int[np.ndarray, "pairs 2"]
    predicted_mm: Float[np.ndarray, "pairs 2 21 3"]
    true_mm: Float[np.ndarray, "pairs 2 21 3"]
    valid: Float[np.ndarray, "pairs 2 21"]
    cam_from_world_rotation: Float[np.ndarray, "pairs 2 3 3"]
    cam_from_world_translation_mm: Float[np.ndarray, "pairs 2 3"]
    focal_px: Float[np.ndarray, "pairs 2 2"]
    principal_point_px: Float[np.ndarray, "pairs 2 2"]
    is_left: Bool[np.ndarray, "pairs 2"]
    predicted_placed_mm: Float[np.ndarray, "pairs 2 21 3"]
    true_placed_mm: Float[np.ndarray, "pairs 2 21 3"]

    def auc(self) -> float:
        """Area under the PCK curve, 20 to 50 mm."""
        return auc(joint_errors(self.predicted_mm, self.true_mm), self.valid)

    def mono_m(self) -> float:
        """Mono-M in millimetres."""
        return mono_m(joint_errors(self.predicted_mm, self.true_mm), self.valid)


def log_of_pair(
    views: tuple[ViewSamples, ViewSamples],
    rows: Int[np.ndarray, "pairs 2"],
    poses: AlignedPoses,
    root_joint: int,
) -> ReferenceLog:
    """The log of aligned poses (pairs, view, 21, 3) of the given rows of two views."""

    def column(name: str) -> np.ndarray:
        return np.stack([getattr(view, name)[rows[:, number]] for number, view in enumerate(views)], axis=1)

    true_placed_mm = MM_PER_M * column("joints_cam_m").astype(np.float64)
    return ReferenceLog(
        sequence=column("sequence"),
        camera=np.broadcast_to(np.array([view.camera for view in views]), (len(rows), 2)),
        frame=column("frame"),
        predicted_mm=poses.predicted_mm,
        true_mm=poses.true_mm,
        valid=column("joint_valid"),
        cam_from_world_rotation=column("cam_from_world_rotation"),
        cam_from_world_translation_mm=column("cam_from_world_translation_mm"),
        focal_px=column("focal_px"),
        principal_point_px=column("principal_point_px"),
        is_left=column("is_left"),
        predicted_placed_mm=poses.predicted_mm + true_placed_mm[:, :, [root_joint]],
        true_placed_mm=true_placed_mm,
    )


def write_pair_log(views: tuple[Path, Path], predictions: Path, output: Path, *, root_joint: int) -> None:
    """Stage: the log of one camera pair from its crops and a `pair_predictions` artifact."""
    samples = (load_views(views[0]), load_views(views[1]))
    found = load_pair_predictions(predictions, root_joint)
    poses = align(found, pair_truth(samples, found.rows), root_joint)
    write_log(output, log_of_pair(samples, found.rows, poses, root_joint))


def write_log(path: Path, log: ReferenceLog) -> None:
    """Write a log in the reference's format; raises InputError for names that would break its fields."""
    for name in np.unique(np.concatenate([log.sequence.ravel(), log.camera.ravel()])):
        if re.search(r"\s", str(name)) or not name:
            raise InputError(
                f"{path}: sequence or camera {str(name)!r} holds a space, which the log's format cannot hold"
            )
    lines = [HEADER]
    for pair in range(len(log.frame)):
        for view in range(2):
            sequence, camera, frame = log.sequence[pair, view], log.camera[pair, view], int(log.frame[pair, view])
            fields = [f"{sequence}/{camera}/{frame:06d}.jpg", str(sequence), str(camera), str(frame)]
            fields += [_joined(column[pair, view]) for column in (log.predicted_mm, log.true_mm, log.valid)]
            fields += [_joined(log.cam_from_world_rotation[pair, view])]
            fields += [_joined(log.cam_from_world_translation_mm[pair, view])]
            fields += [_joined(log.focal_px[pair, view]), _joined(log.principal_point_px[pair, view])]
            fields += ["left" if log.is_left[pair, view] else "right"]
            fields += [_joined(log.predicted_placed_mm[pair, view]), _joined(log.true_placed_mm[pair, view])]
            lines.append(" ".join(fields))
    lines.append(f"AUC: {log.auc()}, EPE: {log.mono_m()}")
    write_text(path, "\n".join(lines))


def _joined(values: np.ndarray) -> str:
    return ",".join(str(value) for value in values.ravel().astype(np.float64).tolist())


def read_log(path: Path) -> tuple[ReferenceLog, dict[str, float]]:
    """Read a log of the reference: its rows, and the footer's `auc` and `epe_mm` as they stand there.

    Raises InputError for a file that is missing, cut short or not such a log.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a log of S2DHand ({error})") from error
    if not lines or lines[0] != HEADER:
        raise InputError(f"{path}: starts with {lines[0][:60] if lines else ''!r}, but {HEADER!r} was expected")
    footer = _FOOTER.fullmatch(lines[-1].strip())
    if footer is None or len(lines) < 4 or len(lines) % 2:
        raise InputError(
            f"{path}: has {len(lines)} lines and ends with {lines[-1][:60]!r}, but two lines a pair and a footer "
            "'AUC: x, EPE: y' were expected; the log is cut short, write it again"
        )
    rows = [_parsed(path, number, line) for number, line in enumerate(lines[1:-1], start=2)]
    text = {name: np.array([row[FIELDS.index(name)] for row in rows]).reshape(-1, 2) for name in ("seq", "cam", "hand")}
    vectors = {
        name: np.array([_numbers(path, number, row[FIELDS.index(name)], length) for number, row in enumerate(rows, 2)])
        for name, length in VECTORS.items()
    }
    poses = {name: vectors[name].reshape(-1, 2, 21, 3) for name in ("pred", "gt", "pred_trans", "gt_trans")}
    log = ReferenceLog(
        sequence=text["seq"],
        camera=text["cam"],
        frame=np.array([int(row[FIELDS.index("frame")]) for row in rows]).reshape(-1, 2),
        predicted_mm=poses["pred"],
        true_mm=poses["gt"],
        valid=vectors["valid"].reshape(-1, 2, 21),
        cam_from_world_rotation=vectors["camrot"].reshape(-1, 2, 3, 3),
        cam_from_world_translation_mm=vectors["campos"].reshape(-1, 2, 3),
        focal_px=vectors["focal"].reshape(-1, 2, 2),
        principal_point_px=vectors["pricpt"].reshape(-1, 2, 2),
        is_left=text["hand"] == "left",
        predicted_placed_mm=poses["pred_trans"],
        true_placed_mm=poses["gt_trans"],
    )
    return log, {"auc": float(footer[1]), "epe_mm": float(footer[2])}


def _parsed(path: Path, number: int, line: str) -> list[str]:
    fields = line.split(" ")
    if len(fields) != len(FIELDS) or not fields[3].isdigit() or fields[11] not in ("left", "right"):
        raise InputError(
            f"{path}: line {number} has {len(fields)} fields, but {len(FIELDS)} were expected ({HEADER}); "
            "the log is damaged, write it again"
        )
    return fields


def _numbers(path: Path, line: int, field: str, length: int) -> list[float]:
    try:
        values = [float(value) for value in field.split(",")]
    except ValueError as error:
        raise InputError(f"{path}: line {line} holds {field[:40]!r}, but numbers were expected ({error})") from error
    if len(values) != length or not all(math.isfinite(value) for value in values):
        raise InputError(
            f"{path}: line {line} has a vector of {len(values)}, but {length} finite numbers were expected"
        )
    return values


@dataclass(frozen=True)
class CalcMetrics:
    """What the reference's `calc_metrics` reports of a log for one rotation."""

    views: int  # printed there as `num`: twice the pairs
    dual_m_mm: float
    dual_m_own_rotation_mm: float  # every pair merged with its own rotation instead
    rotation_from_log: Float[np.ndarray, "3 3"]  # unaligned quaternion mean over the pairs (`calc_R`)
    euler_difference_rad: Float[np.ndarray, "pairs 3"]

    @property
    def rotation_euler_error_rad(self) -> float:
        """Mean absolute difference of Euler angles, not wrapped (`Rotation_quat_err`)."""
        return float(np.abs(self.euler_difference_rad).mean())


def calc_metrics(log: ReferenceLog, rotation_12: Float[np.ndarray, "3 3"]) -> CalcMetrics:
    """The reference's two-view numbers for one camera pair; rotations are fitted without determinant correction."""
    both_valid = torch.from_numpy((log.valid[:, 0] * log.valid[:, 1] > 0) * 1.0)
    pose_1, pose_2 = torch.from_numpy(log.predicted_mm).unbind(1)
    own = rotation_between(pose_1, pose_2, both_valid, proper=False)
    over_all_joints = rotation_between(pose_1, pose_2, proper=False).numpy()
    cameras = log.cam_from_world_rotation
    true = cameras[:, 0] @ np.swapaxes(cameras[:, 1], -1, -2)
    return CalcMetrics(
        views=2 * len(log.frame),
        dual_m_mm=dual_m(log.predicted_mm, log.true_mm, log.valid, rotation_12),
        dual_m_own_rotation_mm=dual_m(log.predicted_mm, log.true_mm, log.valid, own.numpy()),
        rotation_from_log=mean_rotation_unsigned(own).numpy(),
        euler_difference_rad=euler_angles(over_all_joints) - euler_angles(true),
    )
