"""The file of poses that phases hand on: bit for bit, and refused for another video or hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from handloom.hand.models import open_hand
from handloom.reconstruction.tracks import SequencePoses, read_poses
from handloom.runtime.errors import InputError

from .held_box import FRAMES, MODEL, arrays, held_box, in_mirror

MODELS = {"right": MODEL}


def test_poses_on_disk_are_the_same_poses(tmp_path: Path) -> None:
    """Protects the file that phases hand on, bit for bit, and from the file of another video or hand."""
    path, poses = tmp_path / "poses.npz", held_box().poses
    poses.save(path, seed=3)
    torch.testing.assert_close(arrays(SequencePoses.load(path)), arrays(poses), atol=0, rtol=0)
    assert read_poses(path, FRAMES, MODELS)["right"].side == "right"
    with pytest.raises(InputError, match=r"poses\.npz: has 8 frames and 10 .* instead of 9, 10 .*run the phase again"):
        read_poses(path, FRAMES + 1, MODELS)
    replace(poses, side="left").save(path)
    with pytest.raises(InputError, match="of a left hand instead of"):
        read_poses(path, FRAMES, MODELS)


def test_poses_of_two_hands_are_one_file_with_the_object_once(tmp_path: Path) -> None:
    """Protects files of two hands: each hand's own arrays by its side, what they share once, everything bit for bit."""
    path, right = tmp_path / "poses.npz", held_box().poses
    other = in_mirror(right)
    left = replace(right, hand_rotvec=other.hand_rotvec, hand_translation_m=other.hand_translation_m, side="left")
    SequencePoses.save_each(path, {"right": right, "left": left}, seed=3)
    stored = set(np.load(path))
    assert {"right.hand_rotvec", "left.hand_rotvec", "object_rotvec"} <= stored
    assert not {"hand_rotvec", "right.object_rotvec"} & stored
    found = read_poses(path, FRAMES, {"right": MODEL, "left": open_hand("left")})
    for side, wanted in (("right", right), ("left", left)):
        torch.testing.assert_close(arrays(found[side]), arrays(wanted), atol=0, rtol=0)
        assert found[side].side == side
    with pytest.raises(InputError, match=r"poses\.npz: is of right and left, but one was expected"):
        SequencePoses.load(path)
    with pytest.raises(InputError, match="of a left hand instead of"):
        read_poses(path, FRAMES, MODELS)
