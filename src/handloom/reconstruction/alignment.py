"""Stage: hand and object in one camera frame, in metres (facts/hold.md 1.8)."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from handloom.datasets.mask_labels import LABEL_OF
from handloom.hand.joints import MANO21_FROM_SNAP
from handloom.hand.mano import HandModel, skin
from handloom.reconstruction.alignment_losses import project
from handloom.reconstruction.apparent_size import distance_factor
from handloom.reconstruction.gradient_alignment import (
    MODES,
    SCHEDULES,
    LossRow,
    Mode,
    Observations,
    Placement,
    Schedule,
    run,
    start_placement,
)
from handloom.reconstruction.grasp_alignment import GraspAlignment, ObjectTrack
from handloom.reconstruction.hand_energy import seen_hand
from handloom.reconstruction.hand_pose_space import PoseSpace, Skeleton
from handloom.reconstruction.hand_registration import (
    KIND as HAND_POSES_KIND,
)
from handloom.reconstruction.hand_registration import (
    OBJECT_POSES_KIND,
    HandEstimates,
    HandFit,
    read_estimates,
)
from handloom.reconstruction.pose_gaps import fill_points
from handloom.runtime.artifacts import Header, write_arrays
from handloom.runtime.config.hand_tracking import AlignmentSettings, HandRegistrationSettings
from handloom.runtime.errors import InputError
from handloom.runtime.files import write_table
from handloom.runtime.finite_arrays import read_finite_arrays

KIND = "aligned"
_MOST_POINTS = 600


@dataclass(frozen=True)
class HandPoses:
    """The contract of hand_poses.npz."""

    rotvec: Float[Tensor, "frames 16 3"]
    shape: Float[Tensor, " shape"]
    translation_cam_m: Float[Tensor, "frames 3"]
    found: Bool[Tensor, " frames"]


@dataclass(frozen=True)
class ObjectPoses:
    """The contract of object_poses.npz: lengths in SfM units, the camera in pixels."""

    intrinsics: Float[Tensor, "3 3"]
    cam_from_object: Float[Tensor, "frames 4 4"]
    registered: Bool[Tensor, " frames"]
    points_object: Float[Tensor, "points 3"]


class AlignedHandObject(NamedTuple):
    """The contract of aligned.npz: x_cam = R (sigma x_object) + t for the object, `skin` for the hand; metres."""

    hand_rotvec: Float[Tensor, "frames 16 3"]
    hand_shape: Float[Tensor, " shape"]
    hand_translation_cam_m: Float[Tensor, "frames 3"]
    object_rotation: Float[Tensor, "frames 3 3"]
    object_translation_m: Float[Tensor, "frames 3"]
    object_scale: Float[Tensor, ""]


def align_hand_object(
    settings: AlignmentSettings,
    registration: HandRegistrationSettings,
    hand_model: HandModel,
    hand_poses: Path,
    object_poses: Path,
    hand_estimates: Path,
    output: Path,
    history: Path,
    *,
    masks: Path | None = None,
    schedules: Mapping[Mode, Schedule] | None = None,
    seed: int = 0,
    code: str = "",
) -> None:
    """Stage: write aligned.npz, and every iteration's losses as a table.

    `faithful` follows HOLD's three runs of Adam, at `schedules` if given; `fixed` see `grasp_alignment`. `masks` (one
    PNG of labels per frame) tell `fixed` how large the hand looks, which its key points may underestimate. Raises
    InputError for files that do not belong together and for an alignment that is not finite.
    """
    hand, thing, seen = read_hand_poses(hand_poses), read_object_poses(object_poses), read_estimates(hand_estimates)
    counts = {str(hand_poses): len(hand.found), str(object_poses): len(thing.registered)}
    counts[str(hand_estimates)] = len(seen.found)
    if len(set(counts.values())) > 1:
        raise InputError(
            f"the numbers of frames differ: {counts}; they come from different videos, run the rules again"
        )
    rows: list[dict[str, float | int | str]] = []
    extra: dict[str, str] = {"fidelity": settings.fidelity}
    if settings.fidelity == "faithful":
        scene = align_by_gradient(hand_model, hand, thing, seen, rows, schedules)
    else:
        scene, held = align_grasp(settings, registration, hand_model, hand, thing, seen, rows, _mask_files(masks, seen))
        extra["grasp"] = "held" if held else "free"
    if not all(bool(value.isfinite().all()) for value in scene):
        raise InputError(
            f"{output.name}: the alignment is not finite, expected numbers; look at {hand_poses} and {object_poses}, "
            "their overlays show which of them is wrong"
        )
    scale = float(scene.object_scale)
    print(f"aligned {len(hand.found)} frames, {scale:.4g} m per SfM unit, {extra}", file=sys.stderr)
    write_table(history, pd.DataFrame(rows))
    arrays = {name: value.float().numpy() for name, value in scene._asdict().items()}
    arrays |= {"intrinsics": thing.intrinsics.numpy(), "points_object": thing.points_object.float().numpy()}
    write_arrays(output, arrays, Header(KIND, "m, rad, px", "camera", "MANO16", seed=seed, code=code, extra=extra))


def _mask_files(masks: Path | None, seen: HandEstimates) -> list[Path]:
    if masks is None:
        return []
    files = sorted(masks.glob("*.png"))
    if len(files) != len(seen.found):
        raise InputError(f"{masks}: has {len(files)} masks, expected one PNG for each of {len(seen.found)} frames")
    return files


def read_hand_poses(path: Path) -> HandPoses:
    """Read hand_poses.npz; raises InputError when it is no such file or holds NaN."""
    arrays, _ = read_finite_arrays(path, HAND_POSES_KIND, ("rotvec", "shape", "translation_cam_m", "found"))
    return HandPoses(
        torch.from_numpy(arrays["rotvec"]).double(),
        torch.from_numpy(arrays["shape"]).double(),
        torch.from_numpy(arrays["translation_cam_m"]).double(),
        torch.from_numpy(arrays["found"]).bool(),
    )


def read_object_poses(path: Path) -> ObjectPoses:
    """Read object_poses.npz; raises InputError when it is no such file or holds NaN or no point."""
    names = ("intrinsics", "cam_from_object", "registered", "points_object")
    arrays, _ = read_finite_arrays(path, OBJECT_POSES_KIND, names)
    if not len(arrays["points_object"]):
        raise InputError(f"{path}: holds no object points, expected some hundreds; the object needs more texture")
    return ObjectPoses(
        torch.from_numpy(arrays["intrinsics"]).double(),
        torch.from_numpy(arrays["cam_from_object"]).double(),
        torch.from_numpy(arrays["registered"]).bool(),
        torch.from_numpy(arrays["points_object"]).double(),
    )


def align_grasp(
    settings: AlignmentSettings,
    registration: HandRegistrationSettings,
    hand_model: HandModel,
    hand: HandPoses,
    thing: ObjectPoses,
    seen: HandEstimates,
    rows: list[dict[str, float | int | str]],
    masks: Sequence[Path] = (),
) -> tuple[AlignedHandObject, bool]:
    """The repaired alignment; frames that registration refilled have no key points of their own (True: held grasp)."""
    space, skeleton = PoseSpace.of(hand_model), Skeleton.of(hand_model)
    confidence = torch.where((hand.found & seen.found)[:, None], seen.confidence.nan_to_num(0.0), 0.0)
    observed = seen_hand(
        seen.joints_cam_m, seen.keypoints_px, confidence, thing.intrinsics, registration.keypoint_noise
    )
    stride = -(-len(thing.points_object) // _MOST_POINTS)
    track = ObjectTrack(
        thing.cam_from_object[:, :3, :3],
        thing.cam_from_object[:, :3, 3],
        thing.registered,
        thing.points_object[::stride],
    )

    def log(step: str, iteration: int, terms: dict[str, float]) -> None:
        rows.append({"step": step, "iteration": iteration, **terms})

    def factor(fit: HandFit) -> float | None:
        frames = len(fit.rotation)
        with torch.no_grad():
            posed = skin(
                hand_model,
                pose_rotvec=fit.rotvec(space).float(),
                shape=fit.shape.float().expand(frames, -1),
                translation_m=fit.translation_m.float(),
            )
        return distance_factor(
            posed.vertices_m.double().numpy(),
            posed.keypoints_m.double().numpy(),
            hand_model.faces.numpy(),
            thing.intrinsics.numpy(),
            masks,
            LABEL_OF[hand_model.side],
        )

    start = HandFit.of(hand.rotvec, hand.translation_cam_m, hand.shape, space)
    alignment = GraspAlignment(settings, registration, observed, track, space, skeleton, log, factor if masks else None)
    found = alignment.solve(start)
    scale = found.object_scale
    scene = AlignedHandObject(
        found.hand.rotvec(space),
        found.hand.shape,
        found.hand.translation_m,
        track.rotation,
        scale * track.translation,
        scale,
    )
    return scene, found.held


def align_by_gradient(
    hand_model: HandModel,
    hand: HandPoses,
    thing: ObjectPoses,
    seen: HandEstimates,
    rows: list[dict[str, float | int | str]],
    schedules: Mapping[Mode, Schedule] | None = None,
) -> AlignedHandObject:
    """HOLD's own three runs; missing 2D rows are interpolated and count."""
    frames = len(hand.found)
    shape = hand.shape.float()
    with torch.no_grad():
        posed = skin(
            hand_model,
            pose_rotvec=hand.rotvec.float(),
            shape=shape.expand(frames, -1),
            translation_m=torch.zeros(frames, 3),
        )
    camera, points = thing.intrinsics.float(), thing.points_object.float()
    poses = thing.cam_from_object.float()
    missing = ~seen.found | ~seen.keypoints_px.isfinite().all(-1).all(-1)
    keypoints = fill_points(seen.keypoints_px, missing)[:, list(MANO21_FROM_SNAP)].float()
    observations = Observations(
        intrinsics=camera,
        hand_joints_m=posed.keypoints_m[:, list(MANO21_FROM_SNAP)],
        hand_vertex_centroid_m=posed.vertices_m.mean(1),
        hand_keypoints_px=keypoints,
        object_rotation=poses[:, :3, :3],
        object_points=points,
        object_keypoints_px=project(points @ poses[:, :3, :3].mT + poses[:, None, :3, 3], camera),
    )

    def log(row: LossRow) -> None:
        rows.append({"step": row.mode, "iteration": row.step, "loss": row.loss, "learning_rate": row.learning_rate})

    placement: Placement = start_placement(poses)
    for mode in MODES:
        schedule = SCHEDULES[mode] if schedules is None else schedules[mode]
        placement = run(mode, observations, placement, schedule=schedule, log=log)
    return AlignedHandObject(
        hand.rotvec,
        hand.shape,
        placement.hand_translation_m,
        observations.object_rotation,
        placement.object_translation_m,
        placement.object_scale,
    )
