"""A hand fitted too far away or too near is brought to the size it has in its masks, forearm and object or not."""

import cv2
import numpy as np
import pytest
import torch

from handloom.geometry.camera import project
from handloom.hand.mano import skin
from handloom.hand.models import open_hand
from handloom.reconstruction.apparent_size import distance_factor

INTRINSICS = np.array([[300.0, 0, 160], [0, 300, 120], [0, 0, 1]])
MODEL = open_hand()


def _posed(turns: list[float], depth_m: float):
    pose = torch.zeros(len(turns), 16, 3)
    pose[:, 0] = torch.tensor([[1.4, 0.3 * turn, turn] for turn in turns])
    shape = torch.zeros(len(turns), MODEL.shape_count)
    posed = skin(
        MODEL, pose_rotvec=pose, shape=shape, translation_m=torch.tensor([0.05, 0.0, depth_m]).expand(len(turns), -1)
    )
    return posed.vertices_m.double().numpy(), posed.keypoints_m.double().numpy()


def _masks(folder, vertices, keypoints):
    """The filled hand with a forearm behind the wrist, and an object in front of its fingers."""
    files = []
    for index, (hand, joints) in enumerate(zip(vertices, keypoints, strict=True)):
        mask = np.zeros((240, 320), np.uint8)
        pixels, ends = (project(x, INTRINSICS) for x in (hand, joints))
        for face in MODEL.faces.numpy():
            cv2.fillConvexPoly(mask, np.rint(pixels[face]).astype(np.int32), 150)
        elbow = ends[0] - 3 * (ends[9] - ends[0])
        cv2.line(mask, np.rint(ends[0]).astype(int).tolist(), np.rint(elbow).astype(int).tolist(), 150, 24)
        cv2.circle(mask, np.rint(ends[12]).astype(int).tolist(), 14, 50, -1)
        files.append(folder / f"{index:04d}.png")
        cv2.imwrite(str(files[-1]), mask)
    return files


@pytest.mark.parametrize("fitted_m", [0.4, 0.5, 0.6])
def test_distance_follows_from_the_masks(tmp_path, fitted_m):
    turns = [-0.6, 0.0, 0.5]
    files = _masks(tmp_path, *_posed(turns, 0.5))
    factor = distance_factor(*_posed(turns, fitted_m), MODEL.faces.numpy(), INTRINSICS, files, 150)
    assert factor == pytest.approx(0.5 / fitted_m, rel=0.05)


def test_masks_without_the_hand_say_nothing(tmp_path):
    files = _masks(tmp_path, *_posed([0.0], 0.5))
    assert distance_factor(*_posed([0.0], 0.5), MODEL.faces.numpy(), INTRINSICS, files, 250) is None
