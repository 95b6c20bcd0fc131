"""Released checkpoints: read without running anything, loaded only when every name and shape is right."""

from pathlib import Path

import pytest
import torch

from handloom.hand.models import open_hand
from handloom.reconstruction.holdnet.checkpoint import load_strictly, read_checkpoint
from handloom.reconstruction.holdnet.model import HoldNet
from handloom.runtime.errors import InputError

from .scene import rays, same, small_model


def saved(folder: Path, model: HoldNet, **more: object) -> Path:
    """A file laid out as Lightning does."""
    path = folder / "last.ckpt"
    state = {f"model.{name}": value for name, value in model.state_dict().items()}
    torch.save({"epoch": 3, "global_step": 7, "state_dict": state, **more}, path)
    return path


@pytest.mark.parametrize("sides", [("right",), ("right", "left")])
def test_a_checkpoint_renders_as_the_model_that_wrote_it(tmp_path: Path, sides: tuple) -> None:
    model = small_model(*sides, seed=3).eval()
    with torch.no_grad():
        model.hand_node("right").params["pose"].weight.uniform_(-0.3, 0.3, generator=torch.Generator().manual_seed(1))
        model.object_node.encoding.alpha_iter.fill_(6)
    loaded, path = small_model(*sides, seed=4).eval(), saved(tmp_path, model)
    load_strictly(loaded, read_checkpoint(path), path, "HOLD-Net")
    with torch.no_grad():
        assert same(loaded(rays()).composite.colour, model(rays()).composite.colour)


def test_the_canonical_hand_follows_a_loaded_hand_model() -> None:
    """What was derived from the arrays before loading is not used afterwards."""
    model, other = small_model(), small_model(seed=1)
    with torch.no_grad():
        other.hand_node("right").server.human_layer.v_template.mul_(1.5)
        before = model.eval()(rays()).composite.colour
        load_strictly(model, other.state_dict(), Path("other"), "HOLD-Net")
        assert same(model(rays()).composite.colour, other.eval()(rays()).composite.colour)
        assert not same(model(rays()).composite.colour, before)


def test_what_does_not_fit_is_named_and_changes_nothing() -> None:
    model = small_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = {name: value + 1 for name, value in before.items()}
    state["nodes.ghost.weight"] = torch.zeros(1)
    del state["nodes.object.density.beta"]
    state["nodes.right.params.transl.weight"] = torch.zeros(5, 3)
    with pytest.raises(InputError) as caught:
        load_strictly(model, state, Path("last.ckpt"), "HOLD-Net of 3 frames")
    for piece in (
        "last.ckpt: does not fit HOLD-Net of 3 frames: ",
        "nodes.ghost.weight",
        "nodes.object.density.beta",
        "transl.weight (5, 3) for (3, 3)",
    ):
        assert piece in str(caught.value)
    assert all(same(value, before[name]) for name, value in model.state_dict().items())


class Trap:
    """A pickle that would create a file when opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def test_a_program_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    path = saved(tmp_path, small_model(), callbacks=Trap(tmp_path / "ran"))
    with pytest.raises(InputError, match=r"it asks to run .*, which is refused"):
        read_checkpoint(path)
    assert not (tmp_path / "ran").exists()


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_checkpoint(tmp_path / "none.ckpt")
    (tmp_path / "text.ckpt").write_text("not a checkpoint")
    with pytest.raises(InputError, match="cannot be read as HOLD's checkpoint"):
        read_checkpoint(tmp_path / "text.ckpt")
    torch.save({"weights": torch.zeros(1)}, tmp_path / "plain.ckpt")
    with pytest.raises(InputError, match=r"begins with `model\.`"):
        read_checkpoint(tmp_path / "plain.ckpt")
    torch.save({"state_dict": {"net.weight": torch.zeros(1)}}, tmp_path / "other.ckpt")
    with pytest.raises(InputError, match=r"begins with `model\.`"):
        read_checkpoint(tmp_path / "other.ckpt")


def test_the_hand_model_survives_its_buffers() -> None:
    hand, kept = open_hand(), small_model().hand_node("right").server.hand_model()
    for name in ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "faces", "hands_mean"):
        assert same(getattr(hand, name), getattr(kept, name)), name
    assert kept.tip_vertices == hand.tip_vertices
