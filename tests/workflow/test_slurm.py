"""The SLURM profile on a real slurmctld with one node, this machine: a job that runs out of time and is pre-empted."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from ..reconstruction.held_box import write_small_build
from .project import Project
from .test_hold_bad_input import COMPACT

TOOLS = ("slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel")
pytestmark = [
    pytest.mark.workflow,
    pytest.mark.xdist_group("workflow_fresh"),
    pytest.mark.skipif(
        os.getuid() != 0 or any(shutil.which(tool) is None for tool in TOOLS),
        reason="needs root and SLURM (Debian: slurmctld slurmd slurm-client)",
    ),
]
CONFIGURATION = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
SlurmUser=root
AuthType=auth/none
CredType=cred/none
StateSaveLocation={folder}
SlurmdSpoolDir={folder}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
SlurmdParameters=config_overrides
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
AccountingStorageType=accounting_storage/none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=1000000
PartitionName=cpu Nodes=ALL Default=YES State=UP PriorityTier=1 GraceTime=20
PartitionName=urgent Nodes=ALL State=UP PriorityTier=2
"""
PHASE, LOG = "results/hold/own/phase1", "logs/train_phase/own/phase1.log"
RESULTS = [f"{PHASE}/{name}" for name in ("network.safetensors", "poses.npz", "object.npz", "history.csv")]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A SLURM of this machine's own, without accounting."""
    folder = tmp_path_factory.mktemp("slurm")
    text = CONFIGURATION.format(folder=folder, host=socket.gethostname(), controller=free_port(), daemon=free_port())
    (folder / "slurm.conf").write_text(text)
    (folder / "cgroup.conf").touch()
    srun = folder / "bin/srun"
    srun.parent.mkdir()
    # Snakemake's plugin starts srun without the variable that says where this SLURM is configured.
    srun.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which("srun")} "$@"\n')
    srun.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        patch.setenv("PATH", f"{srun.parent}:{os.environ['PATH']}")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        daemons = [subprocess.Popen(["slurmctld", "-D"], **quiet), subprocess.Popen(["slurmd", "-D"], **quiet)]
        try:
            wait_for(lambda: "idle" in answer(["sinfo", "--noheader", "--format=%T", "--partition=cpu"]), 60)
            yield folder
        finally:
            subprocess.run(["scancel", "--full", "--user=root"], check=False)
            time.sleep(2)
            for each in reversed(daemons):
                each.terminate()
                each.wait(30)


def answer(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def wait_for(there: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def with_phase(project: Project, steps: int) -> Project:
    """The project with a small phase 1 of so many steps, whose checkpoints come as often as by default."""
    settings = yaml.safe_load((project.folder / "tiny.yaml").read_text())
    compact = {name: value for name, value in COMPACT.items() if name != "checkpoint_seconds"}
    compact["phase1"] = {**compact["phase1"], "steps": steps}
    settings["hold"] = {"sequences": {"own": {"kind": "build", "path": "box/build"}}, "compact": compact}
    (project.folder / "tiny.yaml").write_text(yaml.safe_dump(settings))
    write_small_build(project.folder / "box")
    return project


def steps(project: Project) -> list[int]:
    return [int(path.name.split("-")[1]) for path in project.folder.glob(f"{PHASE}/work/*/step-*.pt")]


def going_on(project: Project) -> bool:
    """Whether the running job took up an earlier one's state."""
    log = project.folder / LOG
    return log.exists() and "going on at step" in log.read_text()


def suspend(project: Project) -> None:
    """Stop the project's stage where it is, so that it is not done before SLURM has had enough; SLURM wakes it up."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (
                process.joinpath("cwd").samefile(project.folder)
                and b".stage.py" in process.joinpath("cmdline").read_bytes()
            ):
                os.kill(int(process.name), signal.SIGSTOP)
        except OSError:
            continue


def test_a_job_out_of_time_or_pre_empted_goes_on_and_ends_bit_equal(
    slurm: Path, fresh: Callable[[str], Project]
) -> None:
    stopped, whole = (with_phase(fresh(name), 200) for name in ("stopped", "whole"))
    target = f"{PHASE}/object.npz"
    quick = ["--slurm-init-seconds-before-status-checks", "3", "--latency-wait", "5"]
    short = ["--set-resources", "train_phase:runtime=attempt"]
    command = stopped.command(target, "--workflow-profile", "profiles/slurm", *quick, *short)
    output = slurm / "output.txt"
    with output.open("w") as file:
        run = subprocess.Popen(command, cwd=stopped.folder, env=stopped.environment(), stdout=file, stderr=file)
        try:
            wait_for(lambda: bool(steps(stopped)), 300)
            suspend(stopped)
            wait_for(lambda: going_on(stopped), 300)  # the second job, with two minutes
            suspend(stopped)
            subprocess.run(["sbatch", "--partition=urgent", "--cpus-per-task=2", "--wrap=true"], cwd=slurm, check=True)
            assert run.wait(600) == 0, output.read_text()
        finally:
            run.kill()
    told = output.read_text()
    assert "SLURM status is: 'TIMEOUT'" in told
    assert "Auto-selected partition 'cpu' for job train_phase" in told
    assert told.count("Trying to restart job") == 2
    assert len(set(re.findall(r"asked to stop, saved at step (\d+); the same command goes on", told))) == 2
    assert [f"runtime={attempt}," in told for attempt in (1, 2, 3)] == [True, True, True]
    assert going_on(stopped)
    whole.snakemake(target)
    for name in RESULTS:
        assert (stopped.folder / name).read_bytes() == (whole.folder / name).read_bytes(), name
    assert not steps(stopped)
