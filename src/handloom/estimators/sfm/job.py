"""A reconstruction in a process of its own.

pycolmap can end its process (it aborts where other libraries raise) and prints to the terminal from C++; apart from
that, its wheel brings a zlib that breaks others loaded later (facts/assets.md C). A child process keeps all three away.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from handloom.estimators.sfm.sparse_model import SparseModel
from handloom.runtime.config.sfm import SfmSettings
from handloom.runtime.errors import InputError
from handloom.runtime.files import read_json, write_json

_LOG_LINES = 6


@dataclass(frozen=True)
class SfmJob:
    """What a backend is given: frames by name, masks of the object as `<name>.png`, and a folder to work in."""

    frames_folder: Path
    masks_folder: Path
    work_folder: Path
    names: Sequence[str]
    width_px: int
    height_px: int
    camera_model: str
    known_intrinsics: Float[np.ndarray, "3 3"] | None
    settings: SfmSettings
    seed: int

    def mask_of(self, name: str) -> Path:
        """The file of a frame's mask: the frame's whole name and `.png`, as COLMAP names masks."""
        return self.masks_folder / f"{name}.png"

    def guessed_intrinsics(self) -> Float[np.ndarray, "3 3"]:
        """The known intrinsics, or f = focal_factor * longer side with the principal point at the image's centre."""
        if self.known_intrinsics is not None:
            return self.known_intrinsics
        focal = self.settings.focal_factor * max(self.width_px, self.height_px)
        return np.array([[focal, 0, (self.width_px - 1) / 2], [0, focal, (self.height_px - 1) / 2], [0, 0, 1.0]])


def run_job(job: SfmJob) -> SparseModel:
    """The model of the job's backend, computed in a child process whose output goes to `sfm.log` in the work folder.

    Raises InputError when the child fails, dies of a signal or takes too long, with the last lines of its log.
    """
    job.work_folder.mkdir(parents=True, exist_ok=True)
    description, result, log = (job.work_folder / name for name in ("job.json", "model.npz", "sfm.log"))
    known = None if job.known_intrinsics is None else job.known_intrinsics.tolist()
    content = {**vars(job), "known_intrinsics": known, "names": list(job.names)}
    content["settings"] = job.settings.model_dump(mode="json")
    write_json(description, {key: str(value) if isinstance(value, Path) else value for key, value in content.items()})
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with log.open("wb") as output:
        try:
            code = subprocess.run(
                [sys.executable, "-m", __spec__.name, str(description), str(result)],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                timeout=job.settings.time_limit_s,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired as error:
            raise InputError(
                f"{job.frames_folder}: structure from motion took longer than sfm.time_limit_s = "
                f"{job.settings.time_limit_s:g} s; use fewer frames, a smaller sfm.pairs.window, or a higher limit"
            ) from error
    if code != 0:
        raise InputError(f"{job.frames_folder}: structure from motion {_ending(code)}; its log ends\n{_tail(log)}")
    return SparseModel.read(result)


def _ending(code: int) -> str:
    if code < 0:
        return f"died of {signal.Signals(-code).name} (backend's fault or no memory; try another sfm.backend)"
    return f"failed with exit code {code}"


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-_LOG_LINES:])


def _main(description: Path, result: Path) -> None:
    content = read_json(description)
    known = content["known_intrinsics"]
    content["known_intrinsics"] = None if known is None else np.array(known, float)
    content["settings"] = SfmSettings.model_validate(content["settings"])
    for folder in ("frames_folder", "masks_folder", "work_folder"):
        content[folder] = Path(content[folder])
    job = SfmJob(**content)
    if job.settings.backend == "hloc":
        from handloom.estimators.sfm.hloc_backend import reconstruct
    else:
        from handloom.estimators.sfm.pycolmap_backend import reconstruct
    reconstruct(job).write(result)


if __name__ == "__main__":
    try:
        _main(Path(sys.argv[1]), Path(sys.argv[2]))
    except InputError as error:
        sys.exit(f"{error}")
