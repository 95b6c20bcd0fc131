"""How badly a posed hand explains what was seen of it: the energies that registration and alignment minimise.

Every term is half a sum of squares in standard deviations, so that terms of different kinds can be added.
HOLD has none of these terms; their deviations are this project's.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import roma
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from handloom.estimators.hands.found import FoundHands
from handloom.geometry.camera import pixel_rays, project
from handloom.hand.joints import SNAP_BONES, SNAP_FROM_MANO21
from handloom.reconstruction.pose_space import PoseSpace, Skeleton

HAND_RADIUS_M = 0.047
"""Root mean square distance of the 21 key points of a relaxed adult hand from their mean."""
JOINT_NOISE_M = 0.035
"""Standard deviation of an estimated joint."""
KEYPOINT_NOISE = 0.12
"""Standard deviation of a 2D key point, as a share of the hand's extent in the image."""
ROBUST_DEVIATIONS = 1.5
"""Residuals above so many standard deviations lose their influence."""
POSE_PRIOR, SHAPE_PRIOR = 0.3, 3.0
"""Weights of squared deviations from everyday poses, and of squared shape coefficients."""
SIZE_DEVIATION = 0.005
"""Of the hand's size about the model's mean, which one camera cannot see: narrow, lest key points that an unsure
network drew together make the hand small. How far people's hands differ is counted at the end (`object_size`)."""
LIMIT_RAD = 0.05
"""Softness of the joint limits."""
TURN_SMOOTHNESS_RAD, PATH_SMOOTHNESS = 0.04, 0.01
"""Standard deviations of accelerations: of angles, per squared frame; of the wrist, in shares of its depth."""
TURN_STEP_RAD, RAY_STEP, DEPTH_STEP, SHAPE_STEP = 0.1, 0.01, 0.03, 0.3
"""Units of fitted parameters, about their uncertainty: of angles, of x / z and y / z, of log z, of the shape."""
_SMALLEST_HAND_PX = 8.0
"""Key points are not taken for more exact than those of a hand so small."""
_NEAREST_M = 0.02
"""No joint counts as nearer to the camera."""
_HISTORY, _SMALLEST_CHANGE = 20, 1e-7
"""Of L-BFGS: steps that it remembers, and the relative fall of the energy that ends it."""


class SeenHand(NamedTuple):
    """What an estimator saw, in double precision; rows of weight zero hold zeros, never NaN."""

    joints_m: Float[Tensor, "frames 21 3"]
    """Of any size, each frame about its weighted mean, along the camera's axes."""
    keypoints_px: Float[Tensor, "frames 21 2"]
    weight: Float[Tensor, "frames 21"]
    noise_px: Float[Tensor, " frames"]
    """Standard deviation of the 2D key points."""
    intrinsics: Float[Tensor, "3 3"]

    def without(self, frames: Tensor) -> "SeenHand":
        """The same with nothing seen in the given frames (a mask)."""
        return self._replace(weight=torch.where(frames[:, None], 0.0, self.weight))

    def spread_by(self, factor: float) -> "SeenHand":
        """The same with every frame's key points, and their noise, spread about their weighted mean."""
        centre = (_shares(self.weight)[..., None] * self.keypoints_px).sum(1, keepdim=True)
        keypoints = centre + factor * (self.keypoints_px - centre)
        return self._replace(keypoints_px=keypoints, noise_px=factor * self.noise_px)


def seen_hand(estimates: FoundHands, used: Bool[Tensor, " frames"], intrinsics: Float[Tensor, "3 3"]) -> SeenHand:
    """Bring estimates into the form that the energies take.

    Joints with a NaN, without confidence, or of a frame that is not used, have no weight.
    """
    joints, keypoints, confidence = (
        torch.from_numpy(array).double()
        for array in (estimates.joints_cam, estimates.keypoints_px, estimates.confidence)
    )
    confidence = torch.where(used[:, None], confidence.nan_to_num(0.0), 0.0)
    usable = joints.isfinite().all(-1) & keypoints.isfinite().all(-1) & (confidence > 0)
    weight = torch.where(usable, confidence, 0.0)
    joints = torch.where(usable[..., None], joints, 0.0)
    keypoints = torch.where(usable[..., None], keypoints, 0.0)
    far, near = keypoints.new_tensor(float("inf")), keypoints.new_tensor(float("-inf"))
    low = torch.where(usable[..., None], keypoints, far).amin(1)
    high = torch.where(usable[..., None], keypoints, near).amax(1)
    extent = (high - low).amax(-1)
    noise = torch.where(usable.any(1), KEYPOINT_NOISE * extent.clamp_min(_SMALLEST_HAND_PX), 1.0)
    centred = centred_on(joints, weight)
    return SeenHand(centred, keypoints, weight, noise, intrinsics.double())


