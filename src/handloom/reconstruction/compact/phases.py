"""Stage: HOLD's phases 1 and 3 with the voxel fields."""

from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from handloom.datasets.numbered_pictures import pictures_and_masks
from handloom.hand.models import configured_hand
from handloom.reconstruction.compact.hand_template import HandTemplate
from handloom.reconstruction.compact.training import CompactTraining
from handloom.reconstruction.object_mesh import ObjectMesh, surface
from handloom.reconstruction.observations import HAND, OBJECT, read_scene
from handloom.reconstruction.phase_run import PhaseLength, Preview, require_frames, run_phase, write_frame_previews
from handloom.reconstruction.tracks import read_poses
from handloom.runtime.artifacts import Header, write_weights
from handloom.runtime.checkpoints import CheckpointFolder, fingerprint
from handloom.runtime.config.fields import CompactPhaseSettings, CompactSettings
from handloom.runtime.devices import computing_on
from handloom.runtime.files import write_table

FIELDS = "compact_fields"
PREVIEW_STEPS, PREVIEW_WIDTH_PX = 300, 160
"""Steps between two pictures of the running training, and the width of a frame in them."""
_PREVIEW_RAYS_AT_ONCE = 4096


def train_phase(
    build: Path,
    template: Path,
    network: Path,
    poses: Path,
    mesh: Path,
    history: Path,
    previews: Path,
    *,
    settings: CompactSettings,
    length: CompactPhaseSettings,
    phase: str,
    seed: int,
    work: Path,
    first_poses: Path | None = None,
    hand: Path | None = None,
    device: str = "cpu",
    threads: int | None = None,
    checkpoint_seconds: int = 20,
    code: str = "",
) -> None:
    """Stage: train the fields from the object's visual hull and the hand's template, and the poses with them.

    Poses start from `first_poses`, an earlier phase's, or, without, from the build folder. A killed run goes on from
    its last checkpoint and ends with the same numbers on a CPU. Raises InputError for a folder that cannot be used,
    masks that do not fit the poses, a loss that is no number any more, or a device that is not there or too small.
    """
    model = configured_hand(hand)
    with computing_on(device, threads):
        scene = read_scene(build, model)
        classes = scene.observations.class_u8
        seen = {what: (classes == label).flatten(1).any(1) for label, what in ((OBJECT, "object"), (HAND, "hand"))}
        require_frames(build, scene.names, seen)
        images, masks = pictures_and_masks(build)
        starts = [] if first_poses is None else [first_poses]
        given = [build / "data.npy", *images, *masks, template, *starts]
        folder = CheckpointFolder(work, fingerprint(settings, length, phase, seed, code, given))
        training = CompactTraining.start(
            scene.observations,
            model,
            scene.poses if first_poses is None else read_poses(first_poses, len(scene.names), model),
            scene.cube,
            settings,
            length,
            template=HandTemplate.load(template),
            seed=seed,
            points_unit=scene.points_unit,
            device=device,
        )
        long = PhaseLength(phase, length.steps, settings.rays, PREVIEW_STEPS, checkpoint_seconds)
        run_phase(training, long, folder, previews, lambda path: write_preview(path, training))
    found = surface(training.scene.object_field.distance)
    ObjectMesh.of(found, scene.cube).save(mesh, seed=seed, code=code)
    write_weights(network, training.field_state(), Header(FIELDS, units="m", seed=seed, code=code))
    write_table(history, pd.DataFrame(training.history))
    training.scene.poses.snapshot().save(poses, seed=seed, code=code)
    folder.remove()


def write_preview(path: Path, training: CompactTraining) -> None:
    """Write a picture of evenly spaced frames: photograph, rendering, classes; small and without random numbers."""
    frames, height, width = training.observations.class_u8.shape

    def look(frame: int, pixels: Tensor) -> Preview:
        return _view(training, frame, pixels)

    write_frame_previews(path, look, frames=frames, height=height, width=width, width_px=PREVIEW_WIDTH_PX)


def _view(training: CompactTraining, frame: int, pixels: Tensor) -> Preview:
    observations, scene = training.observations, training.scene
    pixels = pixels.to(observations.image_u8.device)
    batch = observations.rays(torch.full((len(pixels),), frame, device=pixels.device), pixels)
    plate = observations.plate_u8[pixels[:, 1], pixels[:, 0]].float() / 255
    colour, kind = [], []
    with torch.no_grad():
        rays = max(1, _PREVIEW_RAYS_AT_ONCE // scene.chunks)
        for first in range(0, len(pixels), rays):
            some = slice(first, first + rays)
            found = scene.render(batch.directions[some], batch.frame[some], plate[some], training.beta_m)
            colour.append(found.colour)
            kind.append(found.semantics)
    return Preview(batch.colour, torch.cat(colour), torch.cat(kind))
