"""What HOLD starts from: frames, masks, cameras, and the poses of hands and object in the scene's world.

World: facts/hold.md 1.9; metres before the scene scale. Hand poses are absolute rotation vectors, flat zero.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from handloom.hand.joints import Side
from handloom.hand.mano import HandModel, rest_joints_m, skin
from handloom.reconstruction.cameras import Cameras, cameras_of_placement
from handloom.reconstruction.scene_placement import (
    HandInFrame,
    ObjectInFrame,
    ScenePlacement,
    ShiftMode,
    hand_to_world,
    object_to_world,
    place_scene,
)
from handloom.runtime.errors import InputError


@dataclass(frozen=True)
class BuildHand:
    """A hand in the world."""

    rotvec: Float[Tensor, "frames 16 3"]
    translation_m: Float[Tensor, "frames 3"]
    shape: Float[Tensor, " shape"]


@dataclass(frozen=True)
class BuildObject:
    """The object in the world: x_world = R (sigma N^-1 x_c) + t for a point x_c of its unit sphere."""

    rotvec: Float[Tensor, "frames 3"]
    translation_m: Float[Tensor, "frames 3"]
    scale: float
    """sigma, metres per SfM unit."""
    normalised_from_sfm: Float[Tensor, "4 4"]
    """N, HOLD's norm_mat."""
    points_canonical: Float[Tensor, "point 3"]
    """The SfM points in the unit sphere."""


@dataclass(frozen=True)
class BuildScene:
    """A sequence ready for HOLD-Net."""

    sequence: str
    names: tuple[str, ...]
    """Original base name of each frame."""
    image_paths: tuple[Path, ...]
    mask_paths: tuple[Path, ...]
    """Label images: background 0, object 50, right hand 150, left hand 250."""
    cameras: Cameras
    """In the scaled world."""
    placement: ScenePlacement
    hands: Mapping[Side, BuildHand]
    object: BuildObject
    foreign_keys: tuple[str, ...] = field(default=())
    """Keys of a read folder that handloom does not know and left alone."""

    @property
    def frame_count(self) -> int:
        """How many frames the sequence has."""
        return len(self.names)


@dataclass(frozen=True)
class AlignedScene:
    """Hand and object aligned in OpenCV camera metres: the content of aligned.npz, for one hand."""

    intrinsics: Float[Tensor, "3 3"]
    hand_rotvec: Float[Tensor, "frames 16 3"]
    hand_shape: Float[Tensor, " shape"]
    hand_translation_cam_m: Float[Tensor, "frames 3"]
    object_rotation: Float[Tensor, "frames 3 3"]
    object_translation_m: Float[Tensor, "frames 3"]
    object_scale: float
    points_object: Float[Tensor, "point 3"]

    def object_points_cam_m(self) -> Float[Tensor, "frames point 3"]:
        """R (sigma x) + t of every point and frame."""
        points = torch.einsum("tij,nj->tni", self.object_rotation, self.object_scale * self.points_object)
        return points + self.object_translation_m[:, None]


def build_scene(
    aligned: AlignedScene,
    model: HandModel,
    *,
    sequence: str,
    names: Sequence[str],
    image_paths: Sequence[Path],
    mask_paths: Sequence[Path],
    shift: ShiftMode = "safe",
    normalised_from_sfm: Float[Tensor, "4 4"] | None = None,
) -> BuildScene:
    """Bring an aligned sequence into HOLD's world, its object's points into the unit sphere.

    Raises InputError when numbers are missing or, with the shift `safe`, when hand or object leave the sphere.
    """
    _require_finite(aligned)
    hand_cam = HandInFrame(aligned.hand_rotvec, aligned.hand_translation_cam_m)
    frames = len(aligned.hand_rotvec)
    hand_points = skin(
        model,
        pose_rotvec=hand_cam.rotvec,
        shape=aligned.hand_shape.expand(frames, -1),
        translation_m=hand_cam.translation_m,
    ).vertices_m
    placement = place_scene(
        shift, object_points_cam_m=aligned.object_points_cam_m(), hand_points_cam_m=hand_points, names=names
    )
    hand = hand_to_world(hand_cam, rest_joints_m(model, aligned.hand_shape)[0], placement)
    moved = object_to_world(ObjectInFrame(aligned.object_rotation, aligned.object_translation_m), placement)
    if normalised_from_sfm is None:
        normalised_from_sfm = unit_sphere_from_points(aligned.points_object)
    canonical = aligned.points_object @ normalised_from_sfm[:3, :3].T + normalised_from_sfm[:3, 3]
    return BuildScene(
        sequence=sequence,
        names=tuple(names),
        image_paths=tuple(image_paths),
        mask_paths=tuple(mask_paths),
        cameras=cameras_of_placement(aligned.intrinsics.expand(frames, 3, 3), placement),
        placement=placement,
        hands={model.side: BuildHand(hand.rotvec, hand.translation_m, aligned.hand_shape)},
        object=BuildObject(
            roma.rotmat_to_rotvec(moved.rotation),
            moved.translation_m,
            aligned.object_scale,
            normalised_from_sfm,
            canonical,
        ),
    )


def unit_sphere_from_points(points: Float[Tensor, "point 3"]) -> Float[Tensor, "4 4"]:
    """norm_mat: x -> (x - c) / r with c the centre of the bounding box and r the largest distance to it.

    Raises InputError when there are fewer than two different points. Source: facts/hold.md 1.7.
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


def _require_finite(aligned: AlignedScene) -> None:
    named = {name: value for name, value in vars(aligned).items() if isinstance(value, Tensor)}
    bad = [name for name, value in named.items() if not bool(torch.isfinite(value).all())]
    if bad:
        raise InputError(f"aligned scene: {', '.join(bad)} hold NaN or infinity; run the alignment again")
