"""Trainings of HOLD-Net: the loss falls, gradients reach all that is learnt, a restored one goes on bit for bit."""

from pathlib import Path
from typing import Any

import pytest
import torch

from handloom.reconstruction.holdnet import training as training_module
from handloom.reconstruction.holdnet.losses import HoldLoss
from handloom.reconstruction.holdnet.training import HoldNetTraining
from handloom.runtime.errors import InputError

from ..trainings import differences, through_a_file, totals
from .scene import tiny_settings, tiny_training

STEPS = 8


def changed(training: HoldNetTraining, steps: int) -> set[str]:
    """The parameters that so many steps move, by the first parts of their names."""
    before = {name: value.detach().clone() for name, value in training.net.named_parameters()}
    totals(training, steps)
    return {name for name, value in training.net.named_parameters() if not torch.equal(value, before[name])}


def test_training_lowers_the_loss(build: Path, prior: Path) -> None:
    """Protects the whole of a phase: thirty steps make the rendering better, colours and classes alike."""
    training = tiny_training(build, prior, tiny_settings(hand_refresh_steps=1000, meshing_epochs=1000))
    for _ in range(30):
        training.note(training.run_step())
    for term in ("total", "rgb", "sem", "eikonal"):
        values = [row[term] for row in training.history]
        assert sum(values[-6:]) < 0.9 * sum(values[:6]), term
    assert training.skipped == 0


@pytest.fixture(scope="module")
def uninterrupted(build: Path, prior: Path) -> tuple[list[float], dict[str, Any]]:
    training = tiny_training(build, prior, tiny_settings())
    found = totals(training, STEPS)
    return found, through_a_file(training.state())


@pytest.mark.parametrize("stop", [1, 7])
def test_restored_training_goes_on_bit_for_bit(
    uninterrupted: tuple[list[float], dict[str, Any]], build: Path, prior: Path, stop: int
) -> None:
    """Protects resuming: before there are targets, and with surfaces of hand and object that are some steps old."""
    wanted, state = uninterrupted
    first = tiny_training(build, prior, tiny_settings())
    totals(first, stop)
    second = tiny_training(build, prior, tiny_settings())
    second.restore(through_a_file(first.state()))
    assert (second.targets.state()["object"] is not None) == (stop == 7)
    assert totals(second, STEPS - stop) == wanted[stop:]
    assert differences(second.state(), state) == []


def test_the_seed_decides_the_training(
    uninterrupted: tuple[list[float], dict[str, Any]], build: Path, prior: Path
) -> None:
    """Protects the use of the seed: another one draws other networks, frames and rays."""
    assert totals(tiny_training(build, prior, tiny_settings(), seed=4), 1) != uninterrupted[0][:1]


def test_a_phase_moves_networks_and_poses_and_leaves_the_scale(build: Path, prior: Path) -> None:
    """Protects every learnable thing from being cut off: both nodes, the background, codes, beta and all poses."""
    training = tiny_training(build, prior, tiny_settings(pairs=7))
    scale = training.net.object_node.server.object_model.obj_scale.clone()
    moved = changed(training, 4)
    learnable = {name for name, value in training.net.named_parameters() if value.requires_grad and value.numel()}
    # The object has no pose for its colours, and the hand's colours see a zero pose in the first epochs.
    still = {"nodes.object.rendering_network.lin_pose.bias", "nodes.right.rendering_network.lin_pose.weight"}
    assert learnable - moved == still
    assert torch.equal(training.net.object_node.server.object_model.obj_scale, scale)


def test_poses_that_may_not_move_stay(build: Path, prior: Path) -> None:
    """Protects the two groups of Adam: a rate of zero for poses stops all of them, and nothing else."""
    moved = changed(tiny_training(build, prior, tiny_settings(pose_rate=0.0)), 1)
    assert moved
    assert not [name for name in moved if ".params." in name]


def test_the_hand_has_its_target_from_the_first_step_on_when_fixed(build: Path, prior: Path) -> None:
    """Protects a difference between the two modes that the documentation names."""
    training = tiny_training(build, prior, tiny_settings(hand_refresh_steps=1000))
    assert float(training.run_step().mano_cano.detach()) > 0


