"""Frames, pixels and rays of a training step: the published shares, absent entities, look-ups between pixels."""

import math

import pytest
import torch
from torch import Tensor

from handloom.reconstruction.holdnet.rays import (
    classes_of_labels,
    frame_pairs,
    sample_bilinear,
    sample_classes,
    sample_classes_nearest,
    sample_pixels,
    sphere_exit,
)
from handloom.runtime.errors import InputError

OBJECT, RIGHT, LEFT = 50.0, 150.0, 250.0
HEIGHT, WIDTH = 40, 60
BOXES = {OBJECT: (2, 3, 10, 12), RIGHT: (30, 5, 40, 15), LEFT: (45, 30, 55, 36)}


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(4)


def mask(*labels: float) -> Tensor:
    image = torch.zeros(HEIGHT, WIDTH)
    for label in labels:
        x0, y0, x1, y1 = BOXES[label]
        image[y0 : y1 + 1, x0 : x1 + 1] = label
    return image


def in_box(uv: Tensor, label: float) -> Tensor:
    x0, y0, x1, y1 = BOXES[label]
    return (uv[:, 0] >= x0) & (uv[:, 0] <= x1) & (uv[:, 1] >= y0) & (uv[:, 1] <= y1)


def test_shares_of_object_hand_and_image() -> None:
    uv = sample_pixels(torch.stack([mask(OBJECT, RIGHT)] * 2), 128, generator=generator())
    assert uv.shape == (2, 128, 2)
    for image in uv:
        assert bool(in_box(image[:57], OBJECT).all())
        assert bool(in_box(image[57:115], RIGHT).all())
        rest = image[115:]
        assert bool(((rest >= 0) & (rest <= torch.tensor([WIDTH - 1, HEIGHT - 1]))).all())
        assert float(rest.std(0).min()) > 5
    assert not torch.equal(uv, uv.round()), "coordinates are real"


def test_two_hands_halve_the_share() -> None:
    uv = sample_pixels(mask(OBJECT, RIGHT, LEFT)[None], 128, generator=generator())[0]
    assert bool(in_box(uv[:57], OBJECT).all())
    assert bool(in_box(uv[57:86], RIGHT).all())
    assert bool(in_box(uv[86:115], LEFT).all())


@pytest.mark.parametrize("label", [OBJECT, RIGHT, LEFT])
def test_the_share_of_what_is_absent_goes_to_what_is_there(label: float) -> None:
    uv = sample_pixels(mask(label)[None], 128, generator=generator())[0]
    assert bool(in_box(uv[:115], label).all())


def test_without_an_object_two_hands_share_all() -> None:
    uv = sample_pixels(mask(RIGHT, LEFT)[None], 128, generator=generator())[0]
    assert 55 <= int(in_box(uv[:115], RIGHT).sum()) <= 60
    assert bool((in_box(uv[:115], RIGHT) | in_box(uv[:115], LEFT)).all())


def test_an_empty_mask_is_sampled_everywhere() -> None:
    uv = sample_pixels(mask()[None], 500, generator=generator())[0]
    assert float(uv[:, 0].max()) > 0.95 * WIDTH
    assert float(uv[:, 1].min()) < 0.05 * HEIGHT


def test_images_differ_and_the_seed_decides() -> None:
    masks = torch.stack([mask(OBJECT), mask(RIGHT), mask()])
    uv = sample_pixels(masks, 20, generator=generator())
    assert torch.equal(uv, sample_pixels(masks, 20, generator=generator()))
    assert bool(in_box(uv[0, :18], OBJECT).all())
    assert bool(in_box(uv[1, :18], RIGHT).all())


def test_an_epoch_of_the_published_size() -> None:
    steps = list(frame_pairs(300, items=2000, batch=5, generator=generator()))
    assert len(steps) == 400
    assert all(len(step) == 10 for step in steps)
    assert all(torch.equal(step[1::2], step[::2] + 1) for step in steps)


def test_every_pair_comes_before_one_comes_again() -> None:
    first = torch.cat([step[::2] for step in frame_pairs(8, items=14, batch=4, generator=generator())])
    assert sorted(first[:7].tolist()) == sorted(first[7:].tolist()) == list(range(7))


def test_exit_of_a_sphere_and_cameras_outside_it() -> None:
    origin, direction = torch.tensor([[0.0, 0.0, 2.0]]), torch.tensor([[0.0, 0.6, -0.8]])
    distance = sphere_exit(origin, direction)
    assert math.isclose(float((origin + distance[:, None] * direction).norm()), 6.0, rel_tol=1e-6)
    with pytest.raises(InputError, match=r"7\.00 from the scene's centre"):
        sphere_exit(torch.tensor([[0.0, 0.0, 7.0]]), direction)


def test_labels_at_thresholds() -> None:
    labels = torch.tensor([0, 24.9, 25, 99.9, 100, 199.9, 200, 250])
    assert classes_of_labels(labels).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_edge_of_a_hand_is_object_only_to_interpolation() -> None:
    mask = torch.zeros(1, 2, 4)
    mask[..., 2:] = 150
    uv = torch.tensor([[[1.4, 0.5], [0.2, 0.1], [3.0, 1.0]]])
    assert sample_classes(mask, uv).tolist() == [[1, 0, 2]]
    assert sample_classes_nearest(mask, uv).tolist() == [[0, 0, 2]]


def test_an_image_of_one_row_has_values() -> None:
    found = sample_bilinear(torch.ones(1, 1, 1, 3), torch.zeros(1, 1, 2))
    assert math.isclose(float(found.sum()), 3.0)
