"""What a tool tells of some hands, in one form whatever it wrote, and the hand model posed by it."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import roma
import torch
from jaxtyping import Bool, Float64, Int

from handloom.estimators.hands.found import bone_lengths
from handloom.estimators.hands.meshes import mesh_joints_m
from handloom.hand.joints import MIRROR, Side
from handloom.hand.mano import HandModel, skin
from handloom.hand.mano_files import MANO_VERTEX_COUNT
from handloom.runtime.errors import InputError

_OF_MESH = 0.1
"""Of the bone 0-9: MANO's posed joints lie some millimetres from those that its regressor gives for the posed mesh."""
MANO_HOME = "https://mano.is.tue.mpg.de"


class ToolCamera(NamedTuple):
    """The camera by which a tool sees its hands: x_px = focal (X + t)_xy / (X + t)_z + centre, of each hand."""

    focal_px: Float64[np.ndarray, " hands"]
    centre_px: Float64[np.ndarray, "hands 2"]
    translation_m: Float64[np.ndarray, "hands 3"]

    def project(self, points_m: Float64[np.ndarray, "hands points 3"]) -> Float64[np.ndarray, "hands points 2"]:
        """Points in the tool's pixels."""
        points = points_m + self.translation_m[:, None]
        return self.focal_px[:, None, None] * points[..., :2] / points[..., 2:] + self.centre_px[:, None]


class ToolJoints(NamedTuple):
    """Hands of one side along the axes of cameras that look at their crops, in the tool's pixels."""

    keypoints_px: Float64[np.ndarray, "hands 21 2"]
    joints_m: Float64[np.ndarray, "hands 21 3"]
    """SNAP, of any origin."""
    vertices_m: Float64[np.ndarray, "hands vertices 3"] | None


@dataclass(frozen=True)
class ToolHands:
    """Hands of one side in some pictures, a row each; NaN where a picture shows none.

    Lengths and the first rotation are along the axes of a camera that looks at the hand's crop, which is all that the
    network behind the tool saw; pixels are those of the tool's pictures, their centres at whole numbers. Left hands are
    true to the picture, but for `rotations`: those pose MANO's right hand as the mirrored crop shows it.
    """

    where: Path
    side: Side
    pictures: tuple[str, ...]
    """Names of the rows' pictures; none where the tool tells none, and rows are in their order."""
    size_px: tuple[int, int] | None = None
    """Width and height of the tool's pictures, where it tells them."""
    tells_side: bool = True
    keypoints_px: Float64[np.ndarray, "hands 21 2"] | None = None
    joints_m: Float64[np.ndarray, "hands 21 3"] | None = None
    """SNAP, of any origin."""
    vertices_m: Float64[np.ndarray, "hands vertices 3"] | None = None
    rotations: Float64[np.ndarray, "hands 16 3 3"] | None = None
    """MANO's, each relative to its parent and to the flat hand, the first that of the whole hand."""
    shape: Float64[np.ndarray, "hands components"] | None = None
    camera: ToolCamera | None = None
    box_px: Float64[np.ndarray, "hands 4"] | None = None
    """The hand's crop, (x0, y0, x1, y1)."""

    def at(self, rows: Int[np.ndarray, " some"] | Bool[np.ndarray, " hands"]) -> "ToolHands":
        """Some of the hands."""
        names = tuple(np.array(self.pictures, object)[rows]) if self.pictures else ()
        arrays: dict[str, Any] = {}
        for name in (field.name for field in fields(self)):
            value = getattr(self, name)
            if isinstance(value, np.ndarray):
                arrays[name] = value[rows]
        camera = None if self.camera is None else ToolCamera(*(values[rows] for values in self.camera))
        return replace(self, pictures=names, camera=camera, **arrays)

    def __len__(self) -> int:
        arrays = (self.rotations, self.vertices_m, self.joints_m)
        return len(next(each for each in arrays if each is not None))

    @property
    def given(self) -> Bool[np.ndarray, " hands"]:
        """Which rows hold a hand."""
        arrays = (self.keypoints_px, self.joints_m, self.vertices_m, self.rotations, self.shape)
        whole = [np.isfinite(each).reshape(len(each), -1).all(1) for each in arrays if each is not None]
        return np.logical_and.reduce(whole)

    @property
    def needs_mano(self) -> str:
        """Why the tool's hands cannot be had without MANO; "" where they can."""
        if self.joints_m is not None:
            return ""
        what = "parameters" if self.rotations is not None else "mesh"
        return (
            f"holds MANO's {what} and no joints, which takes MANO's hand; set `mano` to the folder with MANO_RIGHT.pkl "
            f"({MANO_HOME}), or save the tool's 21 joints, too (pred_keypoints_3d)"
        )

    def of_model(self, hand_model: HandModel) -> ToolJoints:
        """Joints and key points, of MANO's hand as posed, else as the tool wrote them, else of the mesh that it wrote.

        All hands are `given`. Raises InputError where none is to be had, since the model is not MANO's, and for joints
        that are not those of the mesh beside them.
        """
        joints, vertices = self.joints_m, None
        if len(hand_model.v_template) == MANO_VERTEX_COUNT:
            if self.rotations is not None and self.shape is not None:
                joints, vertices = _skinned(self, hand_model)
            elif self.vertices_m is not None:
                vertices = self.vertices_m
                of_mesh = mesh_joints_m(torch.from_numpy(vertices), hand_model.to(dtype=torch.float64)).numpy()
                joints = of_mesh if joints is None else _of_mesh(self.where, joints, of_mesh)
        if joints is None:
            raise InputError(f"{self.where}: {self.needs_mano}")
        keypoints = self.keypoints_px
        if keypoints is None:
            assert self.camera is not None
            keypoints = self.camera.project(joints)
        return ToolJoints(keypoints, joints, vertices)


def _of_mesh(
    where: Path, joints_m: Float64[np.ndarray, "hands 21 3"], of_mesh_m: Float64[np.ndarray, "hands 21 3"]
) -> Float64[np.ndarray, "hands 21 3"]:
    """The joints, which a mesh's own lie near to; raises InputError where they do not."""
    apart = np.linalg.norm(joints_m - of_mesh_m, axis=-1).mean(1) / bone_lengths(of_mesh_m)
    if np.median(apart) > _OF_MESH:
        raise InputError(
            f"{where}: its joints are not those of its meshes, but {np.median(apart):.2g} palms away on average; give "
            "both of the same hands, and joints in the order of HOLD's files, MANO's"
        )
    return joints_m


def _skinned(
    hands: ToolHands, hand_model: HandModel
) -> tuple[Float64[np.ndarray, "hands 21 3"], Float64[np.ndarray, "hands vertices 3"]]:
    """MANO's right hand as posed, and its mirror image where the hands are left ones."""
    assert hands.rotations is not None
    assert hands.shape is not None
    if hands.shape.shape[1] != hand_model.shape_count:
        raise InputError(
            f"{hands.where}: has {hands.shape.shape[1]} shape coefficients, but the hand model "
            f"{hand_model.shape_count}; set `mano` to the published files ({MANO_HOME})"
        )
    posed = skin(
        hand_model.to(dtype=torch.float64),
        pose_rotvec=roma.rotmat_to_rotvec(torch.from_numpy(hands.rotations)),
        shape=torch.from_numpy(hands.shape),
        translation_m=torch.zeros(len(hands), 3, dtype=torch.float64),
    )
    flip = np.array(MIRROR if hands.side == "left" else (1.0, 1.0, 1.0))
    return posed.keypoints_m.numpy() * flip, posed.vertices_m.numpy() * flip
