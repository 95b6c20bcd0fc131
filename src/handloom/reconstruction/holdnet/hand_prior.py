"""The first shape of the hand's field: its network fitted to the distances of the hand model at rest.

Stands for the released prior, which is behind a licence. HOLD's hand starts from it in phase 1 and again in phase 3.
"""

import math
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from handloom.geometry.surfaces import hole_cap
from handloom.hand.mano import HandModel
from handloom.hand.models import configured_hand
from handloom.reconstruction.build_folder import read_build
from handloom.reconstruction.holdnet.canonical_space import (
    HAND_NOISE_M,
    CanonicalSurface,
    hand_surface,
    rest_vertices_m,
)
from handloom.reconstruction.holdnet.checkpoint import load_strictly, read_checkpoint
from handloom.reconstruction.holdnet.networks import ImplicitNetwork, hand_shape_network
from handloom.runtime.artifacts import Header, read_weights, write_weights
from handloom.runtime.config.fields import HandPriorSettings, SdfNetSettings
from handloom.runtime.devices import computing_on
from handloom.runtime.files import write_json
from handloom.runtime.progress import progress
from handloom.runtime.seeds import torch_generator

KIND = "hand_prior"
_LEARNING_RATE = 1e-3  # of Adam at the start; falls to zero along half a cosine
_FARTHEST_M = 1.5
"""Rays are sampled to the scene's sphere, about so far from the hand."""
_BOX_MARGIN_M = 0.05  # around the surface, where hand and object meet
_CUT_M = 0.01
"""Distances up to this count with their absolute error, farther ones with their relative one."""
_EXACT_M = 0.03  # beyond, distances to the mesh's vertices are near enough
_TEST_POINTS = 20_000
_WHAT = "the network of the hand's shape"
_SHRINKAGE = 10.0
"""A hand is about ten times smaller than the sphere that networks start from."""


def hand_prior(
    build: Path,
    prior: Path,
    figures: Path,
    settings: HandPriorSettings,
    sizes: SdfNetSettings,
    seed: int,
    device: str = "cpu",
    threads: int | None = None,
    code: str = "",
    checkpoint: Path | None = None,
    hand: Path | None = None,
) -> None:
    """Stage: fit the network to the hand of a build folder, or take it from a released prior, and measure its error.

    Raises InputError for a checkpoint that is not of these sizes, and for a device that is not there.
    """
    model = configured_hand(hand)
    surface = rest_surface(model, read_build(build, {model.side: model}).hands[model.side].shape.float())
    network = hand_shape_network(sizes, torch_generator(seed, "hand prior"))
    with computing_on(device, threads):
        if checkpoint is None:
            fit(network.to(device), surface, settings, seed)
        else:
            of_hand = f"nodes.{model.side}.implicit_network."
            released = read_checkpoint(checkpoint).items()
            state = {name.removeprefix(of_hand): value for name, value in released if name.startswith(of_hand)}
            load_strictly(network, state, checkpoint, _WHAT)
        found = errors(network.cpu(), surface, torch_generator(seed, "hand prior", "test"))
    write_weights(prior, network.state_dict(), Header(KIND, units="m", frame=f"{model.side}_hand_rest", code=code))
    write_json(figures, found | {"steps": 0 if checkpoint else settings.steps})


def read_hand_prior(path: Path, network: ImplicitNetwork) -> None:
    """Load what the stage wrote; raises InputError when it is of other sizes."""
    load_strictly(network, read_weights(path, KIND)[0], path, _WHAT)


def rest_surface(model: HandModel, shape: Float[Tensor, " shape"]) -> CanonicalSurface:
    """The hand of canonical space: flat, shaped, sealed at the wrist, smoothed; metres."""
    rest = rest_vertices_m(model, shape)
    return hand_surface(rest, hole_cap(model.faces, len(rest)))


