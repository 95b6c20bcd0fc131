"""HOLD's registration of a MANO-format hand: to an estimated mesh, frame by frame; gaps are filled afterwards.

HOLD's generator/scripts/register_mano.py and generator/src/hand_pose/registration.py fit, validate_metro.py finds the
outliers, slerp.py fills.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import roma
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from handloom.geometry.surfaces import sealed_volume
from handloom.hand.mano import HandModel, skin
from handloom.reconstruction.tracks import HandTrack
from handloom.runtime.errors import InputError
from handloom.runtime.progress import progress

Stage = Literal["coarse", "fine"]

FINGERTIP_WEIGHT = 0.1
LEARNING_RATE: dict[Stage, float] = {"coarse": 1e-1, "fine": 1e-2}
FIRST_ITERATIONS, NEXT_ITERATIONS = 10_000, 2_000
PATIENCE, DECAY, LEAST_RATE = 30, 0.1, 1e-5
VOLUME_DEVIATIONS = 2.0
SHAPE_NEIGHBOURS = 5
FINGERTIP_VERTICES = 20
"""About as many as HOLD's list of a sealed hand's parts has for a finger tip."""


class MeshFit(NamedTuple):
    """Parameters of some frames; the finger pose is relative to the model's mean, as in HOLD's files."""

    orientation: Float[Tensor, "frames 3"]
    pose: Float[Tensor, "frames 45"]
    shape: Float[Tensor, "frames shape"]
    translation_m: Float[Tensor, "frames 3"]

    def rotvec(self, model: HandModel) -> Float[Tensor, "frames 16 3"]:
        """The absolute rotation vectors."""
        return torch.cat([self.orientation, self.pose + model.hands_mean], dim=1).unflatten(1, (16, 3))


def fit_vertices_m(model: HandModel, fit: MeshFit) -> Float[Tensor, "frames vertices 3"]:
    """The vertices of a fit, in metres."""
    return skin(model, pose_rotvec=fit.rotvec(model), shape=fit.shape, translation_m=fit.translation_m).vertices_m


def vertex_loss(
    vertices_m: Float[Tensor, "1 vertices 3"], target_m: Float[Tensor, "1 vertices 3"]
) -> Float[Tensor, ""]:
    """Mean squared difference over vertices and coordinates."""
    return (vertices_m - target_m).square().mean()


def edge_loss(
    vertices_m: Float[Tensor, "1 vertices 3"], target_m: Float[Tensor, "1 vertices 3"], faces: Int[Tensor, "faces 3"]
) -> Float[Tensor, ""]:
    """Mean squared difference of the three edge vectors of every face."""
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    difference = vertices_m - target_m
    return (difference[:, edges[:, 0]] - difference[:, edges[:, 1]]).square().mean()


def fingertip_loss(
    vertices_m: Float[Tensor, "1 vertices 3"],
    target_m: Float[Tensor, "1 vertices 3"],
    fingertips: Sequence[Int[Tensor, " _"]],
) -> Float[Tensor, ""]:
    """The vertex loss on the vertices of the finger tips."""
    vertices = torch.cat(list(fingertips))
    return vertex_loss(vertices_m[:, vertices], target_m[:, vertices])


def registration_loss(
    model: HandModel,
    fit: MeshFit,
    target_m: Float[Tensor, "1 vertices 3"],
    stage: Stage,
    fingertips: Sequence[Int[Tensor, " _"]],
) -> Float[Tensor, ""]:
    """vertex + edge loss, in the fine stage + 0.1 fingertip loss."""
    vertices = fit_vertices_m(model, fit)
    loss = vertex_loss(vertices, target_m) + edge_loss(vertices, target_m, model.faces)
    return loss if stage == "coarse" else loss + FINGERTIP_WEIGHT * fingertip_loss(vertices, target_m, fingertips)


def fit_mesh(
    model: HandModel,
    target_m: Float[Tensor, "1 vertices 3"],
    start: MeshFit,
    stage: Stage,
    fingertips: Sequence[Int[Tensor, " _"]],
    *,
    iterations: int,
) -> tuple[MeshFit, float]:
    """Adam on orientation and translation (`coarse`) or on everything (`fine`); the fit and its last loss.

    The learning rate, 0.1 or 0.01, drops tenfold when the loss has not fallen for 30 steps; below 1e-5 the fit ends.
    """
    fit = MeshFit(*(value.detach().clone() for value in start))
    free = [fit.orientation, fit.translation_m, *([fit.pose, fit.shape] if stage == "fine" else [])]
    for value in free:
        value.requires_grad_()
    optimiser = torch.optim.Adam(free, lr=LEARNING_RATE[stage])
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, patience=PATIENCE, factor=DECAY)
    last = float("nan")
    for _ in range(iterations):
        optimiser.zero_grad()
        loss = registration_loss(model, fit, target_m, stage, fingertips)
        loss.backward()
        optimiser.step()
        last = float(loss.detach())
        plateau.step(last)
        if optimiser.param_groups[0]["lr"] < LEAST_RATE:
            break
    return MeshFit(*(value.detach() for value in fit)), last


def register_meshes(
    model: HandModel,
    vertices_cam_m: Float[Tensor, "frames vertices 3"],
    fingertips: Sequence[Int[Tensor, " _"]],
    *,
    seed: int = 0,
    first_iterations: int = FIRST_ITERATIONS,
    next_iterations: int = NEXT_ITERATIONS,
) -> MeshFit:
    """HOLD's sequential registration: every frame starts from the fit before it; frames with a NaN give NaN.

    The first frame starts from a flat draw in [0, 1) for orientation, shape and translation and from the mean pose.
    Raises InputError when no frame has a mesh.
    """
    good = vertices_cam_m.isfinite().all(-1).all(-1)
    if not bool(good.any()):
        raise InputError(
            f"hand meshes: all {len(good)} frames hold NaN, expected at least one mesh; estimate them again"
        )
    generator = torch.Generator().manual_seed(seed)
    shape, orientation, translation = (torch.rand(1, count, generator=generator) for count in (model.shape_count, 3, 3))
    fit = MeshFit(orientation, torch.zeros(1, 45), shape, translation)
    fits: list[MeshFit] = []
    empty = MeshFit(*(torch.full_like(value, torch.nan) for value in fit))
    iterations = first_iterations
    for frame in progress(range(len(good)), "register hand"):
        if not bool(good[frame]):
            fits.append(empty)
            continue
        target = vertices_cam_m[frame : frame + 1]
        for stage in ("coarse", "fine"):
            fit, _ = fit_mesh(model, target, fit, stage, fingertips, iterations=iterations)
        iterations = next_iterations
        fits.append(fit)
    return MeshFit(*(torch.cat(list(values)) for values in zip(*fits, strict=True)))


def fingertip_groups(model: HandModel) -> list[Tensor]:
    """The vertices around each finger tip of the template, thumb to pinky: HOLD takes them from a list of its own."""
    tips, count = model.v_template[list(model.tip_vertices)], min(FINGERTIP_VERTICES, len(model.v_template))
    return list(torch.cdist(tips, model.v_template).topk(count, largest=False).indices)


def track_of_meshes(
    model: HandModel, vertices_cam_m: Float[Tensor, "frames vertices 3"], seed: int
) -> tuple[HandTrack, Bool[Tensor, " frames"]]:
    """The whole of it: meshes registered, collapsed and missing ones filled; and which frames have their own."""
    fit = register_meshes(model, vertices_cam_m, fingertip_groups(model), seed=seed)
    missing = ~fit.translation_m.isfinite().all(-1)
    outliers = torch.zeros_like(missing)
    outliers[~missing] = volume_outliers(sealed_volume(vertices_cam_m.double(), model.faces)[~missing])
    missing = missing | outliers
    shape = filled_shapes(fit.shape, missing).mean(0)
    track = HandTrack(filled_rotations(fit.rotvec(model), missing), shape, filled_rows(fit.translation_m, missing))
    return track, ~missing


def volume_outliers(volume: Float[Tensor, " frames"]) -> Bool[Tensor, " frames"]:
    """Frames whose mesh has collapsed: volume below the mean less two (population) standard deviations."""
    return volume < volume.mean() - VOLUME_DEVIATIONS * volume.std(correction=0)


def filled_rotations(
    rotvec: Float[Tensor, "frames joints 3"], missing: Bool[Tensor, " frames"]
) -> Float[Tensor, "frames joints 3"]:
    """Missing frames' rotation vectors, interpolated along the shortest arc (SLERP) between the good ones around them.

    Beyond the first and the last good frame both are held, also where both ends are missing (the released code fails
    there). Raises InputError when no frame is good.
    """
    before, after, share = _good_frames_around(missing)
    first = roma.rotvec_to_rotmat(rotvec[before])
    turn = roma.rotmat_to_rotvec(first.mT @ roma.rotvec_to_rotmat(rotvec[after]))
    between = roma.rotmat_to_rotvec(first @ roma.rotvec_to_rotmat(share[:, None, None].to(rotvec) * turn))
    return torch.where(missing[:, None, None], between, rotvec)


def filled_rows(rows: Float[Tensor, "frames ..."], missing: Bool[Tensor, " frames"]) -> Float[Tensor, "frames ..."]:
    """Missing frames' numbers, interpolated linearly, ends held; raises InputError when all are missing."""
    before, after, share = _good_frames_around(missing)
    wide = (-1, *[1] * (rows.dim() - 1))
    between = torch.lerp(rows[before], rows[after], share.view(wide).to(rows))
    return torch.where(missing.view(wide), between, rows)


