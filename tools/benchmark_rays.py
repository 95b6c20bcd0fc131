"""Rays per core-second of HOLD-Net at its published sizes and of the compact reconstruction, in one run on one core.

    OMP_NUM_THREADS=1 python tools/benchmark_rays.py [results/hold/SEQUENCE]

Both train on the same video: a sequence's build folder, or a hand beside a speckled block that is rendered here. A
step of HOLD-Net is a whole one: error-bounded sampling, hand, object and background, the losses, the backward pass
through normals, Adam (`HoldNetTraining.run_step`); one of the compact reconstruction is `CompactTraining.run_step`,
measured on each of a phase's grids and weighted by how long the phase keeps them. Times are CPU seconds of the process,
so that other work on the machine disturbs little. Exits with 1 when the compact one is not 50 times as fast as what was
measured of the reference on another machine: 10 rays per core-second.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402  # the thread limits must be set before the libraries start
import roma  # noqa: E402
import torch  # noqa: E402
import trimesh  # noqa: E402
from PIL import Image  # noqa: E402

from handloom.figures.mesh_picture import PaintedMesh, one_colour, take_picture  # noqa: E402
from handloom.hand.mano import HandModel  # noqa: E402
from handloom.hand.models import configured_hand, open_hand  # noqa: E402
from handloom.reconstruction.build_folder import read_build, write_build  # noqa: E402
from handloom.reconstruction.build_scene import build_scene  # noqa: E402
from handloom.reconstruction.compact.hand_template import hand_template  # noqa: E402
from handloom.reconstruction.compact.training import CompactTraining  # noqa: E402
from handloom.reconstruction.holdnet.phases import net_of_scene, set_poses  # noqa: E402
from handloom.reconstruction.holdnet.training import HoldNetTraining, Video  # noqa: E402
from handloom.reconstruction.observations import read_scene  # noqa: E402
from handloom.reconstruction.shape.object_shape import object_shape  # noqa: E402
from handloom.reconstruction.tracks import HandTrack, ObjectTrack, SequencePoses  # noqa: E402
from handloom.runtime.config.fields import (  # noqa: E402
    CompactSettings,
    HoldNetSettings,
    HoldNetTrainingSettings,
    SamplerSettings,
    SdfNetSettings,
)
from handloom.runtime.seeds import torch_generator  # noqa: E402

REFERENCE_RAYS_PER_SECOND = 10.0
"""The released code's, on one core of an AMD EPYC."""
GOAL = 50
SEED = 1
FRAMES, WIDTH_PX, HEIGHT_PX = 12, 320, 240


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    hold_net: HoldNetTrainingSettings
    compact: CompactSettings
    steps: int
    """Of HOLD-Net."""
    compact_steps: int
    object_cells: int = 64


FULL = Sizes(HoldNetTrainingSettings(pairs=1, rays=32), CompactSettings(), steps=2, compact_steps=25)
_SMALL_FIELD = SdfNetSettings(width=48, hidden_layers=3, skip_layer=2, features=8, frequencies=2)
TINY = Sizes(
    HoldNetTrainingSettings(
        network=HoldNetSettings(
            sdf=_SMALL_FIELD,
            sampler=SamplerSettings(first_samples=16, round_samples=16, final_samples=10, extra_samples=4, rounds=2),
        ),
        pairs=1,
        rays=8,
    ),
    CompactSettings(rays=64, hand_cells=12, feature_cells=8),
    steps=1,
    compact_steps=2,
    object_cells=16,
)
"""To see that everything runs; its figures mean nothing."""


def speckled_build(folder: Path, model: HandModel) -> Path:
    """Render a hand beside a turning block before a plain wall; the build folder with the true poses."""
    chance = np.random.default_rng(SEED)
    block = trimesh.creation.box((0.09, 0.06, 0.05)).subdivide_to_size(0.008)
    colours = chance.integers(0, 256, (len(block.vertices), 3)).astype(np.uint8)
    turns = torch.zeros(FRAMES, 3, dtype=torch.float64)
    turns[:, 1] = torch.linspace(0, 2 * np.pi, FRAMES + 1)[:-1]
    rotation = roma.rotvec_to_rotmat(turns)
    place = torch.tensor([-0.03, 0.0, 0.45], dtype=torch.float64).expand(FRAMES, 3)
    vertices = torch.from_numpy(np.array(block.vertices))
    intrinsics = torch.tensor([[300.0, 0, (WIDTH_PX - 1) / 2], [0, 300.0, (HEIGHT_PX - 1) / 2], [0, 0, 1]])
    hand_m = torch.tensor([0.1, 0.03, 0.47]).expand(FRAMES, 3)
    hand = HandTrack(torch.zeros(FRAMES, 16, 3), torch.zeros(model.shape_count), hand_m)
    thing = ObjectTrack(rotation, place, torch.ones(()).double())
    hands_m, blocks_m = hand.skinned(model).vertices_m.double(), thing.placed(vertices)
    for kind in ("frames", "masks"):
        (folder / kind).mkdir()
    for number in range(FRAMES):
        meshes = [
            PaintedMesh(blocks_m[number].numpy(), np.array(block.faces), colours),
            one_colour(hands_m[number].numpy(), model.faces.numpy(), (229, 178, 140)),
        ]
        seen = take_picture(meshes, intrinsics.double().numpy(), HEIGHT_PX, WIDTH_PX, (90, 110, 90))
        labels = np.array([0, 50, 150], np.uint8)[seen.mesh + 1]
        Image.fromarray(seen.rgb_u8).save(folder / "frames" / f"{number:04d}.png")
        Image.fromarray(labels).save(folder / "masks" / f"{number:04d}.png")
    scene = build_scene(
        {model.side: SequencePoses.of(hand, thing, model.side)},
        vertices,
        intrinsics,
        {model.side: model},
        sequence="block",
        names=[f"{number:04d}" for number in range(FRAMES)],
        image_paths=sorted((folder / "frames").iterdir()),
        mask_paths=sorted((folder / "masks").iterdir()),
    )
    write_build(folder / "build", scene, {model.side: model})
    return folder / "build"


