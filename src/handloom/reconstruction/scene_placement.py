"""Where a scene lies in HOLD's scaled world, the way there and back, and the world's cameras as matrices.

The world is HOLD's (its generator/src/building/build_utils.py): OpenCV camera metres turned and shifted, and scaled,

    X_world = D X_cam + shift, D = diag(1, -1, -1);   scaled world = s X_world;   s = R / (r |shift|)

with the bounding sphere's radius R = 6 and the ratio r = 3: the camera sits at `shift`, always 2 from the origin of
the scaled world. The scene must lie inside the sphere, where rays are sampled.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import roma
import torch
from jaxtyping import Float
from torch import Tensor

from handloom.hand.mano import HandModel, rest_joints_m
from handloom.reconstruction.tracks import HandTrack, ObjectTrack
from handloom.runtime.errors import InputError

BOUNDING_SPHERE, MAX_RADIUS_RATIO = 6.0, 3.0
_FLIP = (1.0, -1.0, -1.0)


@dataclass(frozen=True)
class ScenePlacement:
    """The shift (metres, the camera's centre in the world) and the scale of a scene."""

    shift_m: tuple[float, float, float]
    scene_scale: float
    bounding_sphere: float = BOUNDING_SPHERE
    max_radius_ratio: float = MAX_RADIUS_RATIO

    def shift_like(self, tensor: Tensor) -> Float[Tensor, "3"]:
        """The shift with a tensor's precision and device."""
        return torch.tensor(self.shift_m, dtype=tensor.dtype, device=tensor.device)

    def points_to_scaled(self, points_cam_m: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
        """x = s (D X + shift), OpenCV camera metres to the scaled world."""
        return self.scene_scale * (points_cam_m * _flip(points_cam_m) + self.shift_like(points_cam_m))

    def hand_to_world(self, hand_cam: HandTrack, model: HandModel) -> HandTrack:
        """R' = D R, t' = D (J0 + t) - J0 + shift, with the wrist J0 of the shaped hand at rest."""
        t, root_m = hand_cam.translation_m, rest_joints_m(model, hand_cam.shape)[0]
        moved = _flip(t) * (root_m + t) - root_m + self.shift_like(t)
        return HandTrack(_flip_wrist(hand_cam.rotvec), hand_cam.shape, moved)

    def hand_to_cam(self, hand_world: HandTrack, model: HandModel) -> HandTrack:
        """The inverse of `hand_to_world`: R = D R', t = D (J0 + t' - shift) - J0."""
        t, root_m = hand_world.translation_m, rest_joints_m(model, hand_world.shape)[0]
        moved = _flip(t) * (root_m + t - self.shift_like(t)) - root_m
        return HandTrack(_flip_wrist(hand_world.rotvec), hand_world.shape, moved)

    def object_to_world(self, object_cam: ObjectTrack) -> ObjectTrack:
        """[R' | t'] = D [R | t], + shift on t'."""
        t = object_cam.translation_m
        rotation = _flip(t)[:, None] * object_cam.rotation
        return ObjectTrack(rotation, _flip(t) * t + self.shift_like(t), object_cam.scale)

    def object_to_cam(self, object_world: ObjectTrack) -> ObjectTrack:
        """The inverse of `object_to_world`: [R | t] = D [R' | t' - shift]."""
        t = object_world.translation_m
        rotation = _flip(t)[:, None] * object_world.rotation
        return ObjectTrack(rotation, _flip(t) * (t - self.shift_like(t)), object_world.scale)


def placement_at(shift_m: Sequence[float] | np.ndarray) -> ScenePlacement:
    """The placement with HOLD's scale, s = R / (r |shift|), for a shift in metres."""
    x, y, z = (float(value) for value in shift_m)
    return ScenePlacement((x, y, z), BOUNDING_SPHERE / (MAX_RADIUS_RATIO * float(np.linalg.norm(shift_m))))


class Cameras(NamedTuple):
    """Pinhole cameras of the scaled world; the camera's axes are OpenCV's."""

    intrinsics: Float[Tensor, "frames 3 3"]
    world_from_cam: Float[Tensor, "frames 4 4"]


def cameras_of_placement(intrinsics: Float[Tensor, "frames 3 3"], placement: ScenePlacement) -> Cameras:
    """The cameras of a scene: axes turned by D, centre s shift, in the scaled world."""
    pose = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=intrinsics.dtype))
    pose[:3, 3] = placement.scene_scale * placement.shift_like(intrinsics)
    return Cameras(intrinsics, pose.expand(len(intrinsics), 4, 4))