def centred_on(
    points: Float[Tensor, "frames 21 3"], weight: Float[Tensor, "frames 21"]
) -> Float[Tensor, "frames 21 3"]:
    """Points relative to their weighted mean."""
    return points - (_shares(weight)[..., None] * points).sum(1, keepdim=True)


def _shares(weight: Float[Tensor, "frames 21"]) -> Float[Tensor, "frames 21"]:
    return weight / weight.sum(1, keepdim=True).clamp_min(1e-12)


def data_energy(
    keypoints_cam_m: Float[Tensor, "frames 21 3"], seen: SeenHand, spread: float = 1.0
) -> Float[Tensor, ""]:
    """Robust squares of the joints about their mean and of their projections, weighted by confidence.

    Both sets of joints are first brought to one root mean square radius: from one camera the size of a hand cannot be
    told from its distance, and a network that is unsure shrinks the hand.
    `spread` widens the robust function: more than 1 lets far residuals pull while the fit is still poor.
    """
    rho = spread * ROBUST_DEVIATIONS
    offsets = joint_offsets_m(keypoints_cam_m, seen)
    in_space = robust_square(offsets / JOINT_NOISE_M, rho)
    depth = keypoints_cam_m[..., 2:].clamp_min(_NEAREST_M)
    pixels = project(torch.cat([keypoints_cam_m[..., :2], depth], -1), seen.intrinsics)
    in_image = robust_square((pixels - seen.keypoints_px) / seen.noise_px[:, None, None], rho)
    return 0.5 * (seen.weight * (in_space + in_image)).sum()


def joint_offsets_m(keypoints_cam_m: Float[Tensor, "frames 21 3"], seen: SeenHand) -> Float[Tensor, "frames 21 3"]:
    """From each estimated joint to the fitted one, about their mean and both at the radius of an adult's hand."""
    return _at_common_radius(centred_on(keypoints_cam_m, seen.weight), seen.weight) - _at_common_radius(
        seen.joints_m, seen.weight
    )


def _at_common_radius(
    offsets: Float[Tensor, "frames 21 3"], weight: Float[Tensor, "frames 21"]
) -> Float[Tensor, "frames 21 3"]:
    square = (_shares(weight)[..., None] * offsets.square()).sum((1, 2))
    # Frames in which nothing was seen have no radius, and no weight.
    return HAND_RADIUS_M * offsets / square.clamp_min(1e-12).sqrt()[:, None, None]


def size_energy(shape: Float[Tensor, " shape"], skeleton: Skeleton) -> Float[Tensor, ""]:
    """Prior on the shape: unlikely hands, and any change of the mean shape's size, which nothing here can measure."""
    first, second = torch.tensor(SNAP_BONES).T
    rest = skeleton.rest_m[list(SNAP_FROM_MANO21)]
    shaped = (skeleton.rest_m + skeleton.shapedirs @ shape)[list(SNAP_FROM_MANO21)]
    before, after = (torch.linalg.vector_norm(x[second] - x[first], dim=-1).sum() for x in (rest, shaped))
    size = ((after / before - 1.0) / SIZE_DEVIATION).square()
    return 0.5 * (SHAPE_PRIOR * shape.square().sum() + size)


def geman_mcclure(residual: Float[Tensor, "*shape"], rho: float) -> Float[Tensor, "*shape"]:
    """The robust square rho^2 x^2 / (rho^2 + x^2): x^2 near zero, rho^2 far away."""
    square = residual**2
    return rho**2 * square / (rho**2 + square)


def robust_square(residual: Float[Tensor, "*batch d"], rho: float) -> Float[Tensor, "*batch"]:
    """Geman-McClure's square of a vector's length, in squared deviations."""
    length: Tensor = torch.linalg.vector_norm(residual + 1e-12, dim=-1)
    return geman_mcclure(length, rho)


