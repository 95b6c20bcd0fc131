"""The calls to SAM 2's video predictor, against a stand-in that records them."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from handloom.estimators.masks.sam2 import track_with_sam2
from handloom.runtime.config.sequences import Prompt
from handloom.runtime.errors import InputError

PROMPTS = {"object": Prompt(box=(1.0, 2.0, 9.0, 7.0)), "right": Prompt(click=(3.0, 4.0))}


class Predictor:
    """Answers as sam2 2b90b9f does: (frame, ids, logits of shape objects x 1 x height x width)."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    def init_state(self, video_path: str) -> str:
        self.calls.append(("init_state", sorted(path.name for path in Path(video_path).iterdir())))
        return "state"

    def add_new_points_or_box(self, **options: Any) -> None:
        self.calls.append(("add", options))

    def add_new_mask(self, **options: Any) -> None:
        self.calls.append(("mask", options))

    def propagate_in_video(
        self, inference_state: str, start_frame_idx: int, reverse: bool
    ) -> Iterator[tuple[int, list[int], torch.Tensor]]:
        self.calls.append(("propagate", (inference_state, start_frame_idx, reverse)))
        frames = range(start_frame_idx, -1, -1) if reverse else range(start_frame_idx, 3)
        for frame in frames:
            logits = torch.full((2, 1, 8, 12), -1.0)
            logits[0, 0, :4, frame:6] = 2.0
            logits[1, 0, 2:, :6] = 2.0
            yield frame, [1, 2], logits


@pytest.fixture
def frames(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number:04d}.png" for number in range(3)]
    for path in paths:
        Image.new("RGB", (12, 8)).save(path)
    return paths


def install(monkeypatch: pytest.MonkeyPatch, predictor: Predictor) -> list[tuple[Any, ...]]:
    built: list[tuple[Any, ...]] = []

    def build(config: str, checkpoint: str, device: str) -> Predictor:
        built.append((config, checkpoint, device))
        return predictor

    module = ModuleType("sam2.build_sam")
    module.build_sam2_video_predictor = build  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sam2", ModuleType("sam2"))
    monkeypatch.setitem(sys.modules, "sam2.build_sam", module)
    return built


def test_prompts_go_in_and_labels_come_out(frames: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = Predictor()
    built = install(monkeypatch, predictor)
    checkpoint = tmp_path / "sam2.pt"
    torch.save({"model": {"weight": torch.zeros(2)}}, checkpoint)
    labels = track_with_sam2(frames, {1: PROMPTS}, checkpoint, "sam2_s.yaml", "cpu")
    assert built == [("sam2_s.yaml", str(checkpoint), "cpu")]
    names = [name for name, _ in predictor.calls]
    assert names == ["init_state", "add", "add", "propagate", "propagate"]
    assert predictor.calls[0][1] == ["00000.jpg", "00001.jpg", "00002.jpg"]
    box, click = predictor.calls[1][1], predictor.calls[2][1]
    assert (box["frame_idx"], box["obj_id"], box["box"].tolist()) == (1, 1, [1, 2, 9, 7])
    assert (click["obj_id"], click["points"].tolist(), click["labels"].tolist()) == (2, [[3, 4]], [1])
    assert [value for _, value in predictor.calls[3:]] == [("state", 1, False), ("state", 1, True)]
    expected = np.zeros((3, 8, 12), np.uint8)
    expected[:, 2:, :6] = 150
    for number in range(3):
        expected[number, :4, number:6] = 50
    np.testing.assert_array_equal(labels, expected)


def test_marks_on_several_frames_and_outlines_go_in(
    frames: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = Predictor()
    install(monkeypatch, predictor)
    outline = Prompt(outline=((2, 1), (5, 1), (5, 4), (2, 4)))
    marks = {2: PROMPTS, 1: {"object": outline}}
    torch.save({"model": {"weight": torch.zeros(2)}}, tmp_path / "sam2.pt")
    track_with_sam2(frames, marks, tmp_path / "sam2.pt", "sam2_s.yaml", "cpu")
    added = [options for name, options in predictor.calls if name in ("add", "mask")]
    assert [(options["frame_idx"], options["obj_id"]) for options in added] == [(2, 1), (2, 2), (1, 1)]
    assert added[2]["mask"][1:5, 2:6].all()
    assert added[2]["mask"].sum() == 16
    assert predictor.calls[-1] == ("propagate", ("state", 1, True))


def test_a_missing_package_says_what_to_do(frames: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sam2", None)
    with pytest.raises(InputError, match=r"github\.com/facebookresearch/sam2"):
        track_with_sam2(frames, {0: PROMPTS}, Path("x.pt"), "sam2_s.yaml", "cpu")
