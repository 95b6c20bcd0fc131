"""Names of the demo's sequences and objects: plain Python, so that workflow rules can list their outputs."""

from dataclasses import dataclass
from typing import Literal

from handloom.runtime.config.sequences import DemoSequence
from handloom.runtime.config.sources import DemoSettings, Headset

Split = Literal["train", "val"]
ObjectKind = Literal["jug", "carton", "lamp", "mug", "parcel"]

SAMPLED_EVERY = 10
"""Frame numbers grow by so many: a 30 Hz recording annotated at 3 Hz, without near-duplicates."""

_VAL: tuple[tuple[str, Headset], ...] = (
    ("nusar-2021_action_both_9081-c11b_9081_user_id_2021-02-12_161433", "headset1"),
    ("nusar-2021_action_both_9012-c07c_9012_user_id_2021-02-01_164345", "headset2"),
)

HELD_OBJECTS: dict[DemoSequence, tuple[int, ObjectKind]] = {
    "jug1": (101, "jug"),
    "carton1": (102, "carton"),
    "lamp1": (103, "lamp"),
    "mug1": (104, "mug"),
    "parcel1": (105, "parcel"),
}
"""Number and kind of what is held in HOLD's sequences, by whose names it goes; YCB's own numbers end at 077."""


@dataclass(frozen=True)
class SequencePlan:
    """One recording: its name, the headset that made it, its annotated frame numbers, how many people share them."""

    name: str
    headset: Headset
    frames: tuple[int, ...]
    people: int = 1


def assembly_sequences(settings: DemoSettings, split: Split) -> tuple[SequencePlan, ...]:
    """The sequences of a split: `train` alternates between the headsets, `val` has one per headset, as the original."""
    if split == "val":
        count = settings.assembly_hands_val_frames
        names = _VAL
    else:
        count = settings.assembly_hands_train_frames
        names = tuple(_train_name(number) for number in range(settings.assembly_hands_train_sequences))
    people = settings.assembly_hands_train_people if split == "train" else 1
    frames = tuple(200 + SAMPLED_EVERY * index for index in range(count))
    return tuple(SequencePlan(name, headset, frames, people) for name, headset in names)


def _train_name(number: int) -> tuple[str, Headset]:
    user, toy = 9101 + number, f"{'abc'[number % 3]}{3 + 2 * number:02d}{'abcd'[number % 4]}"
    day = f"2021-03-{1 + number % 28:02d}"
    name = f"nusar-2021_action_both_{user}-{toy}_{user}_user_id_{day}_1012{10 + number % 50}"
    return name, "headset1" if number % 2 == 0 else "headset2"
