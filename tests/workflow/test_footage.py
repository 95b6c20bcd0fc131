"""One snakemake run takes two small videos, one with boxes and one with hands from another tool, to fused poses, and a
stage can be run again alone.
"""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh
import yaml

from handloom.adaptation.fused_poses import FusedPoses
from handloom.estimators.hands.found import FoundHands, camera_turns
from handloom.figures.video_file import read_video
from handloom.hand.joints import SNAP_NAMES
from rendered_pair import Filmed, Filming, camera_intrinsics, film

from .project import CHECKPOINTS, Project
from .test_documentation import blocks_of

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow_fresh")]

RESULTS = "results/footage/my_rig"
ADAPTATION = {"epochs": 2, "batch_size": 8, "pairs": 16}


def with_footage(project: Project) -> Project:
    """A project with two videos of different length and rate by the demo's renderer, and what is known of the hand."""
    folder = project.folder / "data/my_rig"
    filming = Filming(seconds=0.8, left_fps=30.0, right_fps=25.0, width_px=96, height_px=72)
    filmed = film(filming, folder, seed=3)
    write_hands(folder / "left.json", filming, filmed)
    keypoints = filmed.keypoints_right_px
    with (folder / "right.csv").open("w") as file:
        writer = csv.writer(file)
        writer.writerow(["frame", "x0", "y0", "x1", "y1"])
        for row, (low, high) in enumerate(zip(keypoints.min(1), keypoints.max(1), strict=True)):
            writer.writerow([row, *low.round(2).tolist(), *(high + 1).round(2).tolist()])
    settings = yaml.safe_load((project.folder / "tiny.yaml").read_text())
    settings["footage"] = {
        "pairs": {
            "my_rig": {
                **{view: f"data/my_rig/{view}.mp4" for view in ("left", "right")},
                "left_hands": "data/my_rig/left.json",
                "right_boxes": "data/my_rig/right.csv",
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


def write_hands(path: Path, filming: Filming, filmed: Filmed) -> None:
    """The left view's joints as HaMeR or WiLoR would tell them: along the axes of a camera that looks at the hand."""
    keypoints = filmed.keypoints_left_px
    boxes = np.hstack([keypoints.min(1), keypoints.max(1)])
    turns = camera_turns((boxes[:, :2] + boxes[:, 2:]) / 2, camera_intrinsics(filming))
    joints = (filmed.joints_left_m - filmed.joints_left_m[:, :1]) @ turns
    hands = {
        f"{frame:06d}": {
            "is_right": 1,
            "pred_keypoints_3d": joints[frame].tolist(),
            "hand_bbox": boxes[frame].tolist(),
            "pred_cam_t_full": filmed.joints_left_m[frame, 0].tolist(),
            "scaled_focal_length": camera_intrinsics(filming)[0, 0],
            "img_size": [filming.width_px, filming.height_px],
        }
        for frame in range(len(joints))
    }
    path.write_text(json.dumps(hands))


def test_footage_becomes_fused_poses(
    fresh: Callable[[str], Project], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = with_footage(fresh("footage"))
    project.snakemake("footage")
    folder = project.folder / RESULTS
    truth = Filmed.load(project.folder / "data/my_rig/truth.npz").joints_left_m
    np.testing.assert_allclose(FoundHands.load(folder / "left/hands.npz").joints_cam, truth - truth[:, :1], atol=1e-4)
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
    (example,) = blocks_of("example_cameras.md", "python")
    monkeypatch.chdir(project.folder)
    exec(example, {})
    assert capsys.readouterr().out.startswith("thumb_tip index_tip [0.")
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