def pose_energy(angles_rad: Float[Tensor, "*batch free"], space: PoseSpace) -> Float[Tensor, ""]:
    """Prior of everyday poses and soft joint limits."""
    prior = POSE_PRIOR * space.prior_deviations(angles_rad).square().sum()
    return 0.5 * (prior + (space.limit_excess_rad(angles_rad) / LIMIT_RAD).square().sum())


def acceleration_energy(values: Float[Tensor, "frames ..."], deviation: float) -> Float[Tensor, ""]:
    """Half the sum of squared second differences over the frames."""
    if len(values) < 3:
        return values.new_zeros(())
    return 0.5 * (values.diff(n=2, dim=0) / deviation).square().sum()


def turn_acceleration_energy(rotations: Float[Tensor, "frames 3 3"]) -> Float[Tensor, ""]:
    """The same for rotations: |R - R'|_F is sqrt(2) times the angle between them, when it is small."""
    return acceleration_energy(rotations, 2.0**0.5 * TURN_SMOOTHNESS_RAD)


def placed_translation(offsets_m: Float[Tensor, "frames 21 3"], seen: SeenHand) -> Float[Tensor, "frames 3"]:
    """Where a hand of known orientation and size must be to project onto its 2D key points.

    Least squares of x + t_x = u (z + t_z), y + t_y = v (z + t_z) with (u, v) the normalised key points; a frame
    without key points gets NaN.
    """
    rays = pixel_rays(seen.keypoints_px, seen.intrinsics)
    weight = seen.weight.sqrt()[..., None]
    one, zero = torch.ones_like(rays[..., 0]), torch.zeros_like(rays[..., 0])
    across = torch.stack([one, zero, -rays[..., 0]], -1) * weight
    down = torch.stack([zero, one, -rays[..., 1]], -1) * weight
    right = (rays[..., :2] * offsets_m[..., 2:] - offsets_m[..., :2]) * weight
    matrix = torch.cat([across, down], 1)
    target = torch.cat([right[..., 0], right[..., 1]], 1)
    normal = matrix.mT @ matrix
    solvable = (seen.weight > 0).sum(1) >= 3
    eye = torch.eye(3, dtype=normal.dtype)
    normal = torch.where(solvable[:, None, None], normal, eye)
    translation = torch.linalg.solve(normal, (matrix.mT @ target[..., None]).squeeze(-1))
    forward = translation[:, 2] + offsets_m[..., 2].amin(1) > _NEAREST_M
    return torch.where((solvable & forward)[:, None], translation, torch.nan)


def turned(base: Float[Tensor, "*#batch 3 3"], rotvec: Float[Tensor, "*#batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """The rotations after a further small turn about the hand's own axes."""
    return base @ roma.rotvec_to_rotmat(rotvec)


def free_parameters(*sizes: tuple[int, ...]) -> list[Tensor]:
    """Zeros to be fitted, in double precision."""
    return [torch.zeros(size, dtype=torch.float64, requires_grad=True) for size in sizes]


Terms = dict[str, Float[Tensor, ""]]
"""Energies by name; their sum is minimised."""


def minimise(
    terms: Callable[[], Terms],
    parameters: Sequence[Tensor],
    iterations: int,
    log: Callable[[int, dict[str, float]], None] = lambda _iteration, _terms: None,
) -> None:
    """L-BFGS with strong Wolfe line search, in place; `log` is told the terms and their sum, `loss`, of each iteration.

    Ends early when the sum falls by less than 1e-7 of itself. Parameters should be contiguous, and in units of their
    own uncertainty, so that one step length suits all.
    """
    optimiser = torch.optim.LBFGS(
        list(parameters),
        max_iter=1,
        max_eval=25,
        history_size=_HISTORY,
        line_search_fn="strong_wolfe",
        tolerance_change=0.0,
        tolerance_grad=0.0,
    )
    before = float("inf")
    first: dict[str, float] = {}

    def closure() -> Tensor:
        optimiser.zero_grad()
        values = terms()
        total = torch.stack(list(values.values())).sum()
        total.backward()
        if not first:  # an iteration's first evaluation is where it starts
            first.update({name: float(value.detach()) for name, value in values.items()})
        return total

    for iteration in range(iterations):
        first.clear()
        loss = float(optimiser.step(closure).detach())
        log(iteration, {"loss": loss, **first})
        if before - loss < _SMALLEST_CHANGE * abs(loss):
            break
        before = loss