def test_targets_appear_on_schedule(build: Path, prior: Path) -> None:
    """Protects the schedule: the hand's term from the first refresh, the object's opacity from the first meshing on."""
    settings = tiny_settings(hand_refresh_steps=3, meshing_epochs=1, fidelity="faithful")
    training = tiny_training(build, prior, settings)
    hand, thing = [], []
    for _ in range(7):
        loss = training.run_step()
        hand.append(float(loss.mano_cano.detach()) > 0)
        thing.append(training.targets.state()["object"] is not None)
    assert hand == [False] * 3 + [True] * 4
    assert thing == [False] * 5 + [True] * 2  # epochs have three steps, and the first one ends without a mesh


def test_every_pair_of_an_epoch_is_of_neighbours_and_epochs_differ(build: Path, prior: Path) -> None:
    """Protects the draw of frames, which resuming repeats from the step alone."""
    training = tiny_training(build, prior, tiny_settings())
    drawn = []
    for step in range(6):
        training.step = step
        drawn.append(training.frames())
    assert all(torch.equal(frames[1::2] - frames[::2], torch.ones(2, dtype=torch.long)) for frames in drawn)
    assert not all(torch.equal(drawn[step], drawn[step + 3]) for step in range(3))


def test_faithful_takes_the_released_losses_and_interpolated_labels(build: Path, prior: Path) -> None:
    """Protects the switch: the same rays, another eikonal term, and other classes at the masks' edges."""

    def first(**more: object) -> HoldLoss:
        return tiny_training(build, prior, tiny_settings(rays=64, **more)).run_step()

    fixed, faithful = first(), first(fidelity="faithful")
    assert fixed.eikonal is not None
    assert faithful.eikonal is None
    assert torch.equal(fixed.rgb, faithful.rgb)
    assert not torch.equal(fixed.sem, faithful.sem)


def test_gradients_are_shortened(build: Path, prior: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the clipping."""
    monkeypatch.setattr(training_module, "LARGEST_GRADIENT", 1e-3)
    training = tiny_training(build, prior, tiny_settings())
    training.run_step()
    norms = [value.grad.norm() for value in training.net.parameters() if value.grad is not None]
    assert float(torch.stack(norms).norm()) == pytest.approx(1e-3, rel=1e-3)


def test_gradients_that_are_no_numbers_change_nothing_and_end_a_training_that_has_no_others(
    build: Path, prior: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Protects long trainings from one bad step, counted and told, and the user from hours of nothing."""
    training = tiny_training(build, prior, tiny_settings(hand_refresh_steps=1000, meshing_epochs=1000))
    losses = HoldNetTraining._losses

    def bad(self: HoldNetTraining) -> HoldLoss:
        found = losses(self)
        return HoldLoss(**{**vars(found), "rgb": found.rgb * torch.nan})

    monkeypatch.setattr(HoldNetTraining, "_losses", bad)
    assert changed(training, 1) == set()
    assert (training.step, training.skipped) == (1, 1)
    assert "step 0: the gradient is not finite" in capsys.readouterr().err
    monkeypatch.setattr(HoldNetTraining, "_losses", losses)
    assert changed(training, 1)
    monkeypatch.setattr(HoldNetTraining, "_losses", bad)
    with pytest.raises(InputError, match=r"for the 10th time in a row: the training diverged; lower hold\.holdnet"):
        totals(training, 10)


def test_half_precision_colours_stay_near_the_full_ones(build: Path, prior: Path) -> None:
    """Protects the option: the loss changes by a hundredth at most, and distances not at all."""
    full, half = (tiny_training(build, prior, tiny_settings(precision=name)) for name in ("float32", "bfloat16"))
    terms = [training.run_step() for training in (full, half)]
    assert float(terms[1].rgb.detach()) == pytest.approx(float(terms[0].rgb.detach()), rel=0.01)
    assert not torch.equal(terms[1].rgb, terms[0].rgb)
    assert torch.equal(terms[1].sem, terms[0].sem)