def hold_net_training(build: Path, model: HandModel, sizes: Sizes) -> HoldNetTraining:
    """HOLD-Net as phase 1 has it from step 200 on, when the hand's surface is a target."""
    scene = read_build(build, {model.side: model})
    settings = sizes.hold_net
    net = net_of_scene(scene, model, settings.network, torch_generator(SEED, "networks"))
    set_poses(net, scene.poses_cam(model), model, scene.placement)
    training = HoldNetTraining(scene, model, Video.of(scene, model.side), net, settings, SEED)
    training.step = settings.hand_refresh_steps
    return training


def hold_net_rate(build: Path, model: HandModel, sizes: Sizes) -> float:
    """Rays per core-second of HOLD-Net."""
    training = hold_net_training(build, model, sizes)
    training.run_step()  # the hand's surface, allocations and caches
    seconds = [_core_seconds(training.run_step) for _ in range(sizes.steps)]
    return sizes.hold_net.rays_per_step * sizes.steps / sum(seconds)


def compact_rate(build: Path, model: HandModel, sizes: Sizes) -> float:
    """Rays per core-second of phase 3."""
    models = {model.side: model}
    settings, scene = sizes.compact, read_scene(build, models)
    templates = {model.side: hand_template(model, scene.poses[model.side].hand_shape, settings.hand_cells)}
    shape, _ = object_shape(scene, sizes.object_cells, None, "cpu")
    training = CompactTraining.start(scene, models, templates, shape, settings, settings.phase3, SEED, "cpu")
    training.run_step()  # the hands' neighbours
    seconds = sum(_core_seconds(training.run_step) for _ in range(sizes.compact_steps))
    return settings.rays * sizes.compact_steps / seconds


def _core_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def main(arguments: Sequence[str] | None = None) -> int:
    """Print both rates and their ratios; 1 if the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sequence", nargs="?", type=Path, help="results/hold/SEQUENCE; without it a block is rendered")
    parser.add_argument("--mano", help="resources/mano/mano_right.npz, if the sequence was made with it")
    parser.add_argument("--steps", type=int, help="steps of HOLD-Net that are timed (2)")
    parser.add_argument("--tiny", action="store_true", help="toy sizes; the figures mean nothing")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    model = configured_hand(chosen.mano) if chosen.mano else open_hand()
    sizes = TINY if chosen.tiny else FULL
    if chosen.steps:
        sizes = Sizes(**{**vars(sizes), "steps": chosen.steps})
    with tempfile.TemporaryDirectory() as folder:
        build = chosen.sequence / "build" if chosen.sequence else speckled_build(Path(folder), model)
        faithful = hold_net_rate(build, model, sizes)
        compact = compact_rate(build, model, sizes)
    reached = compact / REFERENCE_RAYS_PER_SECOND
    on = chosen.sequence.name if chosen.sequence else "a rendered block"
    print(f"rays per core-second on {on}, one thread{', toy sizes' if chosen.tiny else ''}")
    print(f"  reference, as measured      {REFERENCE_RAYS_PER_SECOND:9.0f}   (on another machine)")
    print(f"  HOLD-Net, published sizes   {faithful:9.1f}   {faithful / REFERENCE_RAYS_PER_SECOND:7.1f} x reference")
    against = f"{reached:7.0f} x reference, {compact / faithful:.0f} x HOLD-Net"
    print(f"  compact, phase 3            {compact:9.0f}   {against}")
    print(f"  goal: {GOAL} x reference, {'reached' if reached >= GOAL else 'NOT REACHED'}")
    return 0 if reached >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
