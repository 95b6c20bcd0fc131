"""The first shape of the object's field: its network fitted to the shape that stereo found, as the hand's to its model.

Not in HOLD, whose object starts as a sphere in both phases.
"""

from pathlib import Path

import torch

from handloom.hand.models import configured_hand
from handloom.reconstruction.build_folder import read_build
from handloom.reconstruction.holdnet.canonical_space import CanonicalSurface
from handloom.reconstruction.holdnet.checkpoint import load_strictly
from handloom.reconstruction.holdnet.hand_prior import errors, fit
from handloom.reconstruction.holdnet.networks import ImplicitNetwork, object_shape_network
from handloom.reconstruction.object_mesh import surface
from handloom.reconstruction.observations import CUBE_MARGIN
from handloom.reconstruction.shape.object_shape import ObjectShape
from handloom.runtime.artifacts import Header, read_weights, write_weights
from handloom.runtime.config.fields import BarfSettings, HandPriorSettings, SdfNetSettings
from handloom.runtime.devices import computing_on
from handloom.runtime.files import write_json
from handloom.runtime.seeds import torch_generator

KIND = "object_prior"
_WHAT = "the network of the object's shape"


def object_prior(
    build: Path,
    shape: Path,
    prior: Path,
    figures: Path,
    *,
    settings: HandPriorSettings,
    sizes: SdfNetSettings,
    barf: BarfSettings,
    seed: int,
    device: str = "cpu",
    threads: int | None = None,
    hand: Path | None = None,
    code: str = "",
) -> None:
    """Stage: fit the network, its encoding still closed, to the surface of `shape`, and measure its error.

    Raises InputError for a folder that cannot be used, and for a device that is not there.
    """
    model = configured_hand(hand)
    scene = read_build(build, {model.side: model})
    unit_m = float(scene.object.scale) / float(scene.normalised_from_sfm[0, 0])
    mesh = surface(ObjectShape.load(shape).distance)
    found = CanonicalSurface(CUBE_MARGIN * torch.from_numpy(mesh.vertices), torch.from_numpy(mesh.faces))
    network = object_shape_network(sizes, barf, torch_generator(seed, "object prior"))
    with computing_on(device, threads):
        fit(network.to(device), found, settings, seed, unit_m, "object prior")
        measured = errors(network.cpu(), found, torch_generator(seed, "object prior", "test"), unit_m)
    write_weights(prior, network.state_dict(), Header(KIND, units="unit sphere", frame="object", code=code))
    write_json(figures, measured | {"steps": settings.steps})


def read_object_prior(path: Path, network: ImplicitNetwork) -> None:
    """Load what the stage wrote; raises InputError when it is of other sizes."""
    load_strictly(network, read_weights(path, KIND)[0], path, _WHAT)
