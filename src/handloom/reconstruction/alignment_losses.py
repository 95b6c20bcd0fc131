"""The terms by which hand and object are aligned in the camera's frame (facts/hold.md 1.8); pixels and metres.

The first part is HOLD's own, number for number; the second part serves the repaired alignment.
"""

from jaxtyping import Float
from torch import Tensor

CONTACT_WEIGHT = 100.0
BEHIND_WEIGHT = 1000.0
SMOOTHNESS_WEIGHT = 100.0
ROBUST_PX = 25.0


def geman_mcclure(residual: Float[Tensor, "*shape"], rho: float) -> Float[Tensor, "*shape"]:
    """The robust square rho^2 x^2 / (rho^2 + x^2): x^2 near zero, rho^2 far away."""
    square = residual**2
    return rho**2 * square / (rho**2 + square)


def project(points_cam_m: Float[Tensor, "*batch 3"], intrinsics: Float[Tensor, "3 3"]) -> Float[Tensor, "*batch 2"]:
    """Pixels of points before an OpenCV camera: the first two rows of K x / z."""
    image = points_cam_m @ intrinsics.mT
    return image[..., :2] / image[..., 2:]


def reprojection_loss(
    projected_px: Float[Tensor, "frames points 2"], target_px: Float[Tensor, "frames points 2"], rho: float = ROBUST_PX
) -> Float[Tensor, ""]:
    """GM(projection - target), summed over x and y, mean over frames and points; points with a NaN do not count."""
    seen = ~target_px.isnan().any(-1)
    return geman_mcclure((projected_px - target_px)[seen], rho).sum(-1).mean()


def centroid_loss(hand_m: Float[Tensor, "frames 3"], object_m: Float[Tensor, "frames 3"]) -> Float[Tensor, ""]:
    """100 times the mean absolute difference of the centroids, over frames and coordinates."""
    return CONTACT_WEIGHT * (hand_m - object_m).abs().mean()


def behind_camera_loss(points_cam_m: Float[Tensor, "frames points 3"]) -> Float[Tensor, ""]:
    """1000 times the mean depth by which frames lie behind the camera, over those frames whose mean z is negative."""
    behind = (-points_cam_m[..., 2].mean(1)).clamp_min(0.0)
    return BEHIND_WEIGHT * behind.sum() / (behind > 0).sum().clamp_min(1)


def smoothness_loss(centroid_m: Float[Tensor, "frames 3"]) -> Float[Tensor, ""]:
    """100 times the mean squared difference of neighbouring frames' centroids, over frames and coordinates."""
    return SMOOTHNESS_WEIGHT * centroid_m.diff(dim=0).square().mean()


def object_loss(
    hand_centroid_m: Float[Tensor, "frames 3"],
    points_cam_m: Float[Tensor, "frames points 3"],
    projected_px: Float[Tensor, "frames points 2"],
    target_px: Float[Tensor, "frames points 2"],
    rho: float = ROBUST_PX,
) -> Float[Tensor, ""]:
    """HOLD's loss of step `o`: centroids near each other, the points' projection, and the object before the camera.

    The hand's centroid is that of its 21 joints.
    """
    near = centroid_loss(hand_centroid_m, points_cam_m.mean(1))
    return near + reprojection_loss(projected_px, target_px, rho) + behind_camera_loss(points_cam_m)


def two_hand_object_loss(
    right_centroid_m: Float[Tensor, "frames 3"],
    left_centroid_m: Float[Tensor, "frames 3"],
    points_cam_m: Float[Tensor, "frames points 3"],
    projected_px: Float[Tensor, "frames points 2"],
    target_px: Float[Tensor, "frames points 2"],
    rho: float = ROBUST_PX,
) -> Float[Tensor, ""]:
    """The same for two hands: the mean of both hands' losses."""
    losses = [
        object_loss(centroid, points_cam_m, projected_px, target_px, rho)
        for centroid in (right_centroid_m, left_centroid_m)
    ]
    return (losses[0] + losses[1]) / 2.0


def two_hand_smoothness_loss(
    right_centroid_m: Float[Tensor, "frames 3"],
    left_centroid_m: Float[Tensor, "frames 3"],
    object_centroid_m: Float[Tensor, "frames 3"],
) -> Float[Tensor, ""]:
    """right + left + object / 3: the released code divides only the last term."""
    hands = smoothness_loss(right_centroid_m) + smoothness_loss(left_centroid_m)
    return hands + smoothness_loss(object_centroid_m) / 3.0
