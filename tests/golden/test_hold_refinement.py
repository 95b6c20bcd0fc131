"""The losses of HOLD's released pose refinement, and the hand's sealed wrist, against the reference's numbers."""

import numpy as np
import pytest
import torch

from handloom.datasets.masks import LABEL_OF
from handloom.geometry.surfaces import hole_cap

from .hold_files import hold_arrays, hold_tensors, random_hand
from .released_refinement import crop_hand_masks, one_hand_loss, resize_masks, two_hands_loss

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
    for name in ("mask_o", "mask_h", "fine_ho", "loss"):
        assert loss[name].item() == pytest.approx(golden[f"{side}_{name}"].item(), rel=RTOL), name


def test_two_hands_loss_remembers_where_the_hands_were_at_its_first_call(golden: dict[str, torch.Tensor]) -> None:
    right, left = golden["in_right_v3d_c"], golden["in_left_v3d_c"]
    fixed = [golden[name] for name in ("in_object_v3d_c", "contact_idx", "in_object_mask", "target_labels", "K")]
    first, targets = two_hands_loss([right, left], *fixed)
    shifted, _ = two_hands_loss([right + golden["two_shift"].float(), left], *fixed, targets)
    for tag, loss in (("two_first", first), ("two_after_shift", shifted)):
        for name in ("mask_o", "v2d_r", "v2d_l", "contact_ro", "contact_lo", "loss"):
            assert loss[name].item() == pytest.approx(golden[f"{tag}_{name}"].item(), rel=RTOL), (tag, name)


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
    cap = hole_cap(hand.faces, len(hand.v_template))
    sealed = cap.sealed(golden["in_right_v3d_c"])
    torch.testing.assert_close(sealed[:, -1], golden["sealed_vertex_right"], rtol=RTOL, atol=1e-6)
    assert len(cap.faces) == len(hand.faces) + len(cap.ring)
