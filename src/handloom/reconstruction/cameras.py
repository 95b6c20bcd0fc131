"""HOLD's cameras: projection matrices of the scaled world, taken apart, and look-ups at pixels (facts/hold.md 1.9).

Pixels are (x, y) with whole coordinates at pixel centres. Rays are those of `holdnet.rays`.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import grid_sample

from handloom.reconstruction.scene_placement import ScenePlacement
from handloom.runtime.errors import InputError

BACKGROUND, OBJECT, RIGHT, LEFT = range(4)
"""Classes of pixels, in the order of `MASK_LABELS`."""
LABEL_THRESHOLDS = (25, 100, 200)


class Cameras(NamedTuple):
    """Pinhole cameras of the scaled world; the camera's axes are OpenCV's."""

    intrinsics: Float[Tensor, "frames 3 3"]
    world_from_cam: Float[Tensor, "frames 4 4"]


def world_matrices(cameras: Cameras, scene_scale: float) -> Float[Tensor, "frames 4 4"]:
    """K4 [R | -R c / s] for cameras of the scaled world: the unscaled world to pixels, HOLD's `world_mat`, float64."""
    intrinsics, pose = (tensor.double() for tensor in cameras)
    rotation = pose[:, :3, :3].mT
    shift = -rotation @ pose[:, :3, 3:] / scene_scale
    matrices = torch.eye(4, dtype=torch.float64).repeat(len(pose), 1, 1)
    matrices[:, :3] = intrinsics @ torch.cat([rotation, shift], dim=2)
    return matrices


def scale_matrix(scene_scale: float) -> Float[Tensor, "4 4"]:
    """diag(1/s, 1/s, 1/s, 1): the scaled world to the unscaled one, HOLD's `scale_mat`."""
    inverse = 1.0 / scene_scale
    return torch.diag(torch.tensor([inverse, inverse, inverse, 1.0], dtype=torch.float64))


def cameras_of_placement(intrinsics: Float[Tensor, "frames 3 3"], placement: ScenePlacement) -> Cameras:
    """The cameras of a scene: axes turned by D, centre s shift, in the scaled world."""
    pose = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=intrinsics.dtype))
    pose[:3, 3] = placement.scene_scale * placement.shift_like(intrinsics)
    return Cameras(intrinsics, pose.expand(len(intrinsics), 4, 4))


def decompose(projection: Float[Tensor, "frames 3 4"]) -> Cameras:
    """P = lambda K [R | -R c] with K upper triangular, K_33 = 1 and positive focal lengths, R a rotation.

    RQ by the QR factors of the matrix turned by half a turn. The skew is kept. Raises InputError for a camera at
    infinity, whose left 3x3 block cannot be inverted.
    """
    left = projection[:, :, :3]
    determinant = torch.linalg.det(left)
    if not bool((determinant.abs() > 0).all()):
        bad = torch.nonzero(~(determinant.abs() > 0)).flatten().tolist()
        raise InputError(
            f"cameras {bad[:5]}: their projection matrices have no inverse; expected those of pinhole cameras, "
            "check world_mat and scale_mat in data.npy"
        )
    left = left * determinant.sign()[:, None, None]
    # With the exchange matrix E: (E M)^T = Q S, so M = (E S^T E)(E Q^T), upper triangular times orthogonal.
    orthogonal, triangular = torch.linalg.qr(left.flip(1).mT)
    upper, rotation = triangular.mT.flip(1, 2), orthogonal.mT.flip(1)
    sign = torch.diagonal(upper, dim1=1, dim2=2).sign()
    upper, rotation = upper * sign[:, None, :], rotation * sign[:, :, None]
    centre = -torch.linalg.solve(projection[:, :, :3], projection[:, :, 3:])
    last_row = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=projection.dtype, device=projection.device)
    pose = torch.cat([torch.cat([rotation.mT, centre], dim=2), last_row.expand(len(projection), 1, 4)], dim=1)
    return Cameras(upper / upper[:, 2:, 2:], pose)


def sample_bilinear(
    images: Float[Tensor, "image height width channel"], uv_px: Float[Tensor, "image pixel 2"]
) -> Float[Tensor, "image pixel channel"]:
    """Bilinear values at real pixels (x, y), those beyond the border taken from it."""
    height, width = images.shape[1:3]
    size = torch.tensor([max(width - 1, 1), max(height - 1, 1)], dtype=images.dtype, device=images.device)
    unit = 2 * uv_px.to(images.dtype) / size - 1
    values = grid_sample(
        images.permute(0, 3, 1, 2), unit[:, None], mode="bilinear", padding_mode="border", align_corners=True
    )
    return values[:, :, 0].mT


def classes_of_labels(labels: Float[Tensor, "*batch"]) -> Int[Tensor, "*batch"]:
    """Class of (interpolated) mask labels: background < 25 <= object < 100 <= right < 200 <= left.

    A label between two others that both differ from it, as between background and hand, counts as what it comes near
    to: this is HOLD's rule, and may call a hand's edge object (facts/hold.md 2.5).
    """
    bounds = torch.tensor(LABEL_THRESHOLDS, dtype=labels.dtype, device=labels.device)
    return torch.bucketize(labels, bounds, right=True)


def sample_classes(
    masks: Float[Tensor, "image height width"], uv_px: Float[Tensor, "image pixel 2"]
) -> Int[Tensor, "image pixel"]:
    """Class at real pixels: labels interpolated, then thresholded.

    HOLD cuts them to whole numbers between the two, which changes no class, the thresholds being whole.
    """
    labels = sample_bilinear(masks[..., None].double(), uv_px)[..., 0]
    return classes_of_labels(labels)


def sample_classes_nearest(
    masks: Float[Tensor, "image height width"], uv_px: Float[Tensor, "image pixel 2"]
) -> Int[Tensor, "image pixel"]:
    """Class of the nearest pixel: the `fixed` rule, where no edge turns into another entity."""
    height, width = masks.shape[1:]
    column = uv_px[..., 0].round().long().clamp(0, width - 1)
    row = uv_px[..., 1].round().long().clamp(0, height - 1)
    image = torch.arange(len(masks), device=masks.device)[:, None]
    return classes_of_labels(masks[image, row, column])


def whole_image_pixels(height: int, width: int) -> Float[Tensor, "pixel 2"]:
    """All pixels (x, y) of an image, row by row."""
    rows, columns = np.mgrid[:height, :width]
    return torch.from_numpy(np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.float32))
