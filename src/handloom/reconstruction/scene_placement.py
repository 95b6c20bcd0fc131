"""Where a scene lies in HOLD's scaled world, and the way there from OpenCV camera metres and back (facts/hold.md 1.9).

    X_world = D X_cam + shift, D = diag(1, -1, -1);   scaled world = s X_world;   s = R / (r |shift|)

with the bounding sphere's radius R = 6 and the ratio r = 3: the camera sits at `shift`, always 2 from the origin of the
scaled world. The scene must lie inside the sphere, where rays are sampled.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import roma
import torch
from jaxtyping import Float
from torch import Tensor

from handloom.hand.mano import HandModel, rest_joints_m, skin
from handloom.runtime.errors import InputError

ShiftMode = Literal["fixed", "auto", "safe"]
"""`fixed`: HOLD's constant. `auto`: HOLD's, from the object's points. `safe`: the scene's median at the origin."""

BOUNDING_SPHERE = 6.0
MAX_RADIUS_RATIO = 3.0
FIXED_SHIFT_M = (-0.0085238, -0.01372686, 0.42570806)
_FLIP = (1.0, -1.0, -1.0)
_NAMED_FRAMES = 5


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

    def points_to_cam_m(self, points_scaled: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
        """X = D x / s - D shift, the scaled world to OpenCV camera metres."""
        return _flip(points_scaled) * (points_scaled / self.scene_scale - self.shift_like(points_scaled))


def placement_at(shift_m: Sequence[float] | np.ndarray) -> ScenePlacement:
    """The placement with HOLD's scale, s = R / (r |shift|), for a shift in metres."""
    x, y, z = (float(value) for value in shift_m)
    return ScenePlacement((x, y, z), BOUNDING_SPHERE / (MAX_RADIUS_RATIO * float(np.linalg.norm(shift_m))))


class HandInFrame(NamedTuple):
    """Poses of one hand in the camera's or the world's frame; absolute rotation vectors, metres."""

    rotvec: Float[Tensor, "frames 16 3"]
    translation_m: Float[Tensor, "frames 3"]


class ObjectInFrame(NamedTuple):
    """Rigid poses of the object in the camera's or the world's frame, metres."""

    rotation: Float[Tensor, "frames 3 3"]
    translation_m: Float[Tensor, "frames 3"]


class CameraPrediction(NamedTuple):
    """A reconstructed sequence in OpenCV camera metres."""

    object_vertices_m: Float[Tensor, "vertex 3"]
    """In the object's own frame, at its metric size."""
    cam_from_object: Float[Tensor, "frames 4 4"]
    hand_vertices_cam_m: Float[Tensor, "frames hand_vertex 3"]
    hand_joints_cam_m: Float[Tensor, "frames 21 3"]

    @property
    def object_vertices_cam_m(self) -> Float[Tensor, "frames vertex 3"]:
        """The object's vertices of every frame."""
        turned = torch.einsum("tij,vj->tvi", self.cam_from_object[:, :3, :3], self.object_vertices_m)
        return turned + self.cam_from_object[:, None, :3, 3]


def place_scene(
    mode: ShiftMode,
    *,
    object_points_cam_m: Float[Tensor, "frames point 3"],
    hand_points_cam_m: Float[Tensor, "frames hand_point 3"] | None = None,
    names: Sequence[str] = (),
) -> ScenePlacement:
    """Choose the shift of a scene from its points in OpenCV camera metres.

    `fixed`: a constant, good for a scene about 0.4 m away. `auto`: shift = -D m + (0, 0, -1), m the median over frames
    of the per-frame median object point; an object 0.67 to 1.33 m away ends up outside the sphere (facts/hold.md 1.9,
    TRAP). `safe`: shift = -D m, m the same median over the points of object and hand, so that the scene's median is the
    origin and the camera is 2 away from it. `safe` raises InputError when a point lies outside the sphere of radius 6
    (three times the camera's distance) or is not finite, or when the median is not before the camera.
    """
    if mode == "fixed":
        return placement_at(FIXED_SHIFT_M)
    points = object_points_cam_m
    if mode == "safe" and hand_points_cam_m is not None:
        # Each of the two counts alike, however many points it has.
        centre = (_median_of_medians(points) + _median_of_medians(hand_points_cam_m)) / 2
    else:
        centre = _median_of_medians(points)
    shift = -np.asarray(_FLIP) * centre + ([0.0, 0.0, -1.0] if mode == "auto" else 0.0)
    placement = placement_at(shift)
    if mode == "safe":
        if not np.isfinite(shift).all() or shift[2] <= 0:
            raise InputError(
                f"scene placement: the scene's median is at {np.round(centre, 3).tolist()} m, but must lie before the "
                "camera (z > 0); check the alignment of hand and object"
            )
        require_inside(placement, "object", object_points_cam_m, names)
        if hand_points_cam_m is not None:
            require_inside(placement, "hand", hand_points_cam_m, names)
    return placement


