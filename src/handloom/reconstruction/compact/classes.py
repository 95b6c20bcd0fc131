"""What a pixel shows; masks on disk use the labels 0, 50, 150 and 250 instead."""

BACKGROUND, OBJECT, HAND = 0, 1, 2
CLASS_COUNT = 3
CLASS_OF_LABEL = {0: BACKGROUND, 50: OBJECT, 150: HAND, 250: HAND}
"""Classes of the labels that HOLD's masks have: the right and the left hand are both the hand that holds."""
