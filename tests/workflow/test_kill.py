"""A training or an adaptation killed mid-way through a run goes on in the next run and ends with the same bytes."""

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from PIL import Image

from .project import Project, held_at_step, saved_steps

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]

SOURCE = "results/s2d/source/cross"
NETWORK, HISTORY = f"{SOURCE}/detnet.safetensors", f"{SOURCE}/history.csv"
TRAINING = {
    "sources": {"cross": {"datasets": ["rhd"], "checkpoint": None}},
    "demo": {"rhd_training_images": 16},
    "pretraining": {"epochs": 3, "batch_size": 4, "precision": "float32"},
    "checkpoint_seconds": 0,  # a checkpoint after every step
}
PAIR = "results/s2d/cross/headset1/1-2/s2dhand"
ADAPTATION = {"adaptation": {"epochs": 6, "precision": "float32"}, "checkpoint_seconds": 0}


def training(project: Project) -> Project:
    """Let the project train its cross-dataset network instead of taking the ready one."""
    settings = yaml.safe_load((project.folder / "tiny.yaml").read_text())
    del settings["sources"]
    (project.folder / "tiny.yaml").write_text(yaml.safe_dump(settings | TRAINING))
    return project


def ends_alike(killed: Project, whole: Project, target: str, log: str, files: list[str]) -> None:
    """Run both to their end: the killed one must go on, the other must not, and both must end with the same bytes."""
    killed.snakemake("--unlock")
    killed.snakemake(target)
    assert "going on at" in (killed.folder / log).read_text()
    whole.snakemake(target)
    assert "going on at" not in (whole.folder / log).read_text()
    for name in files:
        assert (killed.folder / name).read_bytes() == (whole.folder / name).read_bytes(), name


def test_a_killed_training_goes_on_and_ends_bit_equal(fresh: Callable[[str], Project], tmp_path: Path) -> None:
    killed = training(fresh("killed"))
    killed.snakemake("results/s2d/training/rhd.npz")
    whole = killed.copied(tmp_path / "whole")
    with held_at_step(killed, NETWORK, 6, tmp_path / "tools"):
        # A second run in the same folder is refused while the first one works.
        refusal = killed.snakemake(NETWORK, fails=True)
        assert "Directory cannot be locked" in refusal
        assert "--unlock" in refusal
    assert saved_steps(killed, NETWORK)
    assert not (killed.folder / NETWORK).exists()
    ends_alike(killed, whole, NETWORK, "logs/pretrain_source/cross.log", [NETWORK, HISTORY])
    assert not saved_steps(killed, NETWORK)


def test_a_killed_adaptation_goes_on_and_ends_bit_equal(built: Project, tmp_path: Path) -> None:
    whole = built.copied(tmp_path / "whole")
    settings = yaml.safe_load((whole.folder / "tiny.yaml").read_text())
    (whole.folder / "tiny.yaml").write_text(yaml.safe_dump(settings | ADAPTATION))
    killed = whole.copied(tmp_path / "killed")
    network = f"{PAIR}/seed1.safetensors"
    with held_at_step(killed, network, 3, tmp_path / "tools"):
        pass
    assert max(saved_steps(killed, network)) == 3
    outputs = [network, f"{PAIR}/seed1.predictions.npz", f"{PAIR}/seed1.history.csv"]
    assert [name for name in outputs if (killed.folder / name).exists()] == []
    ends_alike(killed, whole, network, "logs/adapt/cross/headset1/1-2.log", outputs)
    assert not saved_steps(killed, network)


KILLED = """
def move(source, place, moved=[]):
    if moved:
        os.killpg(0, 9)
    moved.append(os.replace(source, place))
"""


def with_frames(project: Project) -> Project:
    """The project with a sequence of three frames in a folder."""
    settings = yaml.safe_load((project.folder / "tiny.yaml").read_text())
    settings["hold"] = {"sequences": {"own": {"kind": "frames", "path": "own"}}}
    (project.folder / "tiny.yaml").write_text(yaml.safe_dump(settings))
    (project.folder / "own").mkdir()
    for number in range(3):
        Image.new("RGB", (64, 48), (80 * number, 0, 0)).save(project.folder / f"own/{number:04d}.png")
    return project


def test_a_run_killed_between_two_outputs_of_a_job_is_mended_by_the_next(fresh: Callable[[str], Project]) -> None:
    """Snakemake and its job die after the first of two files lies in its place."""
    project = with_frames(fresh("between"))
    folder, target = project.folder / "results/hold/own", "results/hold/own/frames.json"
    module = project.folder / "src/handloom/runtime/outputs.py"
    source = module.read_text()
    module.write_text(source + KILLED)
    command = project.command(target)
    killed = subprocess.run(
        command, cwd=project.folder, env=project.environment(), start_new_session=True, capture_output=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert {path.name.partition("-")[0] for path in folder.iterdir()} == {"frames", ".making"}
    module.write_text(source)
    project.snakemake("--unlock")
    assert "Nothing to be done" not in project.snakemake(target)
    assert {path.name for path in folder.iterdir()} == {"frames", "frames.json"}
    assert "an earlier attempt of this job was killed" in (project.folder / "logs/extract_frames/own.log").read_text()


def test_a_job_killed_for_memory_is_told_where_it_is_reported(fresh: Callable[[str], Project]) -> None:
    project = with_frames(fresh("memory"))
    module = project.folder / "src/handloom/datasets/video.py"
    module.write_text(
        module.read_text()
        + "\n\nimport functools, os\n\n\n@functools.wraps(extract_frames)\n"
        + "def killed(**_):\n    os.kill(os.getpid(), 9)\n\n\nextract_frames = killed\n"
    )
    output = project.snakemake("results/hold/own/frames.json", fails=True)
    assert "extract_frames: the job was killed by SIGKILL, most likely because memory ran out" in output
    assert "mem_mb=2000; give it more with --set-resources extract_frames:mem_mb=4000" in output
