"""HOLD's registration of a MANO-format hand to an estimated mesh, frame by frame (facts/hold.md 1.5)."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from handloom.hand.mano import HandModel, skin
from handloom.reconstruction.pose_gaps import PoseTrack
from handloom.runtime.errors import InputError
from handloom.runtime.progress import progress

Stage = Literal["coarse", "fine"]

FINGERTIP_WEIGHT = 0.1
SHAPE_WEIGHT = 0.01
LEARNING_RATE: dict[Stage, float] = {"coarse": 1e-1, "fine": 1e-2}
FIRST_ITERATIONS, NEXT_ITERATIONS = 10_000, 2_000
PATIENCE, DECAY, LEAST_RATE = 30, 0.1, 1e-5


class MeshFit(NamedTuple):
    """One frame's parameters; the finger pose is relative to the model's mean, as in HOLD's files."""

    orientation: Float[Tensor, "1 3"]
    pose: Float[Tensor, "1 45"]
    shape: Float[Tensor, "1 shape"]
    translation_m: Float[Tensor, "1 3"]


def fit_vertices_m(model: HandModel, fit: MeshFit) -> Float[Tensor, "1 vertices 3"]:
    """The vertices of a fit, in metres."""
    pose = torch.cat([fit.orientation, fit.pose + model.hands_mean], dim=1).unflatten(1, (16, 3))
    return skin(model, pose_rotvec=pose, shape=fit.shape, translation_m=fit.translation_m).vertices_m


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
    *,
    shape_loss: bool = False,
) -> Float[Tensor, ""]:
    """vertex + edge loss, in the fine stage + 0.1 fingertip loss [+ 0.01 mean(shape^2)]."""
    vertices = fit_vertices_m(model, fit)
    loss = vertex_loss(vertices, target_m) + edge_loss(vertices, target_m, model.faces)
    if stage == "fine":
        loss = loss + FINGERTIP_WEIGHT * fingertip_loss(vertices, target_m, fingertips)
        if shape_loss:
            loss = loss + SHAPE_WEIGHT * fit.shape.square().mean()
    return loss


def fit_mesh(
    model: HandModel,
    target_m: Float[Tensor, "1 vertices 3"],
    start: MeshFit,
    stage: Stage,
    fingertips: Sequence[Int[Tensor, " _"]],
    *,
    iterations: int,
    shape_loss: bool = False,
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
        loss = registration_loss(model, fit, target_m, stage, fingertips, shape_loss=shape_loss)
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
    shape_loss: bool = False,
    first_iterations: int = FIRST_ITERATIONS,
    next_iterations: int = NEXT_ITERATIONS,
) -> PoseTrack:
    """HOLD's sequential registration: every frame starts from the fit before it; frames with a NaN give NaN.

    The first frame starts from a flat draw in [0, 1) for orientation, shape and translation and from the mean pose.
    Poses are returned absolute. Raises InputError when no frame has a mesh.
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
            fit, _ = fit_mesh(
                model, target, fit, stage, fingertips, iterations=iterations, shape_loss=shape_loss and stage == "fine"
            )
        iterations = next_iterations
        fits.append(fit)
    orientation, pose, shape, translation = (torch.cat(list(values)) for values in zip(*fits, strict=True))
    rotvec = torch.cat([orientation, pose + model.hands_mean], dim=1).unflatten(1, (16, 3))
    return PoseTrack(rotvec, shape, translation)
