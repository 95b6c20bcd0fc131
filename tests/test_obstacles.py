"""What settings, files' existence and headers rule out is told before a run, each by its setting, all at once."""

import json
import os
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from handloom.check import notices, refuse_stopped
from handloom.datasets.picture_size import source_size
from handloom.obstacles import _hands_fault, pair_obstacles, sequence_obstacles, stopping
from handloom.runtime.config.load import merged, read_yaml, settings_from
from handloom.runtime.config.root import RunSettings
from handloom.runtime.devices import require_gpu
from handloom.runtime.errors import InputError
from handloom.runtime.pickled_npy import pickled_npy
from handloom.runtime.user_files import unfit

ROOT = Path(__file__).parents[1]
DEMO = read_yaml(ROOT / "config.yaml")
BOXES = {"object": {"box": [5, 5, 30, 30]}, "right": {"box": [20, 20, 50, 40]}}
MARKED = {"prompts": BOXES}
FILM = {"kind": "video", "path": "film.mp4", "masks": MARKED}


def demo(**changed: Any) -> RunSettings:
    return settings_from(merged(DEMO, changed))


def own(sequence: dict[str, Any], **hold: Any) -> RunSettings:
    return demo(hold={"sequences": {"own": sequence}, **hold})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A video and a folder of pictures of 64 x 48 pixels."""
    writer = cv2.VideoWriter(str(tmp_path / "film.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 30, (64, 48))
    (tmp_path / "pictures").mkdir()
    for number in range(4):
        picture = np.full((48, 64, 3), 40 * number, np.uint8)
        writer.write(picture)
        cv2.imwrite(str(tmp_path / f"pictures/{number}.png"), picture)
    writer.release()
    return tmp_path


def marks(**changed: Any) -> dict[str, Any]:
    return {**FILM, "masks": {"prompts": {**BOXES, **changed}}}


@pytest.mark.parametrize(
    ("sequence", "hold", "stage", "message"),
    [
        ({"kind": "video", "path": "film.mp4"}, {}, "masks", r"own\.masks\.source: is dataset, but .* kind video"),
        ({**FILM, "masks": {"source": "propagation"}}, {}, "masks", r"own\.masks\.prompts: is not set"),
        ({**FILM, "masks": {"source": "files"}}, {}, "masks", r"own\.masks\.files: is not set"),
        (
            {**FILM, "masks": {"source": "files", "files": {"folder": "no"}}},
            {},
            "masks",
            r"files\.folder: leads to no, ",
        ),
        ({**FILM, "masks": {"source": "sam2", **MARKED}}, {}, "masks", r"masks\.sam2\.checkpoint: is not set"),
        ({**FILM, "masks": {"source": "sam2", **MARKED}}, {}, "masks", r"masks\.source: is sam2, a Python package"),
        ({**FILM, "path": "pictures"}, {}, "frames", r"own\.path: .*a folder; expected a file, as kind is video"),
        ({**FILM, "path": "flim.mp4"}, {}, "frames", r"own\.path: .*does not exist \(but film\.mp4 does\)"),
        ({**FILM, "kind": "frames"}, {}, "frames", r"own\.path: .*a file; expected a folder, as kind is frames"),
        ({**FILM, "kind": "ho3d", "path": "pictures"}, {}, "frames", r"own\.path: .*holds no rgb"),
        ({**FILM, "kind": "frames", "path": "pictures", "first": 3}, {}, "frames", r"own\.first: is 3, but pictures"),
        (FILM, {"sfm": {"backend": "known"}}, "object_poses", r"hold\.sfm\.backend: is known, but .* video"),
        (FILM, {"sfm": {"backend": "hloc"}}, "object_poses", r"hold\.sfm\.backend: is hloc, a Python package"),
        (
            {**FILM, "camera_px": [90, 90, 960, 24]},
            {},
            "object_poses",
            r"camera_px: has its centre at 960, 24, but .*64",
        ),
        ({**FILM, "camera_px": [9, 9, 32, 24]}, {}, "object_poses", r"camera_px: has focal lengths 9, 9"),
        (marks(object={"box": [0.1, 0.2, 0.5, 0.9]}), {}, "masks", r"prompts\.object\.box: .* shares of the frame's"),
        (marks(right={"click": [0.4, 0.5]}), {}, "masks", r"prompts\.right\.click: .* shares of the frame's"),
        (
            marks(right={"click": [90, 5]}),
            {},
            "masks",
            r"prompts\.right\.click: \[90\.0, 5\.0\] lies outside .*64 x 48",
        ),
        (marks(right={"box": [20, 20, 300, 40]}), {}, "masks", r"prompts\.right\.box: .* reaches beyond"),
        (marks(object={"box": [0, 0, 63, 47]}), {}, "masks", r"prompts\.object\.box: .* is the whole frame"),
        (
            marks(left=BOXES["right"], right=None),
            {},
            "masks",
            r"masks\.prompts\.right: is not marked, but .*, as a left hand is marked, set hands: \[left\]",
        ),
        (
            {**FILM, "hands": ["left"]},
            {},
            "masks",
            r"masks\.prompts\.left: is not marked.*a right hand is marked, set hands: \[right\]",
        ),
        (
            {
                **FILM,
                "hands": ["left"],
                "masks": {"source": "files", "files": {"folder": "pictures", "convention": "index"}},
            },
            {},
            "masks",
            r"masks\.files\.index: names no left; HOLD needs the object and the left hand",
        ),
        (
            {**FILM, "most": 5, "masks": {"prompts": {"frame": 7, **BOXES}}},
            {},
            "masks",
            r"prompts\.frame: is 7, but only 5",
        ),
        (
            {**FILM, "kind": "frames", "path": "pictures", "masks": {"prompts": {"frame": 9, **BOXES}}},
            {},
            "masks",
            r"prompts\.frame: is 9, but only \d frames are used",
        ),
        (
            {
                **FILM,
                "masks": {
                    "source": "files",
                    "files": {"folder": "pictures", "convention": "index", "index": {"object": 1}},
                },
            },
            {},
            "masks",
            r"masks\.files\.index: names no right",
        ),
        (
            FILM,
            {"hand": {"estimation": {"checkpoint": "no.pth"}}},
            "hand_estimates",
            r"estimation\.checkpoint: leads to no",
        ),
        (
            FILM,
            {"hand": {"estimation": {"checkpoint": "package:no.safetensors"}}},
            "hand_estimates",
            r"estimation\.checkpoint: is package:no\.safetensors: handloom ships no such",
        ),
        (
            FILM,
            {"hand": {"estimation": {"backend": "files"}}},
            "hand_estimates",
            r"estimation\.backend: is files, but the sequence names none: set hold\.sequences\.own\.hand_files",
        ),
        (
            {**FILM, "hand_files": "no.zip"},
            {"hand": {"estimation": {"backend": "files"}}},
            "hand_estimates",
            r"own\.hand_files: leads to no\.zip, which does not exist",
        ),
        (
            {**FILM, "hand_files": "pictures"},
            {"hand": {"estimation": {"backend": "files"}}},
            "hand_estimates",
            r"own\.hand_files: .*pictures: holds 0\.png, .*; expected HOLD's v3d\.npy",
        ),
        (
            FILM,
            {"field": "holdnet", "holdnet": {"checkpoints": {"own": "pictures"}}},
            "phases",
            r"hold\.holdnet\.checkpoints\.own: leads to pictures, which is a folder",
        ),
    ],
)
def test_what_stops_a_sequence_is_told_by_its_setting(
    folder: Path, sequence: dict[str, Any], hold: dict[str, Any], stage: str, message: str
) -> None:
    run = own(sequence, **hold)
    found = sequence_obstacles(run, "own", folder)
    with pytest.raises(InputError, match=rf"^refused before anything runs:\n(?:.*\n)*  .*{message}"):
        refuse_stopped(run, folder, "sequences", "own", stage)
    assert stopping(found, stage)
    earlier = {"frames": None, "masks": "frames", "object_poses": "masks", "hand_estimates": "object_poses"}.get(stage)
    if earlier is not None:
        refuse_stopped(run, folder, "sequences", "own", earlier)


def test_nothing_stops_what_is_right(folder: Path) -> None:
    camera = [60, 60, 32, 24]
    for sequence in (FILM, {**FILM, "kind": "frames", "path": "pictures"}, {**FILM, "camera_px": camera}):
        assert sequence_obstacles(own(sequence), "own", folder) == []
    assert sequence_obstacles(demo(), "jug1", folder) == []


def test_everything_is_told_at_once_of_other_sequences_too(folder: Path) -> None:
    wrong = {"own": {**FILM, "path": "a.mp4", "masks": {"source": "files"}}, "two": {**FILM, "path": "b.mp4"}}
    run = demo(hold={"sequences": wrong, "sfm": {"backend": "known"}})
    with pytest.raises(InputError) as raised:
        refuse_stopped(run, folder, "sequences", "own", "frames")
    told = [line.strip().partition(": ")[0] for line in str(raised.value).splitlines()[1:]]
    assert told == [
        *("hold.sequences.own.path", "hold.sequences.own.masks.files", "hold.sfm.backend"),
        *("hold.sequences.two.path", "hold.sfm.backend"),
    ] or told == [
        *("hold.sequences.own.path", "hold.sequences.own.masks.files", "hold.sfm.backend", "hold.sequences.two.path"),
    ]


def test_what_stops_a_camera_pair_is_told_by_its_setting(folder: Path) -> None:
    pair = {"left": "film.mp4", "right": "no.mp4", "left_boxes": "pictures", "right_boxes": "empty.csv"}
    (folder / "empty.csv").touch()
    run = demo(footage={"pairs": {"rig": pair}, "checkpoint": "page.safetensors"})
    (folder / "page.safetensors").write_text("<!DOCTYPE html><html>Sign in</html>")
    assert [each.setting for each in pair_obstacles(run, "rig", folder)] == [
        *("footage.pairs.rig.right", "footage.pairs.rig.left_boxes", "footage.pairs.rig.right_boxes"),
        "footage.checkpoint",
    ]


def test_a_left_hand_that_is_marked_is_no_obstacle(folder: Path) -> None:
    left = {**marks(left=BOXES["right"], right=None), "hands": ["left"]}
    assert not sequence_obstacles(own(left), "own", folder)


def test_each_of_two_hands_is_marked(folder: Path) -> None:
    both = {**marks(left=BOXES["right"]), "hands": ["right", "left"]}
    assert not sequence_obstacles(own(both), "own", folder)
    told = [str(each) for each in sequence_obstacles(own({**marks(), "hands": ["right", "left"]}), "own", folder)]
    assert re.search(
        r"prompts\.left: is not marked, .*\[right, left\].*as a right hand is marked, set hands: \[right\]", told[0]
    )


@pytest.mark.parametrize(
    ("held", "hands", "message"),
    [
        (["right"], ["right"], None),
        (["left"], ["left"], None),
        (["left"], ["right"], r"own\.hands: is \[right\], but .*build holds a left hand; set it to \[left\]"),
        (["right", "left"], ["right"], r"own\.hands: .*holds a right and a left hand; set it to \[right, left\]"),
        (["right", "left"], ["right", "left"], None),
        (
            ["right"],
            ["right", "left"],
            r"own\.hands: is \[right, left\], but .*holds a right hand; set it to \[right\]",
        ),
    ],
)
def test_a_build_folder_of_other_hands_is_told(
    tmp_path: Path, held: list[str], hands: list[str], message: str | None
) -> None:
    (tmp_path / "build/image").mkdir(parents=True)
    (tmp_path / "build/data.npy").write_bytes(pickled_npy({"entities": {name: {} for name in (*held, "object")}}))
    run = own({"kind": "build", "path": "build", "hands": hands})
    told = [str(each) for each in sequence_obstacles(run, "own", tmp_path)]
    assert not told if message is None else re.search(message, told[0])


def test_files_of_hands_are_read_before_a_run(folder: Path) -> None:
    """Without masks and the hand model: their side, their pictures' names, and whether they have joints."""
    hand = {
        "is_right": 0,
        "global_orient": [0.0] * 3,
        "hand_pose": [0.0] * 45,
        "betas": [0.0] * 10,
        "img_size": [64, 48],
    }
    hand |= {"pred_cam": [8.0, 0.0, 0.0], "box_center": [30.0, 20.0], "box_size": 30.0}
    pair = {
        "left": str(folder / "pictures"),
        "right": "film.mp4",
        "left_hands": "left.json",
        "right_hands": "right.json",
    }

    def told(names: list[str], **changed: Any) -> list[str]:
        for view in ("left", "right"):
            path = folder / f"{view}.json"
            path.write_text(json.dumps({name: [{**hand, **changed}] for name in names}))
        _hands_fault.cache_clear()
        found = pair_obstacles(demo(footage={"pairs": {"rig": pair}, "backend": "detnet"}), "rig", folder)
        return [str(each) for each in found if each.setting.endswith("_hands")]

    left, right = told(["0", "2"])
    assert left.startswith("footage.pairs.rig.left_hands: ")
    assert "all its 2 hands are left ones" in left
    assert "mirror the video" in right
    assert all("MANO's parameters and no joints" in line for line in told(["0", "2"], is_right=1))
    (left, _) = told(["7", "8"], is_right=1)  # nobody has counted the video
    assert "its pictures (7, 8; 2 in all) are not named as the frames (0, 1, 2, ...; 4 in all)" in left
    (told_of,) = {line.partition("hands: ")[2].partition("json: ")[2] for line in told(["0"], is_right=1, betas=[0.0])}
    assert told_of.startswith("0: betas has the shape (1,), but 10 numbers for each of 1 hands")


