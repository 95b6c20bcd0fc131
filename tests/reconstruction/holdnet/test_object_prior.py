"""The object's first shape: near the one that stereo found, and where phases start."""

from pathlib import Path

import torch

from handloom.reconstruction.build_folder import read_build
from handloom.reconstruction.holdnet.canonical_targets import MESH_MARGIN, object_mesh
from handloom.reconstruction.holdnet.object_prior import object_prior
from handloom.reconstruction.holdnet.phases import started_net
from handloom.reconstruction.object_mesh import surface
from handloom.reconstruction.observations import CUBE_MARGIN
from handloom.reconstruction.shape.object_shape import ObjectShape
from handloom.runtime.config.fields import HandPriorSettings
from handloom.runtime.files import read_json

from ..held_box import MODEL
from .scene import small_settings


def test_a_phase_starts_from_the_shape_that_stereo_found(
    build: Path, template: Path, prior: Path, tmp_path: Path
) -> None:
    """Protects the start: 200 steps of a small network lay its zero level within 5 mm of the shape's box."""
    path, shape = tmp_path / "object_prior.safetensors", template.with_name("shape.npz")
    settings, sizes = HandPriorSettings(steps=200, points=512, pool=6000), small_settings()
    object_prior(
        build, shape, path, path.with_suffix(".json"), settings=settings, sizes=sizes.sdf, barf=sizes.barf, seed=1
    )
    found = read_json(path.with_suffix(".json"))
    assert found["near_mean_mm"] < 3
    assert found["wrong_side_pct"] < 10
    scene = read_build(build, {"right": MODEL})
    net = started_net(sizes, scene, MODEL, prior, None, None, 1, path)
    start = MESH_MARGIN * torch.from_numpy(object_mesh(net.object_node.implicit_network, 32).vertices)
    wanted = CUBE_MARGIN * torch.from_numpy(surface(ObjectShape.load(shape).distance).vertices)
    unit_m = float(scene.object.scale) / float(scene.normalised_from_sfm[0, 0])
    assert float((start.amin(0) - wanted.amin(0)).abs().amax()) * unit_m < 0.005
    assert float((start.amax(0) - wanted.amax(0)).abs().amax()) * unit_m < 0.005
