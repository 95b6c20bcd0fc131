"""From an aligned sequence to HOLD's `build/` folder: the scene placed in HOLD's world, frames without distortion.

HOLD's own shifts, a constant or one from the object's points, put objects outside of the sphere where rays are sampled:
with the latter all that are 0.67 to 1.33 m away. Here the scene's median is the origin.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from handloom.datasets.frames import read_frames
from handloom.datasets.masks import mask_files
from handloom.estimators.sfm.object_poses import ObjectPoses, undistort_sequence
from handloom.hand.joints import Side
from handloom.hand.mano import HandModel
from handloom.hand.models import HandFiles, configured_hands, require_sides
from handloom.reconstruction.build_folder import BuildScene, write_build
from handloom.reconstruction.scene_placement import ScenePlacement, cameras_of_placement, placement_at
from handloom.reconstruction.tracks import SequencePoses
from handloom.runtime.errors import InputError

_LISTED = 5


def build_sequence(
    aligned: Path,
    object_poses: Path,
    frames: Path,
    frames_json: Path,
    masks: Path,
    build: Path,
    *,
    sequence: str,
    hand: HandFiles = None,
) -> None:
    """Stage: write `build/`, which HOLD's own code reads as well.

    Frames whose object has no known pose (`ObjectPoses.posed`) are left out. Frames and masks lose the lens distortion
    that structure from motion found, since HOLD knows pinholes only. Raises InputError when frames, masks and poses do
    not belong together or the scene leaves HOLD's sphere.
    """
    poses, thing = SequencePoses.load_each(aligned), ObjectPoses.load(object_poses)
    taken, models = read_frames(frames, frames_json), configured_hands(hand)
    require_sides(aligned, poses, models)
    with tempfile.TemporaryDirectory(prefix="handloom-build-") as work:
        images, labels = Path(work) / "frames", Path(work) / "masks"
        undistort_sequence(taken, masks, object_poses, images, labels)
        straight = replace(taken, folder=images)
        counts = {str(frames): len(taken), str(aligned): len(next(iter(poses.values())).hand_rotvec)}
        if len(set(counts.values())) > 1:
            raise InputError(f"the numbers of frames differ: {counts}; run the rules that make them again")
        posed = np.flatnonzero(thing.posed).tolist()
        images_of, labels_of = straight.pictures, mask_files(labels, straight)
        scene = build_scene(
            {side: each.of_frames(posed) for side, each in poses.items()},
            torch.from_numpy(thing.points_object),
            torch.from_numpy(thing.intrinsics),
            models,
            sequence=sequence,
            names=[taken.names[frame] for frame in posed],
            image_paths=[images_of[frame] for frame in posed],
            mask_paths=[labels_of[frame] for frame in posed],
        )
        write_build(build, scene, models)


def build_scene(
    poses: Mapping[Side, SequencePoses],
    points_object: Float[Tensor, "point 3"],
    intrinsics: Float[Tensor, "3 3"],
    models: Mapping[Side, HandModel],
    *,
    sequence: str,
    names: Sequence[str],
    image_paths: Sequence[Path],
    mask_paths: Sequence[Path],
    placement: ScenePlacement | None = None,
    normalised_from_sfm: Float[Tensor, "4 4"] | None = None,
) -> BuildScene:
    """Bring an aligned sequence into HOLD's world, its object's points into the unit sphere, in single precision.

    Without a placement the scene's median is the origin. Raises InputError when a hand or the object leaves the sphere.
    """
    hands = {side: poses[side].hand.to(torch.float32) for side in models}
    thing, points = next(iter(poses.values())).object.to(torch.float32), points_object.float()
    if placement is None:
        vertices_m = [hand.skinned(models[side]).vertices_m for side, hand in hands.items()]
        placement = place_scene(thing.placed(points), torch.cat(vertices_m, dim=1), names)
    if normalised_from_sfm is None:
        normalised_from_sfm = unit_sphere_from_points(points)
    return BuildScene(
        sequence=sequence,
        names=tuple(names),
        image_paths=tuple(image_paths),
        mask_paths=tuple(mask_paths),
        cameras=cameras_of_placement(intrinsics.float().expand(len(names), 3, 3), placement),
        placement=placement,
        hands={side: placement.hand_to_world(hand, models[side]) for side, hand in hands.items()},
        object=placement.object_to_world(thing),
        normalised_from_sfm=normalised_from_sfm,
        points_canonical=points @ normalised_from_sfm[:3, :3].T + normalised_from_sfm[:3, 3],
    )


def unit_sphere_from_points(points: Float[Tensor, "point 3"]) -> Float[Tensor, "4 4"]:
    """norm_mat: x -> (x - c) / r with c the centre of the bounding box and r the largest distance to it.

    Raises InputError when there are fewer than two different points.
    """
    centre = (points.amin(0) + points.amax(0)) / 2 if len(points) else points.new_zeros(3)
    radius = (points - centre).norm(dim=1).amax() if len(points) else points.new_zeros(())
    if not bool(radius > 0):
        raise InputError(
            f"object points: found {len(points)} points of extent {float(radius):g}, expected at least two different "
            "ones; check the object's SfM"
        )
    matrix = torch.eye(4, dtype=points.dtype)
    matrix[:3, :3] /= radius
    matrix[:3, 3] = -centre / radius
    return matrix


def place_scene(
    object_points_cam_m: Float[Tensor, "frames point 3"],
    hand_points_cam_m: Float[Tensor, "frames hand_point 3"],
    names: Sequence[str] = (),
) -> ScenePlacement:
    """The placement with shift = -D m, m the median over frames of the frames' median points of object and hand.

    So the scene's median is the origin and the camera is 2 away from it. Raises InputError when a point lies outside
    the sphere of radius 6 (three times the camera's distance) or is not finite, or when the median is not before the
    camera.
    """
    # Each of the two counts alike, however many points it has.
    centre = (_median_of_medians(object_points_cam_m) + _median_of_medians(hand_points_cam_m)) / 2
    shift = centre * [-1.0, 1.0, 1.0]
    placement = placement_at(shift)
    if not np.isfinite(shift).all() or shift[2] <= 0:
        raise InputError(
            f"scene placement: the scene's median is at {np.round(centre, 3).tolist()} m, but must lie before the "
            "camera (z > 0); check the alignment of hand and object"
        )
    _require_inside(placement, "object", object_points_cam_m, names)
    _require_inside(placement, "hand", hand_points_cam_m, names)
    return placement


def _require_inside(
    placement: ScenePlacement, what: str, points_cam_m: Float[Tensor, "frames point 3"], names: Sequence[str]
) -> None:
    radius = placement.points_to_scaled(points_cam_m.double()).norm(dim=-1).amax(-1)
    outside = torch.nonzero(~(radius < placement.bounding_sphere)).flatten().tolist()
    if outside:
        named = [f"{names[frame] if names else frame} (at {radius[frame]:.2f})" for frame in outside[:_LISTED]]
        more = f" and {len(outside) - len(named)} more" if len(outside) > len(named) else ""
        raise InputError(
            f"scene placement: the {what} leaves the sphere of radius {placement.bounding_sphere:g} in "
            f"{len(outside)} of {len(radius)} frames: {', '.join(named)}{more}; expected hand and object inside it in "
            "every frame. Check the alignment of these frames, or leave them out"
        )


def _median_of_medians(points: Float[Tensor, "frames point 3"]) -> np.ndarray:
    return np.median(np.median(points.double().cpu().numpy(), axis=1), axis=0)