def test_hands_of_a_view_are_told_once(folder: Path) -> None:
    pair = {"left": "film.mp4", "right": "pictures", "left_hands": "a.json", "left_boxes": "a.csv", "side": "auto"}
    with pytest.raises(
        InputError, match=r"left_boxes: is set, but left_hands tells(?s:.*)side: is auto, but left_hands"
    ):
        demo(footage={"pairs": {"rig": pair}})
    with pytest.raises(InputError, match=r"backend: is files; .*hands from files are each view's left_hands"):
        demo(footage={"backend": "files"})


def test_what_a_file_is_not_is_told_by_its_first_bytes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "page").write_bytes(b"\n <html><body>quota exceeded")
    (tmp_path / "pointer").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    (tmp_path / "empty").touch()
    (tmp_path / "folder").mkdir()
    words = {
        name: unfit(name, "either", tmp_path) or "" for name in ("pipe", "page", "pointer", "empty", "folder", "no")
    }
    for name, part in zip(
        words,
        ("no regular file", "a web page", "pointer of git-LFS", "is empty", "empty folder", "not exist"),
        strict=True,
    ):
        assert part in words[name]
    assert "cannot be looked at" in (unfit("a\0b", "file", tmp_path) or "")


def test_a_list_is_not_opened_as_a_video(tmp_path: Path) -> None:
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile other.mp4\n")
    assert source_size(tmp_path / "list.mp4", "video") is None


