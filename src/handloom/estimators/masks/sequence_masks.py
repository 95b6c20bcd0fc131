"""What the sources of masks have in common: the user's marks, and what is left, the masks, looked through for frames
without an entity, and a picture to check them by eye.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool

from handloom.datasets.frames import Frames, Picture, write_frames_sheet
from handloom.datasets.masks import LABEL_OF, LEFT_HAND, OBJECT, RIGHT_HAND, Labels, LabelSequence, write_masks
from handloom.hand.joints import SIDES, Side, hand_in_words
from handloom.runtime.config.sequences import Entity, FramePrompts, Prompt
from handloom.runtime.errors import InputError, listed

# Okabe and Ito's blue, vermilion and green.
_COLOUR_OF = {OBJECT: (0, 114, 178), RIGHT_HAND: (213, 94, 0), LEFT_HAND: (0, 158, 115)}
_OPACITY = 0.45


def marks_of(marks: Sequence[FramePrompts], frames: Frames) -> dict[int, dict[Entity, Prompt]]:
    """What is marked on which frame; raises InputError for a number that no frame has."""
    numbers = range(len(frames)) if frames.numbers is None else frames.numbers
    for prompts in marks:
        if prompts.frame not in numbers:
            among = f"{len(frames)} frames, numbered from 0" if frames.numbers is None else f"frames {numbers}"
            raise InputError(f"masks.prompts.frame: is {prompts.frame}, but the sequence has {among}")
    return {numbers.index(prompts.frame): prompts.marked for prompts in marks}


def advice_for(marks: Sequence[FramePrompts]) -> str:
    """What else to try than the marks that the user has given."""
    given = [mark for each in marks for mark in each.marked.values()]
    ways = [f"mark {'more frames' if len(marks) > 1 else 'another frame'} on which it is seen well"]
    if all(mark.click is not None for mark in given):
        ways.append("use a box instead of a click")
    if all(mark.outline is None for mark in given):
        ways.append("use an outline")
    return f"{', '.join(ways)}, or bring masks of your own"


def write_sequence_masks(
    labels: LabelSequence,
    frames: Frames,
    masks: Path,
    picture: Path,
    empty_fraction: float = 1.0,
    largest_share: float = 1.0,
    advice: str = "",
    hands: Sequence[Side] = ("right",),
) -> None:
    """Write one label image per frame, and the contact sheet `picture`.

    Frames without the object or a hand are counted and listed; raises InputError, with the advice, for
    one missing in more than `empty_fraction` of the frames, and one that covers more than `largest_share` of a frame.
    """
    for entity, label in LABEL_OF.items():
        shares = (labels == label).mean((1, 2))
        large = [path.name for path, share in zip(frames.pictures, shares, strict=True) if share > largest_share]
        if large:
            what = "object" if entity == "object" else f"{entity} hand"
            raise InputError(
                f"{frames.folder}: the mask of the {what} covers up to {shares.max():.0%} of the picture, and in "
                f"{len(large)} of {len(frames)} frames ({listed(large, 3)}) more than masks.largest_share = "
                f"{largest_share:g}; the mask is inverted (background white, {what} black) or has leaked: {advice}; if "
                f"the {what} is that large, raise masks.largest_share"
            )
    for what, gone in absences(labels, hands).items():
        missing = [path.name for path, is_gone in zip(frames.pictures, gone, strict=True) if is_gone]
        if gone.mean() > empty_fraction:
            raise InputError(
                f"{frames.folder}: the mask of the {what} is empty in {len(missing)} of {len(frames)} frames "
                f"({listed(missing)}), more than masks.empty_fraction = {empty_fraction:g}; {advice}"
                f"{_other_hand_advice(labels, hands) if what != 'object' else ''}"
            )
        if missing:
            print(f"masks: no {what} in {len(missing)} of {len(frames)} frames: {listed(missing)}", file=sys.stderr)
    write_masks(masks, frames, labels)
    write_frames_sheet(frames, lambda number, image: overlay(image, labels[number]), picture)


def absences(labels: LabelSequence, hands: Sequence[Side]) -> dict[str, Bool[np.ndarray, " frames"]]:
    """In which frames the object is not seen, and each of the hands."""
    label_of = {"object": OBJECT, **{hand_in_words(side, hands): LABEL_OF[side] for side in hands}}
    return {what: ~(labels == label).any((1, 2)) for what, label in label_of.items()}


def _other_hand_advice(labels: LabelSequence, hands: Sequence[Side]) -> str:
    """What to set where the masks show other hands than were asked for."""
    shown = [side for side in SIDES if (labels == LABEL_OF[side]).any()]
    if not shown or set(hands) <= set(shown):
        return ""
    named, asked = " and a ".join(shown), ", ".join(hands)
    holds = "that holds" if len(shown) == 1 else "those hold"
    return f"; they show a {named} hand, but hands is [{asked}]: set it to [{', '.join(shown)}] if {holds} the object"


def overlay(image: Picture, labels: Labels) -> Picture:
    """A frame whose entities are tinted and outlined: object blue, right hand vermilion, left hand green."""
    result = image.astype(np.float32)
    for label, colour in _COLOUR_OF.items():
        mask = labels == label
        result[mask] = (1 - _OPACITY) * result[mask] + _OPACITY * np.array(colour, np.float32)
        edge = mask & ~cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
        result[edge] = colour
    return result.astype(np.uint8)
