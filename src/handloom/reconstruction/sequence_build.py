"""The stage that turns an aligned sequence into HOLD's `build/` folder."""

import tempfile
from pathlib import Path

import torch

from handloom.datasets.frames_file import read_frames_file
from handloom.estimators.sfm.distortion import undistort_sequence
from handloom.hand.mano import HandModel
from handloom.reconstruction.build_folder import write_build
from handloom.reconstruction.build_scene import AlignedScene, BuildScene, build_scene
from handloom.reconstruction.scene_placement import ShiftMode
from handloom.runtime.errors import InputError
from handloom.runtime.finite_arrays import read_finite_arrays

ALIGNED = "aligned"


def build_sequence(
    model: HandModel,
    aligned: Path,
    object_poses: Path,
    frames: Path,
    frames_json: Path,
    masks: Path,
    output: Path,
    *,
    sequence: str,
    shift: ShiftMode = "safe",
) -> None:
    """Stage: write `build/` with image/, mask/, corres.txt and data.npy, which HOLD's own code reads as well.

    Frames and masks lose the lens distortion that `object_poses` found, since HOLD knows pinholes only.

    Raises InputError when frames, masks and poses do not belong together or the scene leaves HOLD's sphere.
    """
    with tempfile.TemporaryDirectory(prefix="handloom-build-") as work:
        pinhole_frames, pinhole_masks = Path(work) / "frames", Path(work) / "masks"
        undistort_sequence(frames, masks, object_poses, pinhole_frames, pinhole_masks)
        scene = _scene(model, aligned, frames_json, pinhole_frames, pinhole_masks, sequence, shift)
        write_build(output, scene, {model.side: model})


def _scene(
    model: HandModel, aligned: Path, frames_json: Path, frames: Path, masks: Path, sequence: str, shift: ShiftMode
) -> BuildScene:
    fields = AlignedScene.__dataclass_fields__
    arrays, _ = read_finite_arrays(aligned, ALIGNED, tuple(fields))
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
    real = {name: torch.from_numpy(arrays[name]).float() for name in fields}
    scale = float(real.pop("object_scale"))
    found = AlignedScene(**real, object_scale=scale)
    return build_scene(found, model, sequence=sequence, names=names, image_paths=images, mask_paths=labels, shift=shift)
