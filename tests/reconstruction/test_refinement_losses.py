"""The refinement's mask terms in closed form, and masks that leave nothing to compare."""

import numpy as np
import pytest
import torch

from handloom.datasets.mask_labels import LEFT_HAND, OBJECT, RIGHT_HAND
from handloom.reconstruction.refinement_losses import crop_hand_masks, mask_loss, resize_masks


def test_mask_error_is_the_mean_over_pixels_not_hidden() -> None:
    labels = torch.zeros(2, 4, 5, dtype=torch.uint8)
    labels[0, 0] = RIGHT_HAND
    labels[1, 1, :2] = OBJECT
    soft = torch.zeros(2, 4, 5)
    soft[0, 0] = 1.0  # behind the hand: does not count
    soft[0, 1, 0] = 0.5
    soft[1, 1, 0] = 1.0
    loss = mask_loss(soft, labels, OBJECT, (RIGHT_HAND, LEFT_HAND))
    assert loss.item() == pytest.approx(1000 * (0.5 + 1.0) / 35)


def test_a_wholly_hidden_mask_is_no_error_and_has_a_finite_slope() -> None:
    labels = torch.full((1, 3, 3), RIGHT_HAND, dtype=torch.uint8)
    soft = torch.full((1, 3, 3), 0.3, requires_grad=True)
    loss = mask_loss(soft, labels, OBJECT, (RIGHT_HAND,))
    loss.backward()
    assert loss.item() == 0
    assert soft.grad is not None
    assert soft.grad.abs().sum() == 0


def test_resized_camera_projects_to_the_resized_pixel() -> None:
    labels = torch.zeros(3, 40, 60, dtype=torch.uint8)
    cameras = torch.tensor([[[70.0, 0, 30], [0, 70, 20], [0, 0, 1]]])
    small, resized = resize_masks(labels, cameras, 15)
    assert small.shape == (3, 10, 15)
    point = torch.tensor([0.2, -0.1, 2.0])
    full, reduced = cameras[0] @ point, resized[2, :3, :3] @ point
    torch.testing.assert_close(reduced[:2] / reduced[2], full[:2] / full[2] / 4)


def test_cropping_touches_the_named_hand_alone_and_copes_with_boxes_beyond_the_image() -> None:
    labels = np.full((1, 20, 30), RIGHT_HAND, np.uint8)
    labels[0, :, :3] = LEFT_HAND
    labels[0, :2] = OBJECT
    cropped = crop_hand_masks(labels, np.array([[-50.0, -50, 10, 10]]), 1.0)
    np.testing.assert_array_equal(cropped[labels != RIGHT_HAND], labels[labels != RIGHT_HAND])
    kept = np.argwhere(cropped[0] == RIGHT_HAND)
    assert kept.max() == 9
