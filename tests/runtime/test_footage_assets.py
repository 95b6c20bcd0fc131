"""`check` names what of the user's camera pairs is not there."""

from pathlib import Path

from handloom.runtime.assets import missing
from handloom.runtime.config.load import merged, read_yaml, settings_from
from handloom.runtime.config.root import RunSettings

ROOT = Path(__file__).parents[2]


def settings(**footage: object) -> RunSettings:
    boxes = {"left_boxes": "data/left.csv", "right_boxes": "data/right.csv"}
    pair = {"left": "data/left.mp4", "right": "data/right", **boxes}
    return settings_from(merged(read_yaml(ROOT / "config.yaml"), {"footage": {"pairs": {"rig": pair}} | footage}))


def footage_lines(run: RunSettings, folder: Path) -> list[str]:
    return [line for line in missing(run, folder) if line.startswith("footage")]


def test_missing_views_and_boxes_are_named(tmp_path: Path) -> None:
    (tmp_path / "data/right").mkdir(parents=True)
    (tmp_path / "data/left.csv").touch()
    assert footage_lines(settings(), tmp_path) == [
        "footage.pairs.rig.left: no data/left.mp4",
        "footage.pairs.rig.right_boxes: no data/right.csv",
    ]


def test_a_missing_checkpoint_counts_for_detnet_only(tmp_path: Path) -> None:
    line = f"footage.checkpoint: no file {tmp_path}/mine.safetensors; backend: mediapipe needs none"
    assert line in footage_lines(settings(backend="detnet", checkpoint="mine.safetensors"), tmp_path)
    assert line not in footage_lines(settings(checkpoint="mine.safetensors"), tmp_path)
