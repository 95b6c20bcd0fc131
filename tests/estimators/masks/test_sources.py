"""A source of masks is given what it uses and nothing else, and one that a sequence lacks says what to do instead."""

import inspect
import json
import re

import pytest

from handloom.estimators.masks import SOURCES
from handloom.runtime.config.base import Faults
from handloom.runtime.config.sequences import SequenceSettings
from handloom.runtime.stages import stage_function

PROMPTS = {"frame": 3, "object": {"click": (3, 4)}, "right": {"box": (1, 2, 30, 40)}}
FILES = {"folder": "data/masks", "convention": "index", "index": {"object": 4, "right": 2}}
FULL = {"prompts": PROMPTS, "files": FILES, "sam2": {"checkpoint": "data/sam2.pt"}}


def sequence(kind: str = "ho3d", **masks: object) -> SequenceSettings:
    return SequenceSettings(kind=kind, path="data/own", masks=masks)


@pytest.mark.parametrize(
    ("source", "given", "own"),
    [
        ("propagation", None, {"marks", "still_camera", "empty_fraction", "largest_share", "hands"}),
        (
            "sam2",
            ("masks.sam2.checkpoint", "data/sam2.pt"),
            {"marks", "config", "empty_fraction", "largest_share", "hands"},
        ),
        ("files", ("masks.files.folder", "data/masks"), {"settings", "empty_fraction", "largest_share", "hands"}),
        ("dataset", ("path", "data/own"), {"kind", "hands"}),
    ],
)
def test_a_source_is_given_what_it_uses(source: str, given: tuple[str, str] | None, own: set[str]) -> None:
    """Protects finished masks: another source's setting is none of this one's arguments, so it makes nothing again."""
    row, settings = SOURCES[source], sequence(source=source, **FULL)
    assert row.given(settings) == given
    arguments = row.arguments(settings)
    assert set(arguments) == own
    places = {"frames", "frames_json", "masks", "picture"} | ({"given"} if given else set())
    function = stage_function(row.stage)
    assert set(inspect.signature(function).parameters) == own | places | ({"device"} if row.on_device else set())
    assert json.loads(json.dumps(arguments)) == arguments


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            SequenceSettings(kind="video", path="a.mp4"),
            "masks.source: is dataset, but a sequence of kind video brings no masks; set it to propag",
        ),
        (sequence(source="files"), "masks.files: is not set, but masks.source is files"),
        (sequence(source="propagation"), "masks.prompts: is not set, but masks.source is propagation"),
        (sequence(source="sam2", prompts=PROMPTS), "masks.sam2.checkpoint: is not set"),
    ],
)
def test_a_sequence_without_such_masks_says_what_to_set(settings: SequenceSettings, message: str) -> None:
    """Protects users with a video of their own: the message names the setting and the ways out."""
    row = SOURCES[settings.masks.source]
    with pytest.raises(Faults, match=re.escape(message)):
        row.given(settings), row.arguments(settings)
