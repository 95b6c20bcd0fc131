"""The file of poses that phases hand on: bit for bit, and refused for another video or hand."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from handloom.reconstruction.tracks import SequencePoses, read_poses
from handloom.runtime.errors import InputError

from .held_box import FRAMES, MODEL, arrays, held_box


def test_poses_on_disk_are_the_same_poses(tmp_path: Path) -> None:
    """Protects the file that phases hand on, bit for bit, and from the file of another video or hand."""
    path, poses = tmp_path / "poses.npz", held_box().poses
    poses.save(path, seed=3)
    torch.testing.assert_close(arrays(SequencePoses.load(path)), arrays(poses), atol=0, rtol=0)
    assert read_poses(path, FRAMES, MODEL).side == "right"
    with pytest.raises(InputError, match=r"poses\.npz: has 8 frames and 10 .* instead of 9, 10 .*run the phase again"):
        read_poses(path, FRAMES + 1, MODEL)
    replace(poses, side="left").save(path)
    with pytest.raises(InputError, match="of a left hand instead of"):
        read_poses(path, FRAMES, MODEL)
