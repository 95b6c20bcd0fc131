"""One snakemake run takes two small videos with boxes to fused poses, and a stage can be run again alone."""

import csv
import json
from collections.abc import Callable

import pytest
import trimesh
import yaml

from handloom.adaptation.fused_poses import FusedPoses
from handloom.figures.video_file import read_video
from handloom.hand.joints import SNAP_NAMES
from rendered_pair import Filming, film

from .project import CHECKPOINTS, Project

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow_fresh")]

RESULTS = "results/footage/my_rig"
ADAPTATION = {"epochs": 2, "batch_size": 8, "pairs": 16}


def with_footage(project: Project) -> Project:
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
        "least_score": 0.0,  # an untrained network is sure of nothing
        "adaptation": ADAPTATION,
    }
    (project.folder / "tiny.yaml").write_text(yaml.safe_dump(settings))
    return project


def test_footage_becomes_fused_poses(fresh: Callable[[str], Project]) -> None:
    project = with_footage(fresh("footage"))
    project.snakemake("footage")
    folder = project.folder / RESULTS
    poses, text = FusedPoses.load(folder / "poses.npz"), json.loads((folder / "poses.json").read_text())
    assert len(poses.joints_m) == len(text["poses"]) == 20  # each frame of the slower view
    assert text["joint_names"] == list(SNAP_NAMES)
    assert text["poses"][0]["frame_left"] == "000000"
    assert len(read_video(folder / "overlay.mp4")) == 20
    assert len(trimesh.load_scene(folder / "skeleton.glb").graph.nodes_geometry) == 41
    rows = {row["quantity"]: row for row in csv.DictReader((folder / "quality.csv").read_text().splitlines())}
    assert rows["left_frames"]["value"] == "24.0"
    assert rows["offset"]["note"] == "given"
    for name in ("left/hands.jpg", "right/hands.jpg", "left/crops.npz", "pairing.png", "network.safetensors"):
        assert (folder / name).stat().st_size > 100
    assert not (folder / "work").exists()
    # Everything that the default run would make of the pair is there; another setting runs its own stage again.
    assert "Nothing to be done" in project.snakemake("footage", "--dry-run")
    more = {"adaptation": ADAPTATION | {"epochs": 3}}
    again = project.snakemake("footage", "--dry-run", "--config", f"footage={more}")
    assert "footage_adapt" in again
    assert "footage_hands" not in again
    assert "footage_crops" not in again
    later = project.snakemake("footage", "--dry-run", "--config", "footage={'pairs': {'my_rig': {'offset_s': 0.04}}}")
    assert "footage_pairs" in later
    assert "footage_hands" not in later
