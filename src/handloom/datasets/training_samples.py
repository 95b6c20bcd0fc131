"""What pretraining reads: the crops of a data set, prepared once, so that an epoch decodes no image.

The artifact is an uncompressed npz, so that its images can be mapped into memory: real data sets do not fit into it.
"""

import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from handloom.datasets import AssemblyHandsSettings
from handloom.datasets.assembly_hands import HandAnnotations
from handloom.datasets.assembly_hands import read_annotations as read_assembly_hands
from handloom.datasets.box_crops import BOX_MARGIN, SMALLEST_SIDE_PX
from handloom.datasets.invalid_list import FEWEST_VALID_JOINTS
from handloom.datasets.labelled_hands import FIELD_MARGIN, LabelledHand, LabelledHands, training_crop
from handloom.runtime.artifacts import Header, read_arrays
from handloom.runtime.config.base import Settings
from handloom.runtime.errors import InputError, listed
from handloom.runtime.files import atomic_path
from handloom.runtime.images import read_grey
from handloom.runtime.npz import mapped_array
from handloom.runtime.progress import progress

KIND = "training_samples"
_COLUMNS = ("keypoints_px", "joints_m", "joint_valid", "row")
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip archive can hold


@dataclass(frozen=True)
class TrainingSamples:
    """Labelled crops of right hands and mirrored left ones; the images may be a memory map.

    The network sees the middle `crop_px / FIELD_MARGIN` pixels, more or less, depending on the augmentation.
    """

    image_u8: UInt8[np.ndarray, "rows px px channels"]
    keypoints_px: Float[np.ndarray, "samples 21 2"]  # in [0, px], pixel centres at halves
    joints_m: Float[np.ndarray, "samples 21 3"]
    joint_valid: Float[np.ndarray, "samples 21"]
    row: Int[np.ndarray, " samples"]  # rows of `image_u8` that could be read; the other arrays hold only these
    dataset: str

    def __len__(self) -> int:
        return len(self.row)

    def images(self, samples: np.ndarray) -> UInt8[np.ndarray, "batch px px 3"]:
        """Some samples' images in colour."""
        found = self.stored(samples)
        return np.broadcast_to(found, (*found.shape[:3], 3))

    def stored(self, samples: np.ndarray) -> UInt8[np.ndarray, "batch px px channels"]:
        """Some samples' images as they are stored, grey or in colour."""
        return self.image_u8[self.row[samples]]


def crop_side(input_px: int) -> int:
    """Side of the stored crops, in pixels: the network's input with its margin, at the same resolution."""
    return round(FIELD_MARGIN * input_px)


class AssemblyHandsTraining:
    """The hands of AssemblyHands' train split that all cameras of both headsets see, with at least 10 valid joints."""

    channels = 1

    def __init__(self, settings: AssemblyHandsSettings, split: str = "train") -> None:
        hands = read_assembly_hands(settings, split)
        if hands.unlabelled:
            raise InputError(f"{settings.root}: {'; '.join(hands.unlabelled.values())}; training needs labels of all")
        self._hands: HandAnnotations = hands[hands.joint_valid.sum(axis=1) >= FEWEST_VALID_JOINTS]
        self._keypoints_px = self._hands.keypoints_px
        self._joints_cam_m = self._hands.joints_cam_m
        self._read = lru_cache(maxsize=1)(read_grey)  # both hands of an image follow one another
        self.bad_fraction = settings.bad_fraction

    def __len__(self) -> int:
        return len(self._hands)

    def hand(self, row: int) -> LabelledHand:
        """Read one hand; raises InputError when its image cannot be used."""
        low, high = self._hands.bbox_px[row].reshape(2, 2)
        return LabelledHand(
            image_u8=self._read(self._hands.image_path(row)),
            centre_px=(low + high) / 2,
            side_px=float(max(BOX_MARGIN * (high - low).max(), SMALLEST_SIDE_PX)),
            keypoints_px=self._keypoints_px[row],
            joints_cam_m=self._joints_cam_m[row],
            joint_valid=(self._hands.joint_valid[row] > 0) * 1.0,
            is_left=bool(self._hands.is_left[row]),
        )


