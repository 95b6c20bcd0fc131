"""HOLD's three phases as stages: train fields and poses, refine the poses, train again (facts/hold.md 0)."""

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from handloom.hand.mano import HandModel
from handloom.reconstruction.compact.classes import HAND, OBJECT
from handloom.reconstruction.compact.hand_template import read_hand_template
from handloom.reconstruction.compact.meshing import SurfaceMesh, surface
from handloom.reconstruction.compact.object_mesh import read_object_mesh, write_object_mesh
from handloom.reconstruction.compact.preview import write_preview
from handloom.reconstruction.compact.refinement import Refinement
from handloom.reconstruction.compact.scene_input import read_poses, read_scene, write_poses
from handloom.reconstruction.compact.scene_poses import ScenePoses
from handloom.reconstruction.compact.training import CompactTraining
from handloom.reconstruction.phase_run import PhaseLength, PhaseOutputs, require_frames, run_phase
from handloom.runtime.artifacts import Header, write_weights
from handloom.runtime.checkpoints import CheckpointFolder, fingerprint
from handloom.runtime.config.compact import CompactSettings
from handloom.runtime.config.refinement import RefinementSettings
from handloom.runtime.devices import computing_on
from handloom.runtime.files import write_table

FIELDS = "compact_fields"
PhaseName = Literal["phase1", "phase3"]


def train_phase(
    settings: CompactSettings,
    phase: PhaseName,
    model: HandModel,
    build: Path,
    template: Path,
    poses: Path | None = None,
    *,
    outputs: PhaseOutputs,
    work: Path,
    seed: int,
    threads: int | None = None,
    device: str = "cpu",
    code: str = "",
) -> None:
    """Stage: train the fields from the object's visual hull and the hand's template, and the poses with them.

    Poses start from `poses` (phase 2's) or, without, from the build folder. A killed run goes on from its last
    checkpoint and ends with the same numbers on a CPU. Raises InputError for a folder that cannot be used, masks that
    do not fit the poses, a loss that is no number any more, or a device that is not there or too small.
    """
    with computing_on(device, threads):
        _train_phase(settings, phase, model, build, template, poses, outputs, work, seed, device, code)


def _train_phase(
    settings: CompactSettings,
    phase: PhaseName,
    model: HandModel,
    build: Path,
    template: Path,
    poses: Path | None,
    outputs: PhaseOutputs,
    work: Path,
    seed: int,
    device: str,
    code: str,
) -> None:
    scene = read_scene(build, model, settings.cube_margin)
    classes = scene.observations.class_u8
    seen = {what: (classes == label).flatten(1).any(1) for label, what in ((OBJECT, "object"), (HAND, "hand"))}
    require_frames(build, scene.names, seen)
    start = scene.poses if poses is None else read_poses(poses, len(scene.names), model.shape_count)
    length = settings.phase1 if phase == "phase1" else settings.phase3
    pictures = sorted([*(build / "image").glob("*"), *(build / "mask").glob("*")])
    given = [build / "data.npy", *pictures, template, *([] if poses is None else [poses])]
    folder = CheckpointFolder(work, fingerprint(settings, phase, seed, code, given))
    training = CompactTraining.start(
        scene.observations,
        model,
        start,
        scene.cube,
        settings,
        length,
        template=read_hand_template(template),
        seed=seed,
        points_unit=scene.points_unit,
        device=device,
    )
    long = PhaseLength(
        phase,
        length.steps,
        settings.rays,
        length.preview_steps,
        settings.checkpoint_seconds,
    )
    run_phase(training, long, folder, outputs.previews, lambda path: write_preview(path, training))
    mesh = surface(training.scene.object_field.distance)
    write_object_mesh(outputs.mesh, mesh, scene.cube, seed=seed, code=code)
    write_weights(outputs.network, training.field_state(), Header(FIELDS, units="m", seed=seed, code=code))
    write_table(outputs.history, pd.DataFrame(training.history))
    write_poses(outputs.poses, training.scene.poses.arrays(), seed=seed, code=code)
    folder.remove()


def refine_poses(
    settings: RefinementSettings,
    cube_margin: float,
    model: HandModel,
    build: Path,
    poses: Path,
    mesh: Path,
    output: Path,
    history: Path,
    *,
    threads: int | None = None,
    device: str = "cpu",
    code: str = "",
) -> None:
    """Stage: phase 2. Move all poses so that silhouettes fit the masks and the hand touches the object.

    Raises InputError when the optimisation leaves the numbers, or for a device that is not there or too small.
    """
    with computing_on(device, threads):
        refinement = _refined(settings, cube_margin, model, build, poses, mesh, device)
    write_table(history, pd.DataFrame(refinement.history))
    write_poses(output, refinement.poses.arrays(), code=code)


def _refined(
    settings: RefinementSettings,
    cube_margin: float,
    model: HandModel,
    build: Path,
    poses: Path,
    mesh: Path,
    device: str,
) -> Refinement:
    scene = read_scene(build, model, cube_margin)
    shape = read_object_mesh(mesh)
    unit = ((shape.vertices - scene.cube.centre.numpy()) / scene.cube.radius).astype(np.float32)
    refinement = Refinement(
        ScenePoses(model, read_poses(poses, len(scene.names), model.shape_count).to(device), scene.cube),
        SurfaceMesh(unit, shape.faces),
        scene.observations.to(device),
        settings,
    )
    refinement.run()
    return refinement
