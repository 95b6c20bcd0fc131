"""What a user downloads or writes beside pictures: data sets, checkpoints, boxes, hand models; each with one fault."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch
from PIL import Image

from ..datasets.assembly_hands_files import SplitWriter, small_split
from ..datasets.ho3d_files import FRAMES, SequenceWriter
from ..reconstruction.held_box import write_small_build
from ..workflow.project import untrained_detnet
from .pictures import COUNT, Made, Maker, pictures


def ho3d(change: Callable[[SequenceWriter], None] = lambda writer: None, **meta: Any) -> Maker:
    """HO3D's layout; `meta` replaces values in every annotation."""

    def make(folder: Path) -> Made:
        writer = SequenceWriter(folder)
        path = writer.write()
        for frame in range(FRAMES):
            writer.write_meta(frame, {**writer.meta(frame), **meta})
        change(writer)
        return {"kind": "ho3d", "path": str(path)}

    return make


def model_times(factor: float) -> Callable[[SequenceWriter], None]:
    """The object's model in another unit."""

    def change(writer: SequenceWriter) -> None:
        path = writer.root / "models/025_mug/textured_simple.obj"
        lines = [
            " ".join(["v", *(str(factor * float(number)) for number in line.split()[1:])])
            if line.startswith("v ")
            else line
            for line in path.read_text().splitlines()
        ]
        path.write_text("\n".join(lines) + "\n")

    return change


def build(change: Callable[[dict[str, Any]], None]) -> Maker:
    """A HOLD build folder whose data.npy is changed."""

    def make(folder: Path) -> Made:
        path = write_small_build(folder) / "data.npy"
        data = np.load(path, allow_pickle=True).item()
        change(data)
        np.save(path, data, allow_pickle=True)
        return {"kind": "build", "path": str(path.parent)}

    return make


def boxes(left: str, right: str) -> Maker:
    """A camera pair of pictures and the rows of its boxes, {} standing for the frame's number."""

    def make(folder: Path) -> Made:
        made = {}
        for view, rows in (("left", left), ("right", right)):
            (folder / view).mkdir()
            made[view] = pictures("{:02d}.png")(folder / view)["path"]
            lines = [rows.format(number) for number in range(COUNT)] if "{" in rows else [rows]
            (folder / f"{view}.csv").write_text("\n".join(["frame,x0,y0,x1,y1", *lines]) + "\n")
            made[f"{view}_boxes"] = str(folder / f"{view}.csv")
        return made

    return make


def checkpoint(setting: str, change: Callable[[Path, dict[str, torch.Tensor]], object]) -> Maker:
    """A network of DetNet as it was released, changed and saved by `change`."""

    def make(folder: Path) -> Made:
        path = folder / "detnet.pth"
        change(path, untrained_detnet(setting).state_dict())
        return {"sources": {setting: {"checkpoint": str(path)}}}

    return make


def with_nan(path: Path, state: dict[str, torch.Tensor]) -> None:
    """One number of the first weights is none."""
    first = next(value for value in state.values() if value.is_floating_point())
    first.view(-1)[0] = torch.nan
    torch.save(state, path)


def wrapped(path: Path, state: dict[str, torch.Tensor]) -> None:
    """Inside of what a training saves."""
    torch.save({"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state.items()}}, path)


def rhd(**labels: np.ndarray) -> Maker:
    """RHD's layout with one picture, whose hands are at rest unless said otherwise."""

    def make(folder: Path) -> Made:
        inside = folder / "RHD_published_v2/training"
        for name in ("color", "mask"):
            (inside / name).mkdir(parents=True)
            Image.fromarray(np.zeros((320, 320, 3)[: 3 if name == "color" else 2], np.uint8)).save(
                inside / name / "00000.png"
            )
        seen = np.column_stack([100 + np.arange(42.0), 50 + 2 * np.arange(42.0), np.ones(42)])
        given = {"uv_vis": seen, "xyz": np.zeros((42, 3)), "K": np.eye(3), **labels}
        (inside / "anno_training.pickle").write_bytes(pickle.dumps({0: given}))
        return {"datasets": {"rhd": {"root": str(folder)}}}

    return make


def ganerated(joints: str) -> Maker:
    """GANerated's layout with one picture and this file of joints."""

    def make(folder: Path) -> Made:
        inside = folder / "data/noObject/0001"
        inside.mkdir(parents=True)
        Image.fromarray(np.zeros((256, 256, 3), np.uint8)).save(inside / "0001_color_composed.png")
        (inside / "0001_joint2D.txt").write_text(",".join(str(100 + number % 40) for number in range(42)))
        (inside / "0001_joint_pos_global.txt").write_text(joints)
        return {"datasets": {"ganerated": {"root": str(folder)}}}

    return make


def assembly_hands(change: Callable[[SplitWriter], None]) -> Maker:
    """AssemblyHands' layout, changed."""

    def make(folder: Path) -> Made:
        writer = small_split(folder)
        change(writer)
        writer.write()
        return {"datasets": {"assembly_hands": {"root": str(folder), "split": "val", "bad_fraction": 0.5}}}

    return make


def mano(change: Callable[[dict[str, Any]], None]) -> Maker:
    """Files of MANO's layout, changed; random numbers stand for the hand's."""

    def make(folder: Path) -> Made:
        random = np.random.default_rng(0)
        regressor = scipy.sparse.csc_matrix(random.random((16, 778)) * (random.random((16, 778)) < 0.02))
        parents = [2**32 - 1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14]
        hand = {
            "v_template": 0.05 * random.normal(size=(778, 3)),
            "shapedirs": 0.002 * random.normal(size=(778, 3, 10)),
            "posedirs": 0.001 * random.normal(size=(778, 3, 135)),
            "J_regressor": regressor,
            "weights": np.full((778, 16), 1 / 16),
            "f": random.integers(0, 778, (1538, 3)).astype(np.uint32),
            "kintree_table": np.array([parents, range(16)], dtype=np.uint32),
            "hands_mean": random.normal(size=45),
            "hands_components": random.normal(size=(45, 45)),
        }
        change(hand)
        for side in ("RIGHT", "LEFT"):
            (folder / f"MANO_{side}.pkl").write_bytes(pickle.dumps(hand, protocol=2))
        return {"mano": str(folder)}

    return make


def pipe_for(path: Path) -> None:
    """A named pipe in the place of a file."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)
