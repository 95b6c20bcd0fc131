"""The losses of the pose refinement against the reference's: c08 of the golden set."""

import numpy as np
import pytest
import torch

from handloom.datasets.mask_labels import LABEL_OF
from handloom.reconstruction.refinement_losses import (
    crop_hand_masks,
    one_hand_loss,
    resize_masks,
    two_hands_loss,
)
from handloom.reconstruction.sealed_hand import wrist_cap

from .hold_files import hold_arrays, hold_tensors, random_hand

RTOL = 1e-4


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    return hold_tensors("c08_pose_refine")


@pytest.mark.parametrize("side", ["right", "left"])
def test_one_hand_loss(golden: dict[str, torch.Tensor], side: str) -> None:
    loss = one_hand_loss(
        golden[f"in_{side}_v3d_c"][:, golden["contact_idx"]],
        golden["in_object_v3d_c"],
        golden[f"in_{side}_mask"],
        golden["in_object_mask"],
        golden["target_labels"],
        LABEL_OF[side],
    )
    names = {"object_mask": "mask_o", "hand_mask": "mask_h", "contact": "fine_ho", "total": "loss"}
    for ours, theirs in names.items():
        assert getattr(loss, ours).item() == pytest.approx(golden[f"{side}_{theirs}"].item(), rel=RTOL), ours


def test_two_hands_loss_remembers_where_the_hands_were_at_its_first_call(golden: dict[str, torch.Tensor]) -> None:
    right, left = golden["in_right_v3d_c"], golden["in_left_v3d_c"]
    fixed = (
        *(golden["in_object_v3d_c"], golden["contact_idx"], golden["in_object_mask"]),
        *(golden["target_labels"], golden["K"]),
    )
    first, targets = two_hands_loss(right, left, *fixed)
    shifted, _ = two_hands_loss(right + golden["two_shift"].float(), left, *fixed, targets)
    names = {
        "object_mask": "mask_o",
        "right_shift": "v2d_r",
        "left_shift": "v2d_l",
        "right_contact": "contact_ro",
        "left_contact": "contact_lo",
        "total": "loss",
    }
    for tag, loss in (("two_first", first), ("two_after_shift", shifted)):
        for ours, theirs in names.items():
            expected = golden[f"{tag}_{theirs}"].item()
            assert getattr(loss, ours).item() == pytest.approx(expected, rel=RTOL), (tag, ours)


@pytest.mark.parametrize("side", [30, 77])
def test_masks_and_camera_are_resized_together(golden: dict[str, torch.Tensor], side: int) -> None:
    masks, cameras = resize_masks(golden["resize_in"], golden["resize_K_in"], side)
    assert torch.equal(masks, golden[f"resize_out{side}"])
    torch.testing.assert_close(cameras, golden[f"resize_K{side}"], rtol=RTOL, atol=0)


@pytest.mark.parametrize(("shrink", "name"), [(0.6, "crop_out_s06"), (1.0, "crop_out_s10")])
def test_hand_masks_lose_the_forearm(shrink: float, name: str) -> None:
    golden = hold_arrays("c08_pose_refine")
    cropped = crop_hand_masks(golden["resize_in"], golden["crop_boxes"], shrink)
    np.testing.assert_array_equal(cropped, golden[name])


def test_sealed_vertex_is_the_mean_of_the_wrist_ring(golden: dict[str, torch.Tensor]) -> None:
    hand = random_hand()
    cap = wrist_cap(hand.faces, len(hand.v_template))
    sealed = cap.sealed(golden["in_right_v3d_c"])
    torch.testing.assert_close(sealed[:, -1], golden["sealed_vertex_right"], rtol=RTOL, atol=1e-6)
    assert len(cap.faces) == len(hand.faces) + len(cap.ring)
