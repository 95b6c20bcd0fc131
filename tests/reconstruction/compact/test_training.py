"""Trainings: the loss falls, gradients reach fields and poses, and a restored one goes on bit for bit."""

from typing import Any

import pytest
import torch

from handloom.reconstruction.compact.training import CompactTraining
from handloom.runtime.errors import InputError

from ..training_state import flat, through_a_file  # noqa: TID252 (the tests are no package)
from .scene import held_box, small_settings, small_training

STEPS = 30
MOVING = ("hand_wrist", "hand_fingers", "hand_translation_m", "object_rotvec", "object_place_m")


def trained(training: CompactTraining, steps: int) -> list[float]:
    return [float(training.run_step().total.detach()) for _ in range(steps)]


@pytest.fixture(scope="module")
def uninterrupted() -> tuple[list[float], dict[str, Any]]:
    training = small_training(small_settings(STEPS))
    totals = trained(training, STEPS)
    return totals, through_a_file(training.state())


def test_training_lowers_the_loss(uninterrupted: tuple[list[float], dict[str, Any]]) -> None:
    """Protects the whole of phase 1: thirty steps from the visual hull make the rendering better."""
    totals, _ = uninterrupted
    assert sum(totals[-5:]) < 0.75 * sum(totals[:5])


@pytest.mark.parametrize("stop", [3, 27])
def test_restored_training_goes_on_bit_for_bit(uninterrupted: tuple[list[float], dict[str, Any]], stop: int) -> None:
    """Protects resuming: before and after the finer grid, and with the hands' snapshot of an earlier step."""
    totals, wanted = uninterrupted
    first = small_training(small_settings(STEPS))
    trained(first, stop)
    second = small_training(small_settings(STEPS))
    second.restore(through_a_file(first.state()))
    assert second.step == stop
    assert trained(second, STEPS - stop) == totals[stop:]
    found, expected = flat(second.state()), flat(wanted)
    assert found.keys() == expected.keys()
    different = [
        name
        for name, value in expected.items()
        if not (torch.equal(found[name], value) if isinstance(value, torch.Tensor) else found[name] == value)
    ]
    assert different == []


def test_the_seed_decides_the_training(uninterrupted: tuple[list[float], dict[str, Any]]) -> None:
    """Protects the use of the seed: another one draws other rays and other first colours."""
    assert trained(small_training(small_settings(STEPS), seed=4), 2) != uninterrupted[0][:2]


def test_gradient_reaches_both_fields_and_all_poses() -> None:
    """Protects every learnable thing from being cut off; shape and scale are phase 2's and stay."""
    training = small_training(small_settings(STEPS))
    scene, before = training.scene, training.scene.poses.arrays()
    training.run_step()
    for part in (scene.object_field, scene.hand_field):
        without = [name for name, p in part.named_parameters() if p.grad is None or not bool(p.grad.any())]
        assert without == []
    still = [name for name in MOVING if not bool(getattr(scene.poses, name).grad.any())]
    assert still == []
    after = scene.poses.arrays()
    assert not torch.equal(after.hand_rotvec, before.hand_rotvec)
    assert not torch.equal(after.object_translation_m, before.object_translation_m)
    assert torch.equal(after.hand_shape, before.hand_shape)
    assert torch.equal(after.object_scale, before.object_scale)


def test_grids_become_finer_on_schedule() -> None:
    """Protects coarse-to-fine: the last size has the last third of the steps."""
    training = small_training(small_settings(6, (10, 12, 14)))
    sizes = []
    for _ in range(6):
        training.run_step()
        sizes.append(training.scene.object_field.distance.shape[-1])
    assert sizes == [10, 10, 10, 12, 12, 14]


def test_surfaces_become_sharper_at_a_constant_rate() -> None:
    """Protects beta's schedule: its first and last value, and their geometric mean half-way."""
    training = small_training(small_settings(10))
    settings = training.settings
    assert training.beta_m == pytest.approx(settings.first_beta_m)
    training.step = 5
    assert training.beta_m == pytest.approx((settings.first_beta_m * settings.last_beta_m) ** 0.5)
    training.step = 10
    assert training.beta_m == pytest.approx(settings.last_beta_m)


def test_rates_fall_along_half_a_cosine() -> None:
    """Protects the last steps from jumping: they are taken at the last share of each group's own rate."""
    settings = small_settings(4, (10,)).model_copy(update={"last_rate_share": 0.2})
    training = small_training(settings)
    shares = []
    for _ in range(4):
        training.run_step()
        shares.append({round(group["lr"] / group["rate"], 6) for group in training.optimiser.param_groups})
    cosine = (1.0, 0.5**0.5, 0.0, -(0.5**0.5))
    assert shares == [{round(0.2 + 0.8 * 0.5 * (1 + value), 6)} for value in cosine]


def test_a_loss_that_is_no_number_stops_the_training() -> None:
    """Protects results from NaN: the step is named, and the settings to lower; nothing is stepped."""
    training = small_training(small_settings(STEPS))
    with torch.no_grad():
        training.scene.object_field.distance.fill_(torch.nan)
    with pytest.raises(InputError, match=r"loss is nan at step 0: .*lower hold\.compact"):
        training.run_step()
    assert training.step == 0


def test_training_repairs_a_shifted_object() -> None:
    """Protects the sign of the poses' gradients through the renderer: a shifted object comes nearer to its place."""
    held = held_box()
    shift = torch.tensor([0.006, 0.0, 0.0])
    settings = small_settings(60, (16,)).model_copy(update={"pose_rate": 3e-4, "rays": 256, "first_beta_m": 0.004})
    training = small_training(settings)  # its hull and its hand are those of the true poses
    with torch.no_grad():
        training.scene.poses.object_place_m += shift
    trained(training, 60)
    seen = [frame for frame in range(len(held.image_u8)) if int((held.class_u8[frame] == 1).sum()) > 100]
    left = (training.scene.poses.arrays().object_translation_m - held.poses.object_translation_m)[seen, 0]
    assert len(seen) >= 4
    assert left.mean() < 0.7 * shift[0]
