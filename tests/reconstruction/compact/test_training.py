"""Trainings: the loss falls, gradients reach all, a restored one goes on bit for bit; the terms in closed form."""

from typing import Any

import pytest
import torch
from torch import Tensor

from handloom.geometry.voxels import node_points
from handloom.reconstruction.compact.training import (
    FIRST_SEMANTIC_WEIGHT,
    HAND_PRIOR_WEIGHT,
    LAST_RATE_SHARE,
    LAST_SEMANTIC_WEIGHT,
    Losses,
    counted_rays,
    losses,
)
from handloom.reconstruction.compact.volume_renderer import FieldSamples, Rendered
from handloom.reconstruction.observations import BACKGROUND, CLASS_COUNT, CLASS_OF_SIDE, HAND, OBJECT, RayBatch
from handloom.runtime.errors import InputError

from ..held_box import held_box
from ..trainings import differences, through_a_file, totals
from .scene import small_settings, small_training

STEPS = 30
MOVING = ("hand_wrist", "hand_fingers", "hand_translation_m", "object_rotvec", "object_place_m")


@pytest.fixture(scope="module")
def uninterrupted() -> tuple[list[float], dict[str, Any]]:
    training = small_training(small_settings(STEPS))
    found = totals(training, STEPS)
    return found, through_a_file(training.state())


def test_training_lowers_the_loss(uninterrupted: tuple[list[float], dict[str, Any]]) -> None:
    """Protects the whole of phase 1: thirty steps make the rendering better."""
    found, _ = uninterrupted
    assert sum(found[-5:]) < 0.75 * sum(found[:5])


@pytest.mark.parametrize("stop", [3, 27])
def test_restored_training_goes_on_bit_for_bit(uninterrupted: tuple[list[float], dict[str, Any]], stop: int) -> None:
    """Protects resuming: early and late, and with the hands' snapshot of an earlier step."""
    losses_of_all, wanted = uninterrupted
    first = small_training(small_settings(STEPS))
    totals(first, stop)
    second = small_training(small_settings(STEPS))
    second.restore(through_a_file(first.state()))
    assert second.step == stop
    assert totals(second, STEPS - stop) == losses_of_all[stop:]
    assert differences(second.state(), wanted) == []


def test_the_seed_decides_the_training(uninterrupted: tuple[list[float], dict[str, Any]]) -> None:
    """Protects the use of the seed: another one draws other rays and other first colours."""
    assert totals(small_training(small_settings(STEPS), seed=4), 2) != uninterrupted[0][:2]


def test_gradient_reaches_both_fields_and_all_poses() -> None:
    """Protects what is learnt from being cut off; the object's surface stays, hand shape and scale are phase 2's."""
    training = small_training(small_settings(STEPS))
    scene, before = training.scene, training.scene.poses.snapshot()
    training.run_step()
    for part in (scene.object_field, scene.hands["right"].field):
        without = [name for name, p in part.named_parameters() if p.grad is None or not bool(p.grad.any())]
        assert without == ["distance"] * (part is scene.object_field)
    still = [name for name in MOVING if not bool(getattr(scene.poses.object, name).grad.any())]
    assert still == []
    before, after = before["right"], scene.poses.snapshot()["right"]
    assert not torch.equal(after.hand_rotvec, before.hand_rotvec)
    assert not torch.equal(after.object_translation_m, before.object_translation_m)
    assert torch.equal(after.hand_shape, before.hand_shape)
    assert torch.equal(after.object_scale, before.object_scale)


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
    training = small_training(small_settings(4))
    shares = []
    for _ in range(4):
        training.run_step()
        shares.append({round(group["lr"] / group["rate"], 6) for group in training.optimiser.param_groups})
    cosine = (1.0, 0.5**0.5, 0.0, -(0.5**0.5))
    assert shares == [{round(LAST_RATE_SHARE + (1 - LAST_RATE_SHARE) * 0.5 * (1 + value), 6)} for value in cosine]


def test_a_loss_that_is_no_number_stops_the_training() -> None:
    """Protects results from NaN: the step is named, and the settings to lower; nothing is stepped."""
    training = small_training(small_settings(STEPS))
    with torch.no_grad():
        training.scene.hands["right"].field.distance.fill_(torch.nan)
    with pytest.raises(InputError, match=r"loss is nan at step 0: .*lower hold\.compact"):
        training.run_step()
    assert training.step == 0


def test_training_repairs_a_shifted_object() -> None:
    """Protects the sign of the poses' gradients through the renderer: a shifted object comes nearer to its place."""
    held = held_box()
    shift = torch.tensor([0.006, 0.0, 0.0])
    settings = small_settings(60).model_copy(update={"pose_rate": 3e-4, "rays": 256, "first_beta_m": 0.004})
    training = small_training(settings)  # its hull and its hand are those of the true poses
    with torch.no_grad():
        training.scene.poses.object.object_place_m += shift
    totals(training, 60)
    seen = [frame for frame in range(len(held.image_u8)) if int((held.class_u8[frame] == 1).sum()) > 100]
    left = (training.scene.poses.snapshot()["right"].object_translation_m - held.poses.object_translation_m)[seen, 0]
    assert len(seen) >= 4
    assert left.mean() < 0.7 * shift[0]


@pytest.mark.parametrize("name", ["hand_fingers", "object_place_m"])
def test_poses_that_diverge_between_losses_are_named(name: str) -> None:
    """Protects the search for neighbours, which takes no NaN: the step before a new snapshot of the hands is seen."""
    training = small_training(small_settings(60))
    training.step = 25
    with torch.no_grad():
        getattr(training.scene.poses.object, name)[0] = torch.nan
    with pytest.raises(InputError, match=rf"{name} hold NaN at step 25: .*lower hold\.compact"):
        training.run_step()
    assert training.step == 25


