"""A small training of the compact fields on the held box, and its files."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from handloom.reconstruction.compact.hand_template import HandTemplate, hand_template
from handloom.reconstruction.compact.phases import train_phase
from handloom.reconstruction.compact.training import CompactTraining
from handloom.reconstruction.observations import SceneInput
from handloom.reconstruction.shape.object_shape import ObjectShape, object_shape
from handloom.runtime.config.fields import CompactPhaseSettings, CompactSettings

from ..held_box import MODEL, held_box


def small_settings(steps: int = 30) -> CompactSettings:
    """Few rays, samples and cells; both phases alike; poses move."""
    phase = CompactPhaseSettings(steps=steps)
    return CompactSettings(
        hand_cells=12,
        rays=96,
        coarse_samples=16,
        object_samples=10,
        hand_coarse_samples=8,
        hand_samples=6,
        hand_neighbours=3,
        feature_cells=8,
        features=3,
        hidden=8,
        code_size=2,
        pose_rate=1e-4,
        phase1=phase,
        phase3=phase,
    )


@cache
def small_template() -> HandTemplate:
    """The template of the unshaped hand on a coarse grid."""
    return hand_template(MODEL, torch.zeros(MODEL.shape_count), 12)


@cache
def small_shape() -> ObjectShape:
    """The shape of the held box on 16 nodes a side."""
    return object_shape(small_scene(), 16, None, "cpu")[0]


def small_scene() -> SceneInput:
    """The held box as stages read it."""
    held = held_box()
    return SceneInput((), held.observations(), {"right": held.poses}, held.cube, torch.zeros(1, 3))


def small_training(settings: CompactSettings, *, seed: int = 3, device: str = "cpu") -> CompactTraining:
    """A new training of the held box."""
    phase = settings.phase1
    models, templates = {"right": MODEL}, {"right": small_template()}
    return CompactTraining.start(small_scene(), models, templates, small_shape(), settings, phase, seed, device)


@dataclass(frozen=True)
class PhaseFiles:
    """The files of a trained phase."""

    folder: Path

    @property
    def outputs(self) -> dict[str, Path]:
        """The files by the names that the stage has for them."""
        files = {"network": "network.safetensors", "poses": "poses.npz", "mesh": "object.npz", "history": "history.csv"}
        return {name: self.folder / file for name, file in {**files, "previews": "previews"}.items()}

    @property
    def poses(self) -> Path:
        """Where hand and object are."""
        return self.outputs["poses"]

    @property
    def mesh(self) -> Path:
        """The object."""
        return self.outputs["mesh"]

    def contents(self) -> dict[str, bytes]:
        """All bytes of them."""
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in files}


def train_small(
    build: Path,
    template: Path,
    folder: Path,
    settings: CompactSettings,
    first_poses: Path | None = None,
    **more: object,
) -> PhaseFiles:
    """Phase 1, or 3 from poses, as a stage that saves after every step."""
    files = PhaseFiles(folder)
    fixed = {"seed": 1, "threads": 1, "checkpoint_seconds": 0, "work": folder / "work", "first_poses": first_poses}
    phase = "phase1" if first_poses is None else "phase3"
    run = {"settings": settings, "length": settings.phase1, "phase": phase} | fixed | more
    train_phase(build, template, template.with_name("shape.npz"), **files.outputs, **run)
    return files
