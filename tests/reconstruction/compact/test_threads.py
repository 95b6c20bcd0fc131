"""Equal runs give equal bits on several CPU threads too, where plain indexing adds in an order left to chance."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from handloom.reconstruction.compact.frame_rows import frame_rows
from handloom.reconstruction.compact.object_mesh import write_object_mesh
from handloom.reconstruction.compact.phases import refine_poses
from handloom.reconstruction.compact.scene_input import write_poses
from handloom.runtime.config.refinement import RefinementSettings
from handloom.runtime.devices import computing_on
from handloom.runtime.errors import InputError

from .scene import MODEL, held_box, small_settings, small_training


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("shape", [(3,), (16, 3, 4), (0,)])
def test_rows_and_their_derivative_are_those_of_indexing(shape: tuple[int, ...]) -> None:
    """Protects poses and codes: values and slopes as `table[frame]` has them on one thread."""
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(5, *shape, generator=generator, requires_grad=True)
    frame = torch.randint(5, (400,), generator=generator)
    weight = torch.randn(400, *shape, generator=generator)
    torch.set_num_threads(1)
    slopes = [torch.autograd.grad((weight * rows).sum(), table)[0] for rows in (frame_rows(table, frame), table[frame])]
    assert torch.equal(frame_rows(table, frame), table[frame])
    assert torch.equal(*slopes)


def test_two_trainings_are_equal_bit_for_bit() -> None:
    """Protects killed and resumed trainings, and the seed's meaning: 768 rays are enough to be shared by threads."""
    settings = small_settings(4).model_copy(update={"rays": 768})
    states = []
    for _ in range(3):
        training = small_training(settings)
        for _ in range(4):
            training.run_step()
        states.append(torch.cat([value.flatten() for value in training.scene.poses.state_dict().values()]))
    assert torch.equal(states[0], states[1])
    assert torch.equal(states[0], states[2])


def test_two_refinements_are_equal_byte_for_byte(build: Path, tmp_path: Path) -> None:
    """Protects phase 2 in the same way."""
    held = held_box()
    write_poses(tmp_path / "poses.npz", held.poses)
    write_object_mesh(tmp_path / "mesh.npz", held.mesh_unit, held.cube, seed=0)
    given = build, tmp_path / "poses.npz", tmp_path / "mesh.npz"
    outputs = [tmp_path / f"{name}.npz" for name in ("first", "second", "third")]
    for output in outputs:
        settings = RefinementSettings(steps=4, long_side_px=80)
        refine_poses(settings, 1.35, MODEL, *given, output, output.with_suffix(".csv"), threads=2)
    assert len({output.read_bytes() for output in outputs}) == 1
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_device_that_is_not_there_is_named() -> None:
    """Protects users without a GPU, or with a build of PyTorch that knows none."""
    number = torch.cuda.device_count()
    with (
        pytest.raises(InputError, match=rf"device: is cuda:{number}, but PyTorch .* finds {number} CUDA devices"),
        computing_on(f"cuda:{number}"),
    ):
        pass
