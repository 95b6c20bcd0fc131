"""The headsets' geometry is that of the real ones."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from handloom.datasets.assembly_hands import HEADSET_CAMERAS
from handloom.demo.rig import HEADSETS

PAIRS = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
# facts/s2dhand.md section 5, angle of R_gt.
REAL_ANGLES_DEG = {
    "headset1": (165.4, 95.8, 79.3, 80.2, 96.7, 20.4),
    "headset2": (165.7, 96.1, 80.2, 79.7, 95.5, 19.8),
}


def _pair_rotations(name: str) -> Rotation:
    """R12 = R_w2c,1 R_w2c,2^T of the six pairs, for a head that is turned somehow."""
    rig = HEADSETS[name]
    head = Rotation.random(rng=np.random.default_rng(3)).as_matrix()
    cameras = rig.cameras_from_world(head[None], np.array([[0.1, 0.2, 0.3]]))[0, :, :, :3]
    return Rotation.from_matrix(np.stack([cameras[a] @ cameras[b].T for a, b in PAIRS]))


@pytest.mark.parametrize("name", HEADSETS)
def test_relative_rotations_are_those_of_the_real_headset(name: str) -> None:
    angles = np.degrees(_pair_rotations(name).magnitude())
    assert np.abs(angles - REAL_ANGLES_DEG[name]).max() < 1.0


def test_headsets_differ_by_one_or_two_degrees_in_every_pair() -> None:
    difference = np.degrees((_pair_rotations("headset1").inv() * _pair_rotations("headset2")).magnitude())
    assert difference.min() > 0.5
    assert difference.max() < 2.5


@pytest.mark.parametrize("name", HEADSETS)
def test_no_camera_and_no_pair_is_aligned_with_an_axis(name: str) -> None:
    """Exact zeros in a rotation make the reference's camera helper return a reflection (facts 2.4)."""
    rotations = np.concatenate([HEADSETS[name].camera_from_head, _pair_rotations(name).as_matrix()])
    assert np.abs(rotations).min() > 1e-4
    # A turn about one coordinate axis has an entry of 1.
    assert np.abs(rotations).max() < 0.9999


@pytest.mark.parametrize("name", HEADSETS)
def test_optical_axes_stay_close_to_straight_ahead(name: str) -> None:
    ahead = HEADSETS[name].camera_from_head[:, 2, 2]
    assert np.degrees(np.arccos(ahead)).max() < 25


@pytest.mark.parametrize("name", HEADSETS)
def test_extrinsics_put_each_camera_where_the_rig_says(name: str) -> None:
    rig = HEADSETS[name]
    head = Rotation.random(rng=np.random.default_rng(5)).as_matrix()
    position = np.array([0.3, -0.2, 0.5])
    extrinsics = rig.cameras_from_world(head[None], position[None])[0]
    centres = -np.einsum("cji,cj->ci", extrinsics[:, :, :3], extrinsics[:, :, 3])
    np.testing.assert_allclose((centres - position) @ head.T, rig.camera_position_m, atol=1e-12)


def test_camera_names_are_those_the_reader_expects() -> None:
    assert {name: rig.camera_names for name, rig in HEADSETS.items()} == HEADSET_CAMERAS
