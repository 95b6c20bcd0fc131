"""Rays, projection and shading agree with each other."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from handloom.demo.people import FACES, MODEL, TOPOLOGY, place_hand, random_person
from handloom.demo.renderer import Environment, Mesh, Scene, Topology, project_from_world

INTRINSICS = np.array([[200.0, 0.0, 80.3], [0.0, 210.0, 59.6], [0.0, 0.0, 1.0]])
SKY = Environment(np.array([[0.0, 0.0, -1.0]]), np.array([[1.0]]))


def _triangle(depth_m: float, label: int) -> Mesh:
    vertices = depth_m * np.array([[-0.2, -0.2, 1.0], [0.2, -0.2, 1.0], [0.0, 0.25, 1.0]])
    return Mesh(Topology(np.array([[0, 2, 1]]), 3), vertices, np.full((3, 1), 0.5, np.float32), np.array([label]), 0.0)


def test_the_nearer_surface_is_seen_at_its_depth() -> None:
    scene = Scene([_triangle(0.8, 1), _triangle(0.5, 2)], SKY)
    view = scene.view(np.eye(3, 4), INTRINSICS, 160, 120)
    assert set(np.unique(view.label[view.mask])) == {2}
    np.testing.assert_allclose(view.depth_m[view.mask], 0.5, atol=1e-5)


def test_projected_vertices_lie_inside_the_window_and_at_the_pictures_corners() -> None:
    pose = np.concatenate([Rotation.from_rotvec([0.1, -0.15, 0.5]).as_matrix(), [[0.02], [0.02], [0.5]]], axis=1)
    mesh = _triangle(0.5, 1)
    scene = Scene([mesh], SKY)
    view = scene.view(pose, INTRINSICS, 160, 120)
    pixels, _ = project_from_world(mesh.vertices, pose, INTRINSICS)
    row, column = np.nonzero(view.mask)
    seen = np.stack([column + view.columns.start, row + view.rows.start], axis=1)
    assert (pixels > 0).all()
    assert (pixels < (159, 119)).all()
    assert np.abs(seen.min(0) - pixels.min(0)).max() < 1.5
    assert np.abs(seen.max(0) - pixels.max(0)).max() < 1.5


def test_a_surface_facing_away_from_the_light_is_dark() -> None:
    behind = Environment(np.array([[0.0, 0.0, 1.0]]), np.array([[1.0]]))
    lit, dark = (Scene([_triangle(0.5, 1)], light).view(np.eye(3, 4), INTRINSICS, 160, 120) for light in (SKY, behind))
    assert lit.radiance[lit.mask].mean() > 0.4
    assert dark.radiance[dark.mask].mean() < 0.01


@pytest.mark.parametrize("is_left", [False, True])
def test_hand_and_forearm_form_one_closed_surface_that_looks_outwards(is_left: bool) -> None:
    """An outward surface has positive volume; a mirrored hand with unturned faces would have a negative one."""
    track = place_hand(
        random_person(np.random.default_rng(0)),
        finger_pose=np.zeros((1, 15, 3)),
        world_from_wrist=np.eye(3)[None],
        wrist_m=np.zeros((1, 3)),
        elbow_m=np.array([[0.25, 0.02, 0.0]]),
        is_left=is_left,
    )
    faces = (TOPOLOGY.left if is_left else TOPOLOGY.right)[0].faces
    vertices = track.vertices_m[0].astype(float)
    assert len(vertices) == TOPOLOGY.vertex_count > len(MODEL.v_template)
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    _, counts = np.unique(edges, axis=0, return_counts=True)
    assert (counts == 2).all()
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    volume_l = 1000 * (a * np.cross(b, c)).sum() / 6
    assert 0.2 < volume_l < 3.0
    assert len(faces) > len(FACES)
