"""The losses of HOLD's released pose refinement (code/src/fitting), number for number, and its mask preparation.

Nothing of handloom runs them: its phase 2 is the paper's. They are kept as what the golden numbers say.

Lengths are in the scaled camera space of HOLD: metres times the scene scale. Masks are soft silhouettes in 0..1,
targets are label images: background 0, object 50, right hand 150, left hand 250. Terms have the names of the file.
"""

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from handloom.datasets.masks import LEFT_HAND, OBJECT, RIGHT_HAND
from handloom.geometry.camera import project
from handloom.geometry.neighbours import NeighbourSearch

Terms = dict[str, Float[Tensor, ""]]
"""The weighted terms and, as `loss`, their sum."""
MASK_WEIGHT = 1000.0
CONTACT_WEIGHT = 100.0
TWO_HANDS_CONTACT_WEIGHT = 0.05
TWO_HANDS_LEAST_CONTACT = 4.0
"""With two hands a mean squared distance below this does not count: the term is off in practice."""


def squared_contact(points: Float[Tensor, "frames points 3"], surface: Float[Tensor, "frames vertices 3"]) -> Tensor:
    """Mean squared distance to the nearest vertex, in scaled units."""
    _, nearest = NeighbourSearch(surface).nearest(points, 1)
    return (points - surface.gather(1, nearest.expand(-1, -1, 3))).square().sum(-1).mean()


def mask_loss(
    soft_mask: Float[Tensor, "frames height width"],
    labels: UInt8[Tensor, "frames height width"],
    label: int,
    hidden_by: tuple[int, ...],
) -> Float[Tensor, ""]:
    """1000 sum |m - [l = label]| v / sum v, where v leaves out the pixels of what may hide the entity.

    The sums run over all frames, so a frame weighs as much as it is seen. Zero when no pixel is left.
    """
    counted = ~torch.isin(labels, torch.tensor(hidden_by, dtype=labels.dtype, device=labels.device))
    error = (soft_mask - (labels == label).to(soft_mask)).abs()
    return MASK_WEIGHT * (error * counted).sum() / counted.sum().clamp(min=1)


def summed(terms: Terms) -> Terms:
    return {**terms, "loss": torch.stack(list(terms.values())).sum()}


def one_hand_loss(
    hand_contact: Float[Tensor, "frames points 3"],
    object_vertices: Float[Tensor, "frames vertices 3"],
    hand_mask: Float[Tensor, "frames height width"],
    object_mask: Float[Tensor, "frames height width"],
    labels: UInt8[Tensor, "frames height width"],
    hand_label: int = RIGHT_HAND,
) -> Terms:
    """Both masks, each without the pixels of the other entity, and 100 times the mean squared contact distance."""
    of_object = mask_loss(object_mask, labels, OBJECT, (hand_label,))
    of_hand = mask_loss(hand_mask, labels, hand_label, (OBJECT,))
    contact = CONTACT_WEIGHT * squared_contact(hand_contact, object_vertices)
    return summed({"mask_o": of_object, "mask_h": of_hand, "fine_ho": contact})


def two_hands_loss(
    hands: list[Float[Tensor, "frames vertices 3"]],
    object_vertices: Float[Tensor, "frames object 3"],
    contact_index: Int[Tensor, " contact"],
    object_mask: Float[Tensor, "frames height width"],
    labels: UInt8[Tensor, "frames height width"],
    intrinsics: Float[Tensor, "frames 4 4"],
    targets_px: list[Tensor] | None = None,
) -> tuple[Terms, list[Tensor]]:
    """The object's mask, the mean squared shift of right and left hand in the image (px2), and their contact.

    Without targets, the first call's vertices become them, so that nothing has shifted yet; they are given back.
    """
    pixels = [project(vertices, intrinsics[:, :3, :3]) for vertices in hands]
    targets_px = [each.detach() for each in pixels] if targets_px is None else targets_px
    terms = {"mask_o": mask_loss(object_mask, labels, OBJECT, (RIGHT_HAND, LEFT_HAND))}
    for side, vertices, seen, target in zip("rl", hands, pixels, targets_px, strict=True):
        terms[f"v2d_{side}"] = (seen - target).square().mean()
        distance = squared_contact(vertices[:, contact_index], object_vertices)
        terms[f"contact_{side}o"] = TWO_HANDS_CONTACT_WEIGHT * distance * (distance >= TWO_HANDS_LEAST_CONTACT)
    return summed(terms), targets_px


def resize_masks(
    labels: UInt8[Tensor, "frames height width"], intrinsics: Float[Tensor, "#frames 3 3"], long_side_px: int
) -> tuple[UInt8[Tensor, "frames small_height small_width"], Float[Tensor, "frames 4 4"]]:
    """Label images whose long side is `long_side_px` (nearest pixel), and the camera that goes with them.

    All of the first two rows of K scale by the one ratio of the long sides; K becomes 4 x 4.
    """
    height, width = labels.shape[1:]
    ratio = long_side_px / max(height, width)
    size = (int(height * ratio), int(width * ratio))
    small = torch.nn.functional.interpolate(labels[:, None].float(), size=size, mode="nearest")[:, 0]
    cameras = torch.eye(4).to(intrinsics).repeat(len(labels), 1, 1)
    cameras[:, :3, :3] = intrinsics
    cameras[:, :2, :3] *= ratio
    return small.to(labels.dtype), cameras


def crop_hand_masks(
    labels: UInt8[np.ndarray, "frames height width"],
    boxes_px: Float[np.ndarray, "frames 4"],
    shrink: float,
    hand_label: int = RIGHT_HAND,
) -> UInt8[np.ndarray, "frames height width"]:
    """The labels without the hand's pixels outside a square about its box: the forearm goes.

    The square has the centre of the box (x1, y1, x2, y2) and `shrink` times its longer side (HO3D: 0.6); its bounds
    are truncated to pixels and kept within the image, the last one excluded (so its last row and column always go, as
    in the reference). Other labels stay.
    """
    height, width = labels.shape[1:]
    centre = (boxes_px[:, :2] + boxes_px[:, 2:]) / 2
    half = (boxes_px[:, 2:] - boxes_px[:, :2]).max(axis=1, keepdims=True) / 2 * shrink
    last = np.array([width - 1, height - 1])
    low, high = (np.clip(np.trunc(bound).astype(int), 0, last) for bound in (centre - half, centre + half))
    column, row = np.arange(width), np.arange(height)
    inside_x = (column >= low[:, :1]) & (column < high[:, :1])
    inside_y = (row >= low[:, 1:]) & (row < high[:, 1:])
    outside = ~(inside_y[:, :, None] & inside_x[:, None, :])
    return np.where((labels == hand_label) & outside, 0, labels).astype(labels.dtype)
