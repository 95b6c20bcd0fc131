"""What is good and what is fair of each measure of HOLD's stages, what failure it cannot see, and what helps.

The limits are those between the videos of docs/hold.md and docs/real_video.md that went well and those that did not.
"""

from typing import NamedTuple

import numpy as np

from handloom.estimators.sfm.seams import LEAST_LINK_SHARE, SURE_LINK_SHARE

GOOD, FAIR, POOR, UNKNOWN = "good", "fair", "poor", "not known"


class Limits(NamedTuple):
    """What is good and what is fair of a measure; where `good` is below `fair`, small values are good."""

    stage: str
    measure: str
    unit: str
    good: float
    fair: float
    advice: str
    blind: str = ""
    """What failure it cannot see."""

    def verdict(self, value: float) -> str:
        """good, fair or poor; not known for NaN."""
        if np.isnan(value):
            return UNKNOWN
        sign = 1.0 if self.good >= self.fair else -1.0
        return GOOD if sign * value >= sign * self.good else FAIR if sign * value >= sign * self.fair else POOR


LIMITS = (
    Limits("frames", "frames", "", 40, 20, "film longer, or lower `every`"),
    Limits(
        *("masks", "frames with the object", "%", 98, 90, "keep the object in view; see masks.png, add a prompt"),
        blind="masks of something else, or that leak or lack a part: see masks.png",
    ),
    Limits(
        *("masks", "frames with the hand", "%", 95, 80, "keep the hand in view; see masks.png, add a prompt"),
        blind="masks of something else, or that leak or lack a part: see masks.png",
    ),
    Limits(
        *(
            "masks",
            "object's mask beyond its shape",
            "%",
            6,
            15,
            "a leak: mark more frames, or bring masks of your own",
        ),
        blind="leaks that turn with the object, and all where object poses are wrong",
    ),
    Limits(
        *("masks", "object's shape without mask", "%", 4, 10, "a part is cut off: mark more frames, or bring masks"),
        blind="a part that no frame's mask has",
    ),
    Limits(
        *("masks", "hand's mask beyond the hand", "%", 4, 10, "a leak: mark the hand in more frames, or bring masks"),
        blind="leaks along the forearm, and any if the hand was placed by them",
    ),
    Limits("masks", "object's side in the image", "px", 80, 50, "film from closer by"),
    Limits(
        *("masks", "frames with the object cut off", "%", 2, 15, "keep the whole object inside the image"),
        blind="an object that a hand or a wrong mask cuts off: see masks.png",
    ),
    Limits(
        *("structure from motion", "frames registered", "%", 95, 80, "turn more slowly; more light, less blur"),
        blind="frames whose poses are wrong together: see object_poses.png",
    ),
    Limits(
        *("structure from motion", "places where it fell apart", "", 0, 0.5, "see object_poses.png"),
        blind="parts that were put together wrongly although their matches agree",
    ),
    Limits(
        *("structure from motion", "weakest seam", "%", 100 * SURE_LINK_SHARE, 100 * LEAST_LINK_SHARE),
        "matches about these frames do not agree well: see them in object_poses.png",
        blind="a wrong tilt of the one flat face in view",
    ),
    Limits(
        *("structure from motion", "reprojection error", "px", 1.0, 2.0),
        "a rigid object, a camera that stands still",
        blind="poses that are wrong together, a wrong focal length",
    ),
    Limits(
        *("structure from motion", "features in the median frame", "", 100, 40, "an object with more texture"),
        blind="features on hand or background: see masks.png",
    ),
    Limits(
        *("structure from motion", "points of the object", "", 500, 150, "an object with more texture, all around"),
        blind="points off the object",
    ),
    Limits(
        *("structure from motion", "sides of the object seen", "%", 40, 20),
        "turn the object so that all sides show",
        blind="sides counted by wrong poses",
    ),
    Limits(
        *("hand", "frames with a hand", "%", 95, 80, "show the hand, and its fingers, to the camera"),
        blind="another hand or thing that was taken for it",
    ),
    Limits(
        *("hand", "the network's confidence", "", 0.5, 0.3, "show more of the fingers; more light"),
        blind="poses that the network is sure of and wrong about",
    ),
    Limits(
        *("hand", "frames that show the named side", "%", 90, 60),
        "the other hand is followed, or the video is mirrored: check the sequence's hands and the masks",
    ),
    Limits("hand", "hand's side in the image", "px", 80, 50, "film from closer by"),
    Limits(
        *("alignment", "model's key points off the network's", "%", 15, 25, "see hand estimates; clearer view of it"),
        blind="estimates that are wrong themselves, and depth",
    ),
    Limits(
        *("alignment", "key points on the hand or the object", "%", 85, 70),
        "masks or hand estimates are wrong: see both",
        blind="masks that are too large",
    ),
    Limits(
        *("alignment", "object's points inside the masks", "%", 92, 80),
        "masks or object poses are wrong: see both",
        blind="a wrong size, masks that are too large, the sign of depth",
    ),
    Limits(
        *("alignment", "hand's distance to the object", "mm", 10, 25, "hold the object firmly in most frames"),
        blind="a wrong size, and a hand inside the object",
    ),
    Limits(
        *("alignment", "object's size, how unsure", "%", 6.5, 15),
        "measure the largest distance between two points of the object and set hold.sequences.NAME.object_size_m",
        blind="a mistake in the length that was told",
    ),
    Limits(
        *("shape", "object's pixels with a confirmed depth", "%", 60, 30),
        "an object with more texture, less gloss, turned more slowly; without, the shape is the masks' hull",
        blind="poses that are wrong together",
    ),
    Limits(
        *("shape", "hull seen as hand and as object", "%", 3, 15),
        "keep the grip, or film each grip as a sequence of its own; see masks.png",
        blind="a hand that hides the same part all the time",
    ),
    Limits(
        *("shape", "surface never seen", "%", 20, 40),
        "turn the object so that all sides show, and change which part the hand hides",
        blind="a surface seen from far aside",
    ),
)
"""Every measure, in the order of the stages."""
EXCHANGED = Limits(
    *("hand", "frames in which hands changed places", "", 0, 0.5),
    "the masks of the two hands were exchanged: see masks.png, mark the hands where they cross and after it",
    blind="hands that were exchanged from the first frame on",
)
"""Of two hands only."""
