"""What one camera saw of hands: crops, apart from labels, so that what learns without labels cannot be given any.

The rows of both are the same hands. Rows of two cameras that show the same hand at the same moment are a pair; of a
user's two videos, which have clocks of their own, such moments are found first.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from handloom.runtime.artifacts import Artifact
from handloom.runtime.errors import InputError

View = Literal["left", "right"]
OWN_PAIR = "left-right"
"""The name of a user's pair, as a headset's is `1-2`."""


@dataclass(frozen=True)
class HandRows:
    """Which hands these are, in the order of the data set; left hands have rows of their own."""

    camera: str
    rank: Int[np.ndarray, " hands"]
    """Position in the data set, comparable between cameras."""
    sequence: np.ndarray
    frame: Int[np.ndarray, " hands"]
    """Number of the moment within the sequence, the same for all cameras."""
    is_left: Bool[np.ndarray, " hands"]

    def __len__(self) -> int:
        return len(self.rank)


@dataclass(frozen=True)
class HandCrops(HandRows, Artifact, kind="hand_crops", units="", frame="camera"):
    """Pictures of hands as a network sees them, and how they lie in the camera: all that adaptation is given."""

    image_u8: UInt8[np.ndarray, "hands px px channels"]
    """One grey channel, or RGB."""
    picture_axes_from_crop: Float[np.ndarray, "hands 3 3"]
    """Rz(angle) M: from the crop's axes to the picture's; M undoes the mirror of a left hand that is shown mirrored."""
    rays: Float[np.ndarray, "hands 3"]
    """Unit rays through the crops' centres along the camera's axes, by its nominal field of view: no calibration."""
    network: str
    """Whose crops they are."""
    side_slope: Float[np.ndarray, " hands"] | None = None
    """Sides of the crops over the focal length, by the nominal field of view; None in files of older versions."""


@dataclass(frozen=True)
class HandLabels(
    HandRows,
    Artifact,
    kind="hand_labels",
    units="m, px",
    frame="camera",
    joint_order="SNAP",
    may_be_nan=("joints_cam_m", "keypoints_256px"),  # of a hand without labels, none of whose joints is valid
):
    """The annotations of the same hands, for scores, curves, and methods that are taught by labels.

    Key points are mirrored for left hands, as DetNet sees them; joints and cameras are not.
    """

    joints_cam_m: Float[np.ndarray, "hands 21 3"]
    joint_valid: Float[np.ndarray, "hands 21"]
    """0 or 1: annotated as valid and seen in the crop."""
    keypoints_256px: Float[np.ndarray, "hands 21 2"]
    focal_px: Float[np.ndarray, "hands 2"]
    """Of the un-mirrored 256-pixel crop."""
    principal_point_px: Float[np.ndarray, "hands 2"]
    cam_from_world_rotation: Float[np.ndarray, "hands 3 3"]
    cam_from_world_translation_mm: Float[np.ndarray, "hands 3"]
    unlabelled: str = ""
    """Which sequences have no labels, and why; those have the cameras only."""


@dataclass(frozen=True)
class FramePairs(Artifact, kind="frame_pairs", units="s", may_be_nan=("mismatches",)):
    """Frames of both views of a user's pair that belong together, in order of time, and the search for their offset."""

    index_left: Int[np.ndarray, " pairs"]
    index_right: Int[np.ndarray, " pairs"]
    common: Bool[np.ndarray, " pairs"]
    """Whether both frames show the hand."""
    offsets_s: Float[np.ndarray, " offsets"]
    """The offsets that were tried; none where it was given."""
    mismatches: Float[np.ndarray, " offsets"]
    """How badly the poses fit at each; NaN where too few hands were simultaneous."""
    left_s: Float[np.ndarray, " left"]
    """Times of all frames of the left view, from its first one; likewise of the right."""
    right_s: Float[np.ndarray, " right"]
    clock: Float[np.ndarray, "2"]
    """Offset (s) and rate: t_right = offset + rate t_left."""

    def rows(self, view: View) -> Int[np.ndarray, " common"]:
        """The frames of a view that show the hand at a moment when the other view does, too."""
        return (self.index_left if view == "left" else self.index_right)[self.common]


def pair_rows(view_1: HandRows, view_2: HandRows) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
    """Rows of the two views that show the same hand in the same frame, in the order of S2DHand's loader.

    Sequences come in order of their first hand in the annotation file, within a sequence frames likewise, then right
    before left. Raises InputError when the views share no hand.
    """
    import pandas as pd  # half a second, which those who read crops alone should not pay

    moment = ["sequence", "frame"]
    table_1, table_2 = (
        pd.DataFrame({name: getattr(view, name) for name in (*moment, "is_left", "rank")}).reset_index(names="row")
        for view in (view_1, view_2)
    )
    # Should a file annotate a hand twice, the later annotation counts, as in the reference.
    hands_1, hands_2 = (table.drop_duplicates([*moment, "is_left"], keep="last") for table in (table_1, table_2))
    shared = hands_1.merge(hands_2, on=[*moment, "is_left"], suffixes=("_1", "_2"))
    if shared.empty:
        raise InputError(
            f"cameras {view_1.camera} and {view_2.camera} share no hand in any frame ({len(view_1)} and {len(view_2)} "
            f"hands in sequences {_some(view_1.sequence)} and {_some(view_2.sequence)}); expected frames that both "
            "cameras annotate; leave this pair out of `pairs`, or check the annotations"
        )
    ranks = pd.concat([table_1, table_2])
    shared = shared.join(ranks.groupby("sequence")["rank"].min().rename("sequence_rank"), on="sequence")
    shared = shared.join(ranks.groupby(moment)["rank"].min().rename("moment_rank"), on=moment)
    shared = shared.sort_values(["sequence_rank", "moment_rank", "is_left", *moment])
    return shared["row_1"].to_numpy(), shared["row_2"].to_numpy()


def _some(names: np.ndarray) -> list[str]:
    distinct = np.unique(names).tolist()
    return distinct[:5] + ["..."] * (len(distinct) > 5)
