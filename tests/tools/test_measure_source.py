"""Errors of a source network on a rendered world: which hands are in which group, and figures of both headsets."""

from pathlib import Path

import numpy as np
import pytest

from handloom.estimators.detnet.checkpoint import load_checkpoint
from handloom.runtime.assets import checkpoint_path
from measure_source import World, groups, render_world, table


@pytest.mark.parametrize(("down", "palm"), [(True, True), (False, True), (False, False)])
def test_hands_are_told_by_palm_and_fingers(down: bool, palm: bool) -> None:
    """A right hand's rest axes are x from the fingers to the wrist, y out of its back, z towards the thumb."""
    keypoints = np.zeros((21, 3))
    keypoints[5], keypoints[9], keypoints[17] = (-0.09, 0, 0.02), (-0.095, 0, 0), (-0.08, 0, -0.04)
    fingers, back = np.array([0, 1.0 if down else -1.0, 0]), np.array([0, 0, 1.0 if palm else -1.0])
    axes = np.stack([-fingers, back, np.cross(-fingers, back)])
    joints = (keypoints @ axes + [0, 0, 0.4])[None]
    headset = np.array(["headset1"])
    world = World(np.zeros((1, 256, 256), np.uint8), np.zeros(1, bool), joints, np.ones((1, 21)), headset)
    found = {name for name, here in groups(world).items() if here[0]}
    side = "palm towards the camera (within 60 degrees)" if palm else "back of the hand towards the camera"
    assert found == {side, "fingers down" if down else "fingers up in the picture", "all joints valid"}


def test_a_world_has_figures_of_both_headsets(tmp_path: Path) -> None:
    world = render_world(5, 2, tmp_path)
    lines = table(load_checkpoint(checkpoint_path("package:detnet_small_cross.safetensors")), [5], [world], 2)
    cells = [float(cell) for cell in next(line for line in lines if line.startswith("| 5 |")).split("|")[2:4]]
    assert all(5 < cell < 100 for cell in cells)
