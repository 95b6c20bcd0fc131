"""Copies of the workflow in a folder of its own, and a way to run snakemake there."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml

from handloom.estimators.detnet.checkpoint import save_checkpoint
from handloom.estimators.detnet.network import DetNet, initialise
from handloom.runtime.config.sources import DetNetSettings

ROOT = Path(__file__).parents[2]
PARTS = ("Snakefile", "workflow", "config", "config.yaml", "envs", "profiles", "src", "pyproject.toml")
DETNET = {"input_px": 64, "map_cells": 8, "width": 4, "blocks": [1, 1, 1], "head_width": 8}
CHECKPOINTS = {"in": "in.safetensors", "cross": "cross.safetensors"}


@dataclass(frozen=True)
class Project:
    """A copy of the workflow; `tiny.yaml` makes the smoke preset smaller still and brings untrained networks."""

    folder: Path

    def command(self, *arguments: str) -> list[str]:
        """A snakemake command line with two cores and the tiny preset."""
        presets = ["--configfile", "config/smoke.yaml", "tiny.yaml"]
        return [sys.executable, "-m", "snakemake", *arguments, *presets, "--cores", "2"]

    def environment(self) -> dict[str, str]:
        """What the commands run in; the copy's own source comes first by itself."""
        environment = dict(os.environ, TQDM_DISABLE="1", XDG_CACHE_HOME=str(self.folder / ".cache"))
        environment.pop("PYTHONPATH", None)
        return environment

    def snakemake(self, *arguments: str, fails: bool = False) -> str:
        """Run snakemake to its end; its output, which is shown when it ends otherwise than expected."""
        return self.run(self.command(*arguments), fails=fails)

    def copied(self, folder: Path) -> "Project":
        """The project in another folder, with the times of its files, so that nothing that is made is made again."""
        return Project(shutil.copytree(self.folder, folder, copy_function=shutil.copy2))

    def run(self, command: list[str], *, fails: bool = False) -> str:
        """Run a command in the folder; see `snakemake`."""
        ended = subprocess.run(
            command, cwd=self.folder, env=self.environment(), capture_output=True, text=True, check=False, timeout=1800
        )
        output = ended.stdout + ended.stderr
        assert (ended.returncode != 0) == fails, output
        return output


_STOPPING = """
import os, re, signal

def replace(source, place, replaced=os.replace, **given):
    replaced(source, place, **given)
    saved = re.search(r"/work/[^/]+/step-(\\d+)-", str(place))
    if saved and int(saved[1]) >= {step}:
        os.kill(os.getpid(), signal.SIGSTOP)

os.replace = replace
"""


@contextmanager
def held_at_step(project: Project, target: str, step: int, tools: Path) -> Iterator[None]:
    """Make the target until its training has saved that step or a later one, where the training stops itself.

    So it cannot end before the block does; then snakemake and its jobs are killed at once. Jobs load what stops them
    from the folder `tools`.
    """
    tools.mkdir()
    (tools / "sitecustomize.py").write_text(_STOPPING.format(step=step))
    run = subprocess.Popen(
        project.command(target),
        cwd=project.folder,
        env={**project.environment(), "PYTHONPATH": str(tools)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while max(saved_steps(project, target), default=0) < step:
            assert run.poll() is None, "the run ended without saving that step"
            time.sleep(0.1)
        yield
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()


def saved_steps(project: Project, target: str) -> list[int]:
    """The steps of the checkpoints that lie in the work folder of the job of a target."""
    return sorted(int(path.name.split("-")[1]) for path in (project.folder / target).parent.glob("work/*/step-*.pt"))


def copied_project(folder: Path) -> Project:
    """Copy the workflow and write the tiny preset and its two checkpoints."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        source, target = ROOT / part, folder / part
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(source, target)
    for setting, name in CHECKPOINTS.items():
        save_checkpoint(folder / name, untrained_detnet(setting))
    tiny = {
        "headsets": ["headset1"],
        "demo": {"rhd_training_images": 1, "rhd_evaluation_images": 1, "ganerated_images": 2},
        "pairs": ["1-2"],
        "detnet": DETNET,
        "sources": {setting: {"checkpoint": name} for setting, name in CHECKPOINTS.items()},
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    return Project(folder)


def untrained_detnet(setting: str) -> DetNet:
    """The tiny preset's network of a setting, as it is before any training."""
    root = {"in": 0, "cross": 9}[setting]
    network = DetNet(DetNetSettings.model_validate(DETNET), root)
    initialise(network, torch.Generator().manual_seed(root))
    return network
