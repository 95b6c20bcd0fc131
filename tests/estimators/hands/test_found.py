"""Found hands: turned into the camera's axes, brought to one size, spread over the frames."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from handloom.estimators.hands.found import (
    Answer,
    FoundHands,
    bone_lengths,
    camera_turns,
    certain,
    joined,
    pixel_rays,
)
from handloom.estimators.hands.squares import Squares

INTRINSICS = np.array([[300.0, 0, 160], [0, 300, 120], [0, 0, 1]])
CENTRES = np.array([[160.0, 120.0], [310.0, 60.0], [40.0, 200.0]])
generator = np.random.default_rng(1)
ANSWER = Answer(
    Squares(CENTRES, np.array([80.0, 90.0, 70.0]), np.array([0.0, 0.4, -1.0])),
    CENTRES[:, None] + generator.normal(scale=20, size=(3, 21, 2)),
    generator.normal(scale=0.05, size=(3, 21, 3)),
    certain(np.array([0.9, 0.7, 0.8])),
    np.array([0.9, 0.7, 0.8]),
    np.array([0.6, 0.7, 0.4]),
    generator.normal(scale=0.05, size=(3, 5, 3)),
)
ROWS = np.array([0, 2, 3])


def found(answer: Answer = ANSWER, camera: np.ndarray | None = INTRINSICS, **changes: object) -> FoundHands:
    choices = {"ray_share": 1.0, "bone_m": None, "side": "right", "network": "one", **changes}
    return FoundHands.of(answer, ROWS, 5, camera, **choices)  # type: ignore[arg-type]


def test_a_turn_leads_from_the_axis_to_the_squares_centre() -> None:
    turns = camera_turns(CENTRES, INTRINSICS)
    np.testing.assert_allclose(turns[0], np.eye(3), atol=1e-12)
    rays = turns @ [0, 0, 1] @ INTRINSICS.T
    np.testing.assert_allclose(rays[:, :2] / rays[:, 2:], CENTRES)
    np.testing.assert_allclose(pixel_rays(CENTRES, INTRINSICS), turns[..., 2])
    whole, half = (Rotation.from_matrix(camera_turns(CENTRES, INTRINSICS, share)) for share in (1.0, 0.5))
    np.testing.assert_allclose((half * half).as_matrix(), whole.as_matrix())
    np.testing.assert_allclose(camera_turns(CENTRES, INTRINSICS, 0.0), np.tile(np.eye(3), (3, 1, 1)), atol=1e-12)


def test_hands_are_turned_into_the_cameras_axes_about_their_wrists() -> None:
    hands = found()
    assert hands.found.tolist() == [True, False, True, True, False]
    turns = camera_turns(CENTRES, INTRINSICS)
    joints = np.einsum("nij,nkj->nki", turns, ANSWER.joints)
    np.testing.assert_allclose(hands.joints_cam[ROWS], joints - joints[:, :1], atol=1e-6)
    assert ANSWER.vertices is not None
    assert hands.vertices_cam is not None
    np.testing.assert_allclose(hands.vertices_cam[ROWS], np.einsum("nij,nkj->nki", turns, ANSWER.vertices), atol=1e-6)
    np.testing.assert_allclose(hands.rays_of(ROWS), pixel_rays(ANSWER.keypoints_px, INTRINSICS), atol=1e-6)
    for name in ("joints_cam", "keypoints_px", "vertices_cam", "side_px"):
        assert np.isnan(getattr(hands, name)[[1, 4]]).all()
    assert (hands.confidence[[1, 4]] == 0).all()
    assert (hands.presence[[1, 4]] == 0).all()
    np.testing.assert_array_equal(hands.squares(ROWS).centre_px, CENTRES)


def test_without_a_camera_joints_stay_in_the_pictures_axes() -> None:
    np.testing.assert_allclose(found(camera=None).joints_cam[ROWS], ANSWER.joints - ANSWER.joints[:, :1], atol=1e-6)
    with pytest.raises(AssertionError, match="without a camera have no rays"):
        found(camera=None).rays_of(ROWS)


def test_all_joints_get_one_size_and_meshes_keep_the_networks() -> None:
    sized, plain = found(bone_m=0.09), found()
    scale = 0.09 / np.sort(bone_lengths(ANSWER.joints))[1]  # the median hand has the nominal bone
    np.testing.assert_allclose(sized.joints_cam[ROWS], scale * plain.joints_cam[ROWS], rtol=1e-5)
    np.testing.assert_array_equal(sized.vertices_cam, plain.vertices_cam)


def test_found_hands_come_back_from_their_file(tmp_path: Path) -> None:
    for hands in (found(), found(ANSWER._replace(vertices=None), None, side="left")):
        hands.save(tmp_path / "hands.npz")
        again = FoundHands.load(tmp_path / "hands.npz")
        for name, value in vars(hands).items():
            np.testing.assert_equal(getattr(again, name), value)


def test_answers_one_after_the_other() -> None:
    rows = np.array([2, 0])
    both = joined([ANSWER.at(rows), ANSWER.at(np.array([1]))])
    np.testing.assert_array_equal(both.keypoints_px, ANSWER.keypoints_px[[2, 0, 1]])
    np.testing.assert_array_equal(both.squares.side_px, ANSWER.squares.side_px[[2, 0, 1]])
    assert both.vertices is not None
    none = joined([])
    assert none.joints.shape == (0, 21, 3)
    assert none.squares.centre_px.shape == (0, 2)