def fit(
    network: ImplicitNetwork,
    surface: CanonicalSurface,
    settings: HandPriorSettings,
    seed: int,
    unit_m: float = 1.0,
    what: str = "hand prior",
) -> None:
    """Minimise |d - d*| / (1 cm + |d*|) by Adam: exact at the surface, and of the right sign as far as rays go.

    `unit_m` is the unit of the surface. A fresh network knows no detail below the softplus's width, which is a
    centimetre in metres; it is shrunk first where the unit is that large.
    """
    shrink(network, max(1.0, _SHRINKAGE * unit_m))
    device = next(network.parameters()).device
    points = spread_points(surface, settings.pool, torch_generator(seed, what, "pool"), unit_m)
    target = surface.distance.signed(points, reach=_EXACT_M / unit_m).to(device)
    points = points.to(device)
    optimiser = torch.optim.Adam(network.parameters(), lr=_LEARNING_RATE)
    generator = torch_generator(seed, what, "steps")
    for step in progress(range(settings.steps), f"{what}, {settings.points} points a step"):
        chosen = torch.randint(len(points), (settings.points,), generator=generator).to(device)
        wanted = target[chosen]
        loss = ((network.distance(points[chosen]) - wanted).abs() / (_CUT_M / unit_m + wanted.abs())).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.param_groups[0]["lr"] = _LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * step / settings.steps))
        optimiser.step()


@torch.no_grad()
def shrink(network: ImplicitNetwork, factor: float) -> None:
    """Make a fresh network f(x) about f(factor x) / factor: its sphere is so much smaller, its details sharper."""
    coordinates = 3
    for number in (0, network.settings.skip_layer):
        if number is not None:
            layer = network.layers[number]
            # The skip layer takes the encoded points behind the hidden values.
            first = 0 if number == 0 else layer.weight.shape[1] - network.embedder_obj.width
            weight = layer.weight.clone()
            weight[:, first : first + coordinates] *= factor
            layer.set_weight(weight)
    last = network.layers[-1]
    weight = last.weight.clone()
    weight[0] /= factor
    last.set_weight(weight)
    last.bias[0] /= factor


def spread_points(
    surface: CanonicalSurface, count: int, generator: torch.Generator, unit_m: float = 1.0
) -> Float[Tensor, "{count} 3"]:
    """Half near the surface (N(0, 8 mm) and N(0, 2 mm)), a third in its box, the rest out to 1.5 m; in the unit."""
    near, box = count // 2, count // 3
    noise = torch.where(torch.arange(near) % 2 == 0, HAND_NOISE_M, HAND_NOISE_M / 4)[:, None] / unit_m
    on_surface = surface.sample(near, generator) + noise * torch.randn(near, 3, generator=generator)
    low = surface.vertices.amin(0) - _BOX_MARGIN_M / unit_m
    high = surface.vertices.amax(0) + _BOX_MARGIN_M / unit_m
    inside = low + torch.rand(box, 3, generator=generator) * (high - low)
    direction = torch.nn.functional.normalize(torch.randn(count - near - box, 3, generator=generator), dim=-1)
    far = _FARTHEST_M / unit_m * torch.rand(len(direction), 1, generator=generator)
    return torch.cat([on_surface, inside, (low + high) / 2 + far * direction])


@torch.no_grad()
def errors(
    network: ImplicitNetwork, surface: CanonicalSurface, generator: torch.Generator, unit_m: float = 1.0
) -> dict[str, float]:
    """How far the network's distances are from the mesh's, millimetres, at points that were not fitted.

    `near` is within 1 cm of the surface; `wrong_side_pct` counts signs, of points farther than 1 mm, everywhere.
    """
    points = spread_points(surface, _TEST_POINTS, generator, unit_m)
    wanted = surface.distance.signed(points, reach=_EXACT_M / unit_m) * unit_m
    found = torch.cat([network.distance(part) for part in points.split(4096)]) * unit_m
    difference_mm = 1000 * (found - wanted).abs()[wanted.abs() < _CUT_M].numpy()
    clear = wanted.abs() > 0.001
    wrong = (found.sign() != wanted.sign())[clear].float().mean()
    return {
        "near_mean_mm": round(float(difference_mm.mean()), 4),
        "near_95_pct_mm": round(float(np.percentile(difference_mm, 95)), 4),
        "near_largest_mm": round(float(difference_mm.max()), 4),
        "wrong_side_pct": round(100 * float(wrong), 4),
    }
