"""ICP finds known similarity transforms: of concave shapes, of shapes with near symmetries, from any rotation."""

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from handloom.evaluation.icp import (
    Similarity,
    align_meshes,
    fit_similarity,
    principal_rotations,
    similarity_icp,
    surface_samples,
)
from handloom.runtime.errors import InputError

RESTARTS = 60


def mug() -> trimesh.Trimesh:
    handle = trimesh.creation.torus(0.025, 0.006).apply_transform(
        trimesh.transformations.rotation_matrix(np.pi / 2, [1, 0, 0], [0, 0, 0])
    )
    body = trimesh.creation.annulus(0.03, 0.04, 0.1)
    return trimesh.util.concatenate([body, handle.apply_translation([0.05, 0, 0.02])]).subdivide_to_size(0.01)


def brick() -> trimesh.Trimesh:
    """Half-turns leave it almost as it was; a knob on one end tells them apart."""
    knob = trimesh.creation.box((0.02, 0.02, 0.02)).apply_translation([0.03, 0.015, 0.085])
    return trimesh.util.concatenate([trimesh.creation.box((0.1, 0.06, 0.16)), knob]).subdivide_to_size(0.01)


SHAPES = {"mug": mug, "brick": brick}


@pytest.mark.parametrize("shape", ["mug", "brick"])
@pytest.mark.parametrize("case", [0, 1])
def test_known_similarity_is_undone(shape: str, case: int) -> None:
    mesh = SHAPES[shape]()
    turn, scale = Rotation.random(rng=case).as_matrix(), (0.93, 1.08)[case]
    moved = scale * mesh.vertices @ turn.T + [0.1, -0.2, 0.6]
    found = align_meshes(moved, mesh.faces, mesh.vertices, mesh.faces, seed=1, restarts=RESTARTS)
    assert found.chamfer_cm2 < 0.05
    assert found.f5_pct > 99.9
    assert found.scale * scale == pytest.approx(1, abs=0.02)
    angle = np.rad2deg(Rotation.from_matrix(found.rotation @ turn).magnitude())
    assert angle < 3


def test_equal_meshes_have_distance_zero() -> None:
    mesh = mug()
    found = align_meshes(mesh.vertices + 0.3, mesh.faces, mesh.vertices, mesh.faces, seed=3, restarts=5)
    assert found.chamfer_cm2 == pytest.approx(0, abs=1e-12)
    assert found.f5_pct == pytest.approx(100, abs=1e-4)


def test_any_scale_also_undoes_sizes_beyond_the_reach_of_icp() -> None:
    mesh = brick()
    found = {
        any_scale: align_meshes(
            3 * mesh.vertices, mesh.faces, mesh.vertices, mesh.faces, seed=1, restarts=5, any_scale=any_scale
        ).chamfer_cm2
        for any_scale in (False, True)
    }
    assert found[True] < 0.02
    assert found[False] > 10 * found[True]


def test_result_depends_on_the_seed_alone() -> None:
    mesh = mug()
    moved = mesh.vertices @ Rotation.random(rng=5).as_matrix().T
    first, again, other = (
        align_meshes(moved, mesh.faces, mesh.vertices, mesh.faces, seed=seed, restarts=10) for seed in (1, 1, 2)
    )
    assert first.chamfer_cm2 == again.chamfer_cm2
    np.testing.assert_array_equal(first.rotation, again.rotation)
    assert first.chamfer_cm2 != other.chamfer_cm2


def test_different_shapes_stay_different() -> None:
    ball = trimesh.creation.icosphere(subdivisions=3, radius=0.05)
    found = align_meshes(
        ball.vertices, ball.faces, brick().vertices, brick().faces, seed=1, restarts=20, any_scale=True
    )
    assert found.chamfer_cm2 > 1
    assert found.f5_pct < 60


def test_fit_recovers_paired_points_and_ignores_the_others() -> None:
    random = np.random.default_rng(2)
    source = random.normal(size=(50, 3))
    turn = Rotation.random(2, rng=1).as_matrix()
    truth = Similarity(np.array([0.5, 2.0]), turn, random.normal(size=(2, 3)))
    target = truth.apply(source)
    paired = np.ones((2, 50), dtype=bool)
    paired[0, ::3] = False
    target[0, ::3] += 5
    found = fit_similarity(source, target, paired)
    for part, expected in zip(found, truth, strict=True):
        np.testing.assert_allclose(part, expected, atol=1e-10)
    rigid = fit_similarity(source, source[None] @ turn[:1].swapaxes(1, 2), paired[:1], scaled=False)
    np.testing.assert_allclose(rigid.rotation, turn[:1], atol=1e-10)


def test_fit_never_mirrors() -> None:
    source = np.random.default_rng(4).normal(size=(30, 3))
    found = fit_similarity(source, (source * [-1, 1, 1])[None], np.ones((1, 30), dtype=bool))
    assert np.linalg.det(found.rotation[0]) == pytest.approx(1)


def test_too_few_pairs_leave_a_start_where_it_is() -> None:
    points = np.random.default_rng(1).normal(size=(20, 3))
    start = Similarity(np.ones(1), np.eye(3)[None], np.array([[100.0, 0, 0]]))
    found = similarity_icp(points, points, start)
    np.testing.assert_array_equal(found.translation_m, start.translation_m)


def test_principal_axes_of_a_turned_shape_are_found_without_mirrors() -> None:
    source = np.random.default_rng(6).normal(size=(500, 3)) * [3, 2, 1]
    turn = Rotation.random(rng=7).as_matrix()
    rotations = principal_rotations(source, source @ turn.T)
    np.testing.assert_allclose(np.linalg.det(rotations), 1)
    assert np.abs(rotations - turn).max(axis=(1, 2)).min() < 1e-9


def test_samples_are_spread_evenly_and_lie_on_the_surface() -> None:
    vertices = np.array([[0.0, 0, 0], [3, 0, 0], [0, 3, 0], [10, 0, 0], [11, 0, 0], [10, 1, 0]])
    samples = surface_samples(vertices, np.array([[0, 1, 2], [3, 4, 5]]), 4000, np.random.default_rng(0))
    large = samples[samples[:, 0] < 5]
    assert len(large) / 4000 == pytest.approx(0.9, abs=0.02)
    np.testing.assert_allclose(large.mean(0), [1, 1, 0], atol=0.05)
    assert (large[:, :2].sum(1) <= 3 + 1e-9).all()


def test_a_mesh_without_area_is_refused() -> None:
    mesh = brick()
    with pytest.raises(InputError, match="no area"):
        align_meshes(np.zeros((3, 3)), np.array([[0, 1, 2]]), mesh.vertices, mesh.faces, seed=1, restarts=1)
