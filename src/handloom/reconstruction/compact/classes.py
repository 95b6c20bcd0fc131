"""What a pixel shows; masks on disk use the labels 0, 50, 150 and 250 instead."""

from handloom.datasets.mask_labels import MASK_LABELS

BACKGROUND, OBJECT, HAND = 0, 1, 2
CLASS_COUNT = 3
CLASS_OF_LABEL = dict(zip(MASK_LABELS, (BACKGROUND, OBJECT, HAND, HAND), strict=True))
"""Classes of the labels that HOLD's masks have: the right and the left hand are both the hand that holds."""