def test_two_trainings_on_two_threads_are_equal_bit_for_bit() -> None:
    """Protects killed and resumed trainings, and the seed's meaning: 768 rays are enough to be shared by threads."""
    settings = small_settings(2).model_copy(update={"rays": 768})
    torch.set_num_threads(2)
    states = []
    for _ in range(2):
        training = small_training(settings)
        totals(training, 2)
        states.append(torch.cat([value.flatten() for value in training.scene.poses.state_dict().values()]))
    assert torch.equal(*states)


CELLS = 6
FLAT = node_points(CELLS)[:, 0].view(1, CELLS, CELLS, CELLS)


def samples(rays: list[int]) -> FieldSamples:
    count = len(rays)
    plain = torch.zeros(count, 2)
    colour = torch.zeros(count, 2, 3)
    return FieldSamples(torch.tensor(rays), plain, plain, colour)


def batch(kinds: list[int]) -> RayBatch:
    rays = len(kinds)
    zeros = torch.zeros(rays, 3)
    return RayBatch(torch.zeros(rays, dtype=torch.long), zeros, zeros, torch.tensor(kinds), zeros)


def rendered(colour: Tensor, kinds: list[int], hand_rays: list[int]) -> Rendered:
    semantics = torch.eye(CLASS_COUNT)[kinds]
    return Rendered(colour, semantics, torch.zeros(len(kinds)), samples([0]), {"right": samples(hand_rays)})


def terms(wanted: RayBatch, found: Rendered, done: float = 0.0, hand: Tensor = FLAT) -> Losses:
    return losses(wanted, found, [(hand, FLAT)], done)


def test_a_perfect_rendering_costs_nothing() -> None:
    """Protects the minimum: every term is zero there, so no term pulls away from the truth."""
    kinds = [BACKGROUND, OBJECT, HAND]
    found = terms(batch(kinds), rendered(torch.zeros(3, 3), kinds, [2]))
    assert all(float(value) == pytest.approx(0, abs=1e-9) for value in vars(found).values())


def test_colour_error_is_summed_over_channels_and_averaged_over_rays() -> None:
    """Protects the colour's scale against the other terms."""
    colour = torch.tensor([[0.1, -0.2, 0.3], [0.0, 0.0, 0.0]])
    found = terms(batch([OBJECT, OBJECT]), rendered(colour, [OBJECT, OBJECT], [1]))
    assert float(found.colour) == pytest.approx(0.3)
    assert float(found.total) == pytest.approx(0.3)


@pytest.mark.parametrize("done", [0.0, 0.5, 1.0])
def test_semantic_weight_falls_with_the_training(done: float) -> None:
    """Protects the schedule: one of two rays shows the wrong class, a squared error of 2 on it."""
    weight = (1 - done) * FIRST_SEMANTIC_WEIGHT + done * LAST_SEMANTIC_WEIGHT
    found = terms(batch([OBJECT, HAND]), rendered(torch.zeros(2, 3), [BACKGROUND, HAND], [1]), done)
    assert float(found.semantic) == pytest.approx(weight * 2 / 2)


def test_the_forearm_does_not_count() -> None:
    """Protects the fields from the arm, which no model shows: hand labels far from the hand are left out."""
    kinds = [HAND, HAND, OBJECT, BACKGROUND]
    shown = rendered(torch.ones(4, 3), [BACKGROUND, HAND, OBJECT, BACKGROUND], [1])
    assert counted_rays(batch(kinds), shown).tolist() == [False, True, True, True]
    found = terms(batch(kinds), shown)
    assert float(found.semantic) == 0
    assert float(found.colour) == pytest.approx(3.0)


def test_a_hand_that_is_not_reconstructed_does_not_count() -> None:
    """Protects fields from a second marked hand: its pixels are neither hand, object nor background."""
    kinds = [HAND, CLASS_OF_SIDE["left"], OBJECT]
    shown = rendered(torch.ones(3, 3), [HAND, HAND, OBJECT], [0, 1])
    assert counted_rays(batch(kinds), shown).tolist() == [True, False, True]
    both = shown._replace(hands={"right": samples([0]), "left": samples([1])})
    assert counted_rays(batch(kinds), both).tolist() == [True, True, True]


def test_hand_prior_is_cut_at_one_centimetre() -> None:
    """Protects the template's hold on the hand's surface only: half a centimetre near it counts half, far away none."""
    template_at_zero = torch.zeros_like(FLAT)

    def prior(hand: Tensor, template: Tensor) -> float:
        shown = rendered(torch.zeros(1, 3), [OBJECT], [0])
        return float(losses(batch([OBJECT]), shown, [(hand, template)], 0.0).hand_prior) / HAND_PRIOR_WEIGHT

    assert prior(template_at_zero + 0.005, template_at_zero) == pytest.approx(0.5)
    assert prior(template_at_zero + 0.05, template_at_zero) == pytest.approx(1.0)
    assert prior(template_at_zero + 0.05, template_at_zero + 0.02) == 0


def test_no_object_samples_and_no_counted_rays_are_no_nan() -> None:
    """Protects small batches: a mean over nothing is zero."""
    shown = rendered(torch.ones(1, 3), [HAND], [])
    nothing = FieldSamples(*(value[:0] for value in samples([0])))
    found = terms(batch([HAND]), shown._replace(object=nothing, hands={"right": nothing}))
    assert float(found.total) == pytest.approx(0, abs=1e-9)
