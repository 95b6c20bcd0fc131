"""The stage that turns an aligned sequence into HOLD's `build/` folder."""

from pathlib import Path

import torch

from handloom.datasets.frames_file import read_frames_file
from handloom.hand.mano import HandModel
from handloom.reconstruction.build_folder import write_build
from handloom.reconstruction.build_scene import AlignedScene, build_scene
from handloom.reconstruction.scene_placement import ShiftMode
from handloom.runtime.artifacts import read_arrays
from handloom.runtime.errors import InputError

ALIGNED = "aligned"


def build_sequence(
    model: HandModel,
    aligned: Path,
    frames: Path,
    frames_json: Path,
    masks: Path,
    output: Path,
    *,
    sequence: str,
    shift: ShiftMode = "safe",
) -> None:
    """Stage: write `build/` with image/, mask/, corres.txt and data.npy, which HOLD's own code reads as well.

    Raises InputError when frames, masks and poses do not belong together or the scene leaves HOLD's sphere.
    """
    arrays, _ = read_arrays(aligned, ALIGNED)
    names = tuple(read_frames_file(frames_json).names)
    images, labels = sorted(frames.glob("*.png")), sorted(masks.glob("*.png"))
    counts = {
        str(frames): len(images),
        str(masks): len(labels),
        str(frames_json): len(names),
        str(aligned): len(arrays["hand_rotvec"]),
    }
    if len(set(counts.values())) > 1:
        raise InputError(f"the numbers of frames differ: {counts}; run the rules that make them again")
    real = {name: torch.from_numpy(arrays[name]).float() for name in AlignedScene.__dataclass_fields__}
    scene = AlignedScene(**{**real, "object_scale": float(real["object_scale"])})
    write_build(
        output,
        build_scene(
            scene, model, sequence=sequence, names=names, image_paths=images, mask_paths=labels, shift=shift
        ),
        {model.side: model},
    )
