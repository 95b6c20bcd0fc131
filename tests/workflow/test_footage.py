"""One snakemake run takes two small videos with boxes to fused poses, and a stage can be run again alone."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import trimesh
import yaml

from handloom.demo.camera_pair import Filming, film
from handloom.figures.video_file import read_video
from handloom.footage.poses_file import read_poses
from handloom.hand.joints import SNAP_NAMES

from .project import CHECKPOINTS, DETNET, Project
from .test_kill import checkpoints, copied, ends_alike, to_be_killed

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow_fresh")]

RESULTS = "results/footage/my_rig"


def with_footage(project: Project, **adaptation: float) -> Project:
    """A project with two videos of different length and rate, and boxes, from the demo's renderer."""
    folder = project.folder / "data/my_rig"
    filming = Filming(seconds=0.8, left_fps=30.0, right_fps=25.0, width_px=96, height_px=72)
    filmed = film(filming, folder, seed=3)
    for view, keypoints in (("left", filmed.keypoints_left_px), ("right", filmed.keypoints_right_px)):
        with (folder / f"{view}.csv").open("w") as file:
            writer = csv.writer(file)
            writer.writerow(["frame", "x0", "y0", "x1", "y1"])
            for row, (low, high) in enumerate(zip(keypoints.min(1), keypoints.max(1), strict=True)):
                writer.writerow([row, *low.round(2).tolist(), *(high + 1).round(2).tolist()])
    settings = yaml.safe_load((project.folder / "tiny.yaml").read_text())
    settings["footage"] = {
        "pairs": {
            "my_rig": {
                **{view: f"data/my_rig/{view}.mp4" for view in ("left", "right")},
                **{f"{view}_boxes": f"data/my_rig/{view}.csv" for view in ("left", "right")},
                "offset_s": 0.0,
            }
        },
        "backend": "detnet",
        "checkpoint": CHECKPOINTS["cross"],
        "detnet": DETNET,
        # An untrained network is sure of nothing.
        "least_confidence": 0.0,
        "adaptation": {"epochs": 2, "batch_size": 8, "pairs": 16} | adaptation,
    }
    (project.folder / "tiny.yaml").write_text(yaml.safe_dump(settings))
    return project


def test_footage_becomes_fused_poses(fresh: Callable[[str], Project]) -> None:
    project = with_footage(fresh("footage"))
    project.snakemake("footage")
    folder = project.folder / RESULTS
    poses, text = read_poses(folder / "poses.npz"), json.loads((folder / "poses.json").read_text())
    assert len(poses.joints_m) == len(text["poses"]) == 20  # each frame of the slower view
    assert text["joint_names"] == list(SNAP_NAMES)
    assert text["poses"][0]["frame_left"] == "000000"
    assert len(read_video(folder / "overlay.mp4")) == 20
    assert len(trimesh.load_scene(folder / "skeleton.glb").graph.nodes_geometry) == 41
    rows = {row["quantity"]: row for row in csv.DictReader((folder / "quality.csv").read_text().splitlines())}
    assert rows["left_frames"]["value"] == "24.0"
    assert rows["offset"]["note"] == "given"
    for name in ("left/hands.jpg", "right/hands.jpg", "pairing.png", "history.csv", "network.safetensors"):
        assert (folder / name).stat().st_size > 100
    assert not (folder / "work").exists() or not any((folder / "work").iterdir())
    # Everything that the default run would make of the pair is there; another setting runs its own stage again.
    assert "Nothing to be done" in project.snakemake("footage", "--dry-run")
    again = project.snakemake(
        "footage", "--dry-run", "--config", "footage={'adaptation': {'epochs': 3, 'batch_size': 8, 'pairs': 16}}"
    )
    assert "footage_adapt" in again
    assert "footage_hands" not in again
    later = project.snakemake("footage", "--dry-run", "--config", "footage={'pairs': {'my_rig': {'offset_s': 0.04}}}")
    assert "footage_pairs" in later
    assert "footage_hands" not in later


def test_missing_footage_is_named_before_any_work(fresh: Callable[[str], Project]) -> None:
    project = with_footage(fresh("missing"))
    (project.folder / "data/my_rig/right.mp4").unlink()
    output = project.snakemake("footage", fails=True)
    assert "data/my_rig/right.mp4: not found, but footage.pairs.my_rig.right leads there" in output
    assert not (project.folder / RESULTS).exists()


def test_a_killed_adaptation_of_footage_goes_on_and_ends_bit_equal(
    fresh: Callable[[str], Project], tmp_path: Path
) -> None:
    killed = with_footage(fresh("killed"), epochs=80, checkpoint_seconds=0)
    killed.snakemake(f"{RESULTS}/pairs.npz")
    whole = copied(killed, tmp_path / "whole")
    network = f"{RESULTS}/network.safetensors"
    with to_be_killed(killed, network, lambda: max(checkpoints(killed, RESULTS), default=0) >= 3):
        pass
    assert 3 <= max(checkpoints(killed, RESULTS)) < 80
    files = [network, f"{RESULTS}/history.csv", f"{RESULTS}/rotation.json"]
    assert [name for name in files if (killed.folder / name).exists()] == []
    ends_alike(killed, whole, network, "logs/footage_adapt/my_rig.log", files)
    assert not checkpoints(killed, RESULTS)