def require_inside(
    placement: ScenePlacement,
    what: str,
    points_cam_m: Float[Tensor, "frames point 3"],
    names: Sequence[str] = (),
) -> None:
    """Raise InputError naming the frames where a point lies outside the bounding sphere or is not finite."""
    radius = placement.points_to_scaled(points_cam_m.double()).norm(dim=-1).amax(-1)
    outside = torch.nonzero(~(radius < placement.bounding_sphere)).flatten().tolist()
    if outside:
        named = [f"{names[frame] if names else frame} (at {radius[frame]:.2f})" for frame in outside[:_NAMED_FRAMES]]
        more = f" and {len(outside) - len(named)} more" if len(outside) > len(named) else ""
        raise InputError(
            f"scene placement: the {what} leaves the sphere of radius {placement.bounding_sphere:g} in "
            f"{len(outside)} of {len(radius)} frames: {', '.join(named)}{more}; expected hand and object inside it in "
            "every frame. Check the alignment of these frames, leave them out, or use the shift 'safe'"
        )


def hand_to_world(hand_cam: HandInFrame, root_rest_m: Float[Tensor, "3"], placement: ScenePlacement) -> HandInFrame:
    """R' = D R, t' = D (J0 + t) - J0 + shift, with the wrist J0 of the shaped hand at rest."""
    t = hand_cam.translation_m
    moved = _flip(t) * (root_rest_m + t) - root_rest_m + placement.shift_like(t)
    return HandInFrame(_flip_wrist(hand_cam.rotvec), moved)


def hand_to_cam(hand_world: HandInFrame, root_rest_m: Float[Tensor, "3"], placement: ScenePlacement) -> HandInFrame:
    """The inverse of `hand_to_world`: R = D R', t = D (J0 + t' - shift) - J0."""
    t = hand_world.translation_m
    moved = _flip(t) * (root_rest_m + t - placement.shift_like(t)) - root_rest_m
    return HandInFrame(_flip_wrist(hand_world.rotvec), moved)


def object_to_world(object_cam: ObjectInFrame, placement: ScenePlacement) -> ObjectInFrame:
    """[R' | t'] = D [R | t], + shift on t'."""
    rotation, t = object_cam
    return ObjectInFrame(_flip(t)[:, None] * rotation, _flip(t) * t + placement.shift_like(t))


def object_to_cam(object_world: ObjectInFrame, placement: ScenePlacement) -> ObjectInFrame:
    """The inverse of `object_to_world`: [R | t] = D [R' | t' - shift]."""
    rotation, t = object_world
    return ObjectInFrame(_flip(t)[:, None] * rotation, _flip(t) * (t - placement.shift_like(t)))


def predict_in_camera(
    model: HandModel,
    *,
    hand_world: HandInFrame,
    shape: Float[Tensor, " shape"],
    object_world: ObjectInFrame,
    object_scale: float | Float[Tensor, ""],
    normalised_from_sfm: Float[Tensor, "4 4"],
    object_vertices_canonical: Float[Tensor, "vertex 3"],
    placement: ScenePlacement,
) -> CameraPrediction:
    """Poses learned in the world and a mesh of the object's unit sphere as meshes in OpenCV camera metres.

    The hand is the hand model at the learned poses, as in HOLD's evaluation, not the mesh of its SDF; the object's own
    frame is that of SfM, times sigma. Source: facts/hold.md 1.9, 4.
    """
    root_rest_m = rest_joints_m(model, shape)[0]
    in_cam = hand_to_cam(hand_world, root_rest_m, placement)
    frames = len(in_cam.rotvec)
    hand = skin(model, pose_rotvec=in_cam.rotvec, shape=shape.expand(frames, -1), translation_m=in_cam.translation_m)
    rotation, translation_m = object_to_cam(object_world, placement)
    last_row = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=rotation.dtype, device=rotation.device).expand(frames, 1, 4)
    sfm_from_normalised = torch.linalg.inv(normalised_from_sfm)
    vertices_sfm = object_vertices_canonical @ sfm_from_normalised[:3, :3].T + sfm_from_normalised[:3, 3]
    return CameraPrediction(
        object_vertices_m=object_scale * vertices_sfm,
        cam_from_object=torch.cat([torch.cat([rotation, translation_m[..., None]], -1), last_row], dim=-2),
        hand_vertices_cam_m=hand.vertices_m,
        hand_joints_cam_m=hand.keypoints_m,
    )


def _flip(like: Tensor) -> Float[Tensor, "3"]:
    return torch.tensor(_FLIP, dtype=like.dtype, device=like.device)


def _flip_wrist(rotvec: Float[Tensor, "frames 16 3"]) -> Float[Tensor, "frames 16 3"]:
    turned = roma.rotmat_to_rotvec(_flip(rotvec)[:, None] * roma.rotvec_to_rotmat(rotvec[:, 0]))
    return torch.cat([turned[:, None], rotvec[:, 1:]], dim=1)


def _median_of_medians(points: Float[Tensor, "frames point 3"]) -> np.ndarray:
    return np.median(np.median(points.double().cpu().numpy(), axis=1), axis=0)