def filled_shapes(
    shape: Float[Tensor, "frames shape"], missing: Bool[Tensor, " frames"]
) -> Float[Tensor, "frames shape"]:
    """Missing frames' shapes: the mean of the good ones in the smallest window around that holds five of them."""
    frame = torch.arange(len(missing), device=missing.device)
    good = frame[~missing]
    distance = (frame[:, None] - good).abs()
    radius = distance.sort(1).values[:, min(SHAPE_NEIGHBOURS, len(good)) - 1]
    used = (distance <= radius[:, None]).to(shape)
    return torch.where(missing[:, None], (used @ shape[good]) / used.sum(1, keepdim=True), shape)


def _good_frames_around(
    missing: Bool[Tensor, " frames"],
) -> tuple[Int[Tensor, " frames"], Int[Tensor, " frames"], Float[Tensor, " frames"]]:
    """Per frame the last good frame up to it, the first one from it on, and where it lies between them (0 to 1)."""
    if bool(missing.all()):
        raise InputError(
            f"hand poses: none of {len(missing)} frames has one, expected at least one good frame; look at the hand "
            "masks and at the estimates' confidence, or choose another hand estimator"
        )
    frame = torch.arange(len(missing), device=missing.device)
    before = torch.where(missing, -1, frame).cummax(0).values
    after = torch.where(missing, len(missing), frame).flip(0).cummin(0).values.flip(0)
    before, after = torch.where(before < 0, after, before), torch.where(after == len(missing), before, after)
    share = (frame - before).double() / (after - before).clamp_min(1)
    return before, after, share.clamp(0.0, 1.0)