def sample_preparation(hands_of: Callable[[Any], LabelledHands], kind: type[Settings]) -> Callable[..., None]:
    """The stage `prepare_samples` of a data set whose settings are of a kind."""

    def prepare_samples(
        samples: Path,
        *,
        dataset: str,
        settings: kind,  # type: ignore[valid-type]  # known when a reader is imported
        input_px: int,
        code: str = "",
    ) -> None:
        """Stage: write the training crops of one data set.

        Hands that cannot be read are counted and listed on stderr. Raises InputError when their share exceeds the data
        set's `bad_fraction`, or when its annotations cannot be used.
        """
        write_samples(
            samples,
            hands_of(settings),
            dataset=dataset,
            crop_px=crop_side(input_px),
            folder=getattr(settings, "root", ""),
            code=code,
        )

    return prepare_samples


prepare_assembly_hands = sample_preparation(AssemblyHandsTraining, AssemblyHandsSettings)


def write_samples(
    output: Path, hands: LabelledHands, *, dataset: str, crop_px: int, folder: str = "", code: str = ""
) -> None:
    """Write the crops of all hands, image by image; see `sample_preparation`."""
    labels: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    readable: list[int] = []
    reasons: list[str] = []
    header = Header(KIND, "m, px", "camera, mirrored to a right hand", "SNAP", code=code, extra={"dataset": dataset})
    shape = (len(hands), crop_px, crop_px, hands.channels)
    with atomic_path(output) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        with _member(archive, "image_u8", large=True) as file:
            layout = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, layout)
            for row in progress(range(len(hands)), f"crop {dataset}"):
                try:
                    hand = hands.hand(row)
                    crop = training_crop(hand, crop_px)
                except InputError as error:
                    reasons.append(f"hand {row}: {error}")
                    if len(reasons) > hands.bad_fraction * len(hands):
                        raise InputError(
                            f"{folder or dataset}: more than datasets.{dataset}.bad_fraction = {hands.bad_fraction} of "
                            f"its {len(hands)} hands cannot be used; fetch these again, or raise bad_fraction: "
                            f"{listed(reasons, 3)}"
                        ) from error
                    file.write(bytes(crop_px * crop_px * hands.channels))
                    continue
                file.write(crop.image_u8.tobytes())
                readable.append(row)
                labels.append((crop.keypoints_px, crop.joints_m, hand.joint_valid))
        if not labels:
            raise InputError(
                f"{folder or dataset}: none of its {len(hands)} hands can be used; check the data set's folder"
            )
        keypoints_px, joints_m, joint_valid = (np.stack(column) for column in zip(*labels, strict=True))
        arrays = {"keypoints_px": keypoints_px, "joints_m": joints_m, "joint_valid": joint_valid}
        for name, array in {**arrays, "row": np.array(readable), "header": np.array(header.to_json())}.items():
            with _member(archive, name) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
    for reason in reasons:
        print(f"left out: {reason}", file=sys.stderr)
    print(f"{len(readable)} of {len(hands)} hands of {dataset} cropped", file=sys.stderr)


def load_samples(path: Path) -> TrainingSamples:
    """Open a `training_samples` artifact, its images as a memory map.

    Raises InputError when it is missing, damaged or of another kind.
    """
    again = "delete it and run the rule prepare_training_samples"
    columns, header = read_arrays(path, KIND, wanted=_COLUMNS)
    lacking = sorted({*_COLUMNS} - columns.keys())
    if lacking or not isinstance(header.extra.get("dataset"), str):
        raise InputError(f"{path}: lacks {lacking or 'the name of its data set'}; {again}")
    images = mapped_array(path, "image_u8", f"a '{KIND}' artifact", again)
    return TrainingSamples(images, dataset=header.extra["dataset"], **columns)


@contextmanager
def _member(archive: zipfile.ZipFile, name: str, *, large: bool = False) -> Iterator[IO[bytes]]:
    """A file inside the archive, with a fixed time stamp so that equal content gives equal bytes."""
    with archive.open(zipfile.ZipInfo(f"{name}.npy", _ZIP_EPOCH), "w", force_zip64=large) as file:
        yield file