def test_a_gpu_that_is_not_there_is_told_without_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handloom.runtime.devices.version", lambda _: "2.9.0")
    monkeypatch.setattr("handloom.runtime.devices._driver_devices", lambda: 1)
    require_gpu("cuda")
    with pytest.raises(InputError, match=r"device: is cuda:1, but the driver finds 1 CUDA devices"):
        require_gpu("cuda:1")
    monkeypatch.setattr("handloom.runtime.devices.version", lambda _: "2.9.0+cpu")
    with pytest.raises(InputError, match="a build for the CPU"):
        require_gpu("cuda")


def test_what_nothing_reads_and_where_another_presets_results_go_is_said(tmp_path: Path) -> None:
    assert notices(demo(), tmp_path) == []
    hloc = {"sfm": {"hloc": {"features": "disk"}}, "holdnet": {"rays": 9}, "sequences": {"jug1": {"masks": MARKED}}}
    (idle,) = notices(demo(hold=hloc), tmp_path)
    for words in ("hold.sfm.hloc (hold.sfm.backend is pycolmap)", "hold.holdnet (hold.field is compact)"):
        assert words in idle
    (tmp_path / "results").mkdir()
    (tmp_path / "results/preset.txt").write_text("demo\n")
    assert notices(demo(), tmp_path) == []
    (said,) = notices(demo(preset="smoke"), tmp_path)
    assert "results/ holds those of preset demo" in said
    assert "has its own in presets/smoke/results/" in said
    assert "mv results results_demo" in said
