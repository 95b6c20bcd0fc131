"""Stage: HOLD's phases 1 and 3 with the voxel fields."""

from pathlib import Path

import pandas as pd

from handloom.hand.models import HandFiles, configured_hands
from handloom.reconstruction.compact.hand_template import HandTemplate
from handloom.reconstruction.compact.training import CompactTraining
from handloom.reconstruction.object_mesh import ObjectMesh, surface
from handloom.reconstruction.observations import read_scene
from handloom.reconstruction.phase_run import PhaseLength, given_files, require_frames, run_phase
from handloom.reconstruction.shape.object_shape import ObjectShape
from handloom.reconstruction.tracks import SequencePoses, read_poses
from handloom.runtime.artifacts import Header, write_weights
from handloom.runtime.checkpoints import CheckpointFolder, fingerprint
from handloom.runtime.config.fields import CompactPhaseSettings, CompactSettings
from handloom.runtime.devices import computing_on
from handloom.runtime.files import write_table

FIELDS = "compact_fields"
PREVIEW_STEPS, PREVIEW_WIDTH_PX = 300, 160
"""Steps between two pictures of the running training, and the width of a frame in them."""


def train_phase(
    build: Path,
    template: Path,
    shape: Path,
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
    hand: HandFiles = None,
    device: str = "cpu",
    threads: int | None = None,
    checkpoint_seconds: int = 20,
    code: str = "",
) -> None:
    """Stage: train the object's colours on its shape, each hand's field from its template, and the poses with them.

    Poses start from `first_poses`, an earlier phase's, or, without, from the build folder. A killed run goes on from
    its last checkpoint and ends with the same numbers on a CPU. Raises InputError for a folder that cannot be used,
    masks that do not fit the poses, a loss that is no number any more, or a device that is not there or too small.
    """
    models = configured_hands(hand)
    with computing_on(device, threads):
        scene = read_scene(build, models)
        require_frames(build, scene.names, scene.observations.seen)
        given = given_files(build, template, shape, first_poses)
        folder = CheckpointFolder(work, fingerprint(settings, length, phase, seed, code, given))
        if first_poses is not None:
            scene = scene._replace(poses=read_poses(first_poses, len(scene.names), models))
        training = CompactTraining.start(
            scene, models, HandTemplate.load_each(template), ObjectShape.load(shape), settings, length, seed, device
        )
        long = PhaseLength(phase, length.steps, settings.rays, PREVIEW_STEPS, PREVIEW_WIDTH_PX, checkpoint_seconds)
        run_phase(training, long, folder, previews)
    found = surface(training.scene.object_field.distance)
    ObjectMesh.of(found, scene.cube).save(mesh, seed=seed, code=code)
    write_weights(network, training.field_state(), Header(FIELDS, units="m", seed=seed, code=code))
    write_table(history, pd.DataFrame(training.history))
    SequencePoses.save_each(poses, training.scene.poses.snapshot(), seed=seed, code=code)
    folder.remove()
