"""The build folder of the held box, its template and its prior are made once, for both kinds of fields."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from handloom.reconstruction.compact.hand_template import template_of_build
from handloom.reconstruction.holdnet.hand_prior import hand_prior
from handloom.reconstruction.shape.object_shape import shape_of_build

from .held_box import write_small_build
from .holdnet.scene import PRIOR, small_settings


@pytest.fixture(autouse=True)
def one_thread_again() -> Iterator[None]:
    """Stages that were given threads leave PyTorch with them."""
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The build folder; tests only read it."""
    return write_small_build(tmp_path_factory.mktemp("held_box"))


@pytest.fixture(scope="session")
def template(build: Path) -> Path:
    """Its hand's template on 12 nodes a side; the object's shape on 16 lies beside it."""
    path = build.parent / "hand_template.npz"
    template_of_build(build, path, cells=12)
    hull = path.with_name("hull.npz"), path.with_name("hull_poses.npz")
    shape_of_build(build, path.with_name("shape.npz"), *hull, cells=16, points_reach=None)
    return path


@pytest.fixture(scope="session")
def prior(build: Path) -> Path:
    """Its hand's first shape for HOLD-Net, roughly."""
    path = build.parent / "hand_prior.safetensors"
    hand_prior(build, path, path.with_suffix(".json"), PRIOR, small_settings().sdf, seed=1)
    return path
