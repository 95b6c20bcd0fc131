"""The label image of a frame: which grey value is what (facts/hold.md 1.2)."""

from typing import Literal

BACKGROUND, OBJECT, RIGHT_HAND, LEFT_HAND = 0, 50, 150, 250
MASK_LABELS = (BACKGROUND, OBJECT, RIGHT_HAND, LEFT_HAND)

Entity = Literal["object", "right", "left"]
LABEL_OF: dict[Entity, int] = {"object": OBJECT, "right": RIGHT_HAND, "left": LEFT_HAND}
# Where entities overlap in separate files the object wins, as in HOLD's own label images: later ones overwrite.
PAINTING_ORDER: tuple[Entity, ...] = ("left", "right", "object")
