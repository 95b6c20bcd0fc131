"""What a phase predicts: the object's metric mesh with its poses, and the posed hand, in OpenCV camera metres."""

from pathlib import Path

import numpy as np
import roma
import torch

from handloom.hand.mano import HandModel, skin
from handloom.reconstruction.build_folder import read_build
from handloom.reconstruction.compact.object_mesh import read_object_mesh
from handloom.reconstruction.compact.scene_input import read_poses
from handloom.runtime.artifacts import Header, write_arrays

PREDICTIONS = "hold_predictions"


def write_predictions(model: HandModel, build: Path, poses: Path, mesh: Path, output: Path, *, code: str = "") -> None:
    """Stage: the hand is the posed model, as in HOLD's evaluation, not the surface of its field (facts/hold.md 4)."""
    scene = read_build(build, {model.side: model})
    names = scene.names
    found, shape = read_poses(poses, len(names), model.shape_count), read_object_mesh(mesh)
    with torch.no_grad():
        hand = skin(
            model,
            pose_rotvec=found.hand_rotvec,
            shape=found.hand_shape.expand(len(found.hand_rotvec), -1),
            translation_m=found.hand_translation_m,
        )
    cam_from_object = torch.eye(4).repeat(len(names), 1, 1)
    cam_from_object[:, :3, :3] = roma.rotvec_to_rotmat(found.object_rotvec)
    cam_from_object[:, :3, 3] = found.object_translation_m
    arrays = {
        "names": np.array(names),
        "object_vertices_m": shape.vertices * float(found.object_scale),
        "object_faces": shape.faces.astype(np.int32),
        "cam_from_object": cam_from_object.numpy(),
        "intrinsics": scene.cameras.intrinsics[0].double().numpy(),
        "hand_vertices_cam_m": hand.vertices_m.numpy(),
        "hand_joints_cam_m": hand.keypoints_m.numpy(),
        "hand_faces": model.faces.numpy().astype(np.int32),
    }
    write_arrays(output, arrays, Header(PREDICTIONS, units="m", frame="camera", joint_order="SNAP", code=code))
