"""Light that walls pass on to each other, where the answer is known."""

import numpy as np
import trimesh

from handloom.demo.interreflection import interreflection


def test_a_closed_hollow_gathers_the_geometric_sum_and_its_outside_nothing() -> None:
    """In a closed sphere all rays meet a wall: E = E_direct (1 + rho + rho^2 + ...)."""
    sphere = trimesh.creation.icosphere(subdivisions=2, radius=0.03)
    vertices, faces = np.asarray(sphere.vertices), np.asarray(sphere.faces)
    reflectance = np.full((len(vertices), 3), [0.5, 0.3, 0.0])
    direct = np.ones_like(reflectance, dtype=np.float32)
    outward = np.asarray(sphere.vertex_normals)
    inside = interreflection(vertices, -outward, faces, reflectance).lit(direct)
    np.testing.assert_allclose(inside, np.broadcast_to(1 / (1 - reflectance[:1]), inside.shape), rtol=0.01)
    np.testing.assert_array_equal(interreflection(vertices, outward, faces, reflectance).lit(direct), direct)