def world_matrices(cameras: Cameras, scene_scale: float) -> Float[Tensor, "frames 4 4"]:
    """K4 [R | -R c / s] for cameras of the scaled world: the unscaled world to pixels, HOLD's `world_mat`, float64."""
    intrinsics, pose = (tensor.double() for tensor in cameras)
    rotation = pose[:, :3, :3].mT
    shift = -rotation @ pose[:, :3, 3:] / scene_scale
    matrices = torch.eye(4, dtype=torch.float64).repeat(len(pose), 1, 1)
    matrices[:, :3] = intrinsics @ torch.cat([rotation, shift], dim=2)
    return matrices


def scale_matrix(scene_scale: float) -> Float[Tensor, "4 4"]:
    """diag(1/s, 1/s, 1/s, 1): the scaled world to the unscaled one, HOLD's `scale_mat`."""
    inverse = 1.0 / scene_scale
    return torch.diag(torch.tensor([inverse, inverse, inverse, 1.0], dtype=torch.float64))


def decompose(projection: Float[Tensor, "frames 3 4"]) -> Cameras:
    """P = lambda K [R | -R c] with K upper triangular, K_33 = 1 and positive focal lengths, R a rotation.

    RQ by the QR factors of the matrix turned by half a turn. The skew is kept. Raises InputError for a camera at
    infinity, whose left 3x3 block cannot be inverted.
    """
    left = projection[:, :, :3]
    determinant = torch.linalg.det(left)
    if not bool((determinant.abs() > 0).all()):
        bad = torch.nonzero(~(determinant.abs() > 0)).flatten().tolist()
        raise InputError(
            f"cameras {bad[:5]}: their projection matrices have no inverse; expected those of pinhole cameras, "
            "check world_mat and scale_mat in data.npy"
        )
    left = left * determinant.sign()[:, None, None]
    # With the exchange matrix E: (E M)^T = Q S, so M = (E S^T E)(E Q^T), upper triangular times orthogonal.
    orthogonal, triangular = torch.linalg.qr(left.flip(1).mT)
    upper, rotation = triangular.mT.flip(1, 2), orthogonal.mT.flip(1)
    sign = torch.diagonal(upper, dim1=1, dim2=2).sign()
    upper, rotation = upper * sign[:, None, :], rotation * sign[:, :, None]
    centre = -torch.linalg.solve(projection[:, :, :3], projection[:, :, 3:])
    pose = torch.eye(4, dtype=projection.dtype, device=projection.device).repeat(len(projection), 1, 1)
    pose[:, :3] = torch.cat([rotation.mT, centre], dim=2)
    return Cameras(upper / upper[:, 2:, 2:], pose)


def _flip(like: Tensor) -> Float[Tensor, "3"]:
    return torch.tensor(_FLIP, dtype=like.dtype, device=like.device)


def _flip_wrist(rotvec: Float[Tensor, "frames 16 3"]) -> Float[Tensor, "frames 16 3"]:
    turned = roma.rotmat_to_rotvec(_flip(rotvec)[:, None] * roma.rotvec_to_rotmat(rotvec[:, 0]))
    return torch.cat([turned[:, None], rotvec[:, 1:]], dim=1)
