"""From a `build/` folder to what the compact reconstruction works on: everything in the camera's frame, in metres."""

from pathlib import Path
from typing import NamedTuple

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from handloom.hand.mano import HandModel, rest_joints_m
from handloom.reconstruction.build_folder import read_build, read_pictures
from handloom.reconstruction.build_scene import BuildScene
from handloom.reconstruction.compact.classes import CLASS_OF_LABEL
from handloom.reconstruction.compact.observations import Observations
from handloom.reconstruction.compact.scene_poses import ObjectCube, PoseArrays
from handloom.reconstruction.scene_placement import HandInFrame, ObjectInFrame, hand_to_cam, object_to_cam
from handloom.runtime.artifacts import Header, write_arrays
from handloom.runtime.errors import InputError
from handloom.runtime.finite_arrays import read_finite_arrays

POSES = "scene_poses"


class SceneInput(NamedTuple):
    """The video, the first poses, and the cube that the object lies in."""

    names: tuple[str, ...]
    observations: Observations
    poses: PoseArrays
    cube: ObjectCube
    points_unit: Float[Tensor, "points 3"]
    """The SfM points in the cube's unit: its sides are at -1 and 1."""


def read_scene(build: Path, model: HandModel, cube_margin: float) -> SceneInput:
    """Read a build folder with one hand of the model's side.

    The object's cube is the SfM points' sphere, enlarged by `cube_margin`. Raises InputError for a folder without that
    hand or with different cameras per frame.
    """
    scene = read_build(build, {model.side: model})
    images, labels = read_pictures(scene)
    classes = torch.full((256,), 255, dtype=torch.uint8)
    for label, kind in CLASS_OF_LABEL.items():
        classes[label] = kind
    class_u8 = classes[torch.from_numpy(labels).long()]
    if bool((class_u8 == 255).any()):
        odd = sorted(set(torch.from_numpy(labels)[class_u8 == 255].tolist()))
        raise InputError(f"{build}/mask: labels {odd[:5]} are none of {sorted(CLASS_OF_LABEL)}; convert the masks")
    intrinsics = scene.cameras.intrinsics.float()
    if not bool(torch.allclose(intrinsics, intrinsics[:1], rtol=1e-4)):
        raise InputError(f"{build}: its frames have different intrinsics; the compact reconstruction takes one camera")
    return SceneInput(
        scene.names,
        Observations.of(torch.from_numpy(images), class_u8, intrinsics[0]),
        poses_of(scene, model),
        object_cube(scene.object.normalised_from_sfm, cube_margin),
        scene.object.points_canonical.float() / cube_margin,
    )


def poses_of(scene: BuildScene, model: HandModel) -> PoseArrays:
    """The poses of a build folder in OpenCV camera metres."""
    hand, thing = scene.hands[model.side], scene.object
    root = rest_joints_m(model, hand.shape.float())[0]
    hand_cam = hand_to_cam(HandInFrame(hand.rotvec.float(), hand.translation_m.float()), root, scene.placement)
    rotation = roma.rotvec_to_rotmat(thing.rotvec.float())
    object_cam = object_to_cam(ObjectInFrame(rotation, thing.translation_m.float()), scene.placement)
    return PoseArrays(
        hand_cam.rotvec,
        hand.shape.float(),
        hand_cam.translation_m,
        roma.rotmat_to_rotvec(object_cam.rotation),
        object_cam.translation_m,
        torch.tensor(float(thing.scale)),
    )


def object_cube(normalised_from_sfm: Float[Tensor, "4 4"], margin: float) -> ObjectCube:
    """The cube around the unit sphere of norm_mat, `margin` times as large."""
    matrix = normalised_from_sfm.float()
    radius = 1.0 / float(matrix[0, 0])
    return ObjectCube(-matrix[:3, 3] * radius, margin * radius)


def write_poses(path: Path, poses: PoseArrays, *, seed: int | None = None, code: str = "") -> None:
    """Write poses as an artifact."""
    arrays = {name: value.numpy() for name, value in poses._asdict().items()}
    write_arrays(
        path, arrays, Header(POSES, units="m, rad", frame="camera", joint_order="MANO16", seed=seed, code=code)
    )


def read_poses(path: Path, frames: int | None = None, shape_count: int | None = None) -> PoseArrays:
    """Read what `write_poses` wrote.

    Raises InputError when something is missing or not finite, or when the numbers of frames or of shape coefficients
    are not those expected.
    """
    arrays, _ = read_finite_arrays(path, POSES, PoseArrays._fields)
    found = arrays["hand_rotvec"].shape[0]
    wanted = {
        "hand_rotvec": (found if frames is None else frames, 16, 3),
        "hand_shape": (len(arrays["hand_shape"]) if shape_count is None else shape_count,),
        **dict.fromkeys(("hand_translation_m", "object_rotvec", "object_translation_m"), (frames or found, 3)),
        "object_scale": (),
    }
    odd = [
        f"{name} {arrays[name].shape} instead of {shape}"
        for name, shape in wanted.items()
        if arrays[name].shape != shape
    ]
    if odd:
        raise InputError(
            f"{path}: has {', '.join(odd)}; it belongs to another video or hand model, run the phase again"
        )
    return PoseArrays(*(torch.from_numpy(arrays[name]).float() for name in PoseArrays._fields))
