"""S2DHand on the user's own camera pairs: their videos, and the stages from frames to fused poses."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from handloom.estimators.hands import HandSearchSettings
from handloom.estimators.hands.registry import NETWORKS
from handloom.runtime.config.adaptation import AdaptationSettings, FootagePairingSettings
from handloom.runtime.config.base import MOST_SEED, Faults, OwnPath, Settings
from handloom.runtime.config.cameras import ASSUMED_DEG, CameraNumbers, KnownCamera
from handloom.runtime.config.sequences import EntryName, FrameSettings

Angle = Annotated[float, Field(ge=5, le=175)]
FieldOfView = tuple[Angle, Angle]
_ANY_SIDE_PX = 100_000


class FootagePairSettings(Settings):
    """Two views of one hand, by cameras that do not move against each other."""

    left: OwnPath = Field(description="The first view: a video file of any kind, or a folder of pictures.")
    right: OwnPath = Field(description="The second view, from wherever it looks.")
    left_boxes: OwnPath | None = Field(
        None, description="CSV of the hand's boxes in the first view: frame,x0,y0,x1,y1; null detects the hand."
    )
    right_boxes: OwnPath | None = Field(None, description="The same of the second view.")
    left_hands: OwnPath | None = Field(
        None,
        description="Hands of the first view that another tool found, as hold.sequences.NAME.hand_files; the network "
        "is not asked, and learns from the pictures.",
    )
    right_hands: OwnPath | None = Field(None, description="The same of the second view.")
    side: Literal["right", "left", "auto"] = Field(
        "right", description="Which of the person's hands is looked at; auto: the one that is surest seen (mediapipe)."
    )
    field_of_view_deg: FieldOfView | None = Field(
        None,
        description=f"Horizontal field of view of both cameras, as a data sheet tells it; null takes {ASSUMED_DEG:g}, "
        "and the quality table says what that may cost.",
    )
    field_of_view_tolerance_deg: float | None = Field(
        None,
        gt=0,
        le=45,
        description="How far the field of view may be off; null: a told one 35 % too large or 15 % too small, as video "
        "shows less than data sheets say.",
    )
    left_camera: CameraNumbers | OwnPath | None = Field(
        None,
        description="The first camera's calibration: fx, fy, cx, cy in pixels of its footage, or a file of OpenCV, ROS "
        "or Kalibr (YAML or JSON); it replaces the field of view.",
    )
    right_camera: CameraNumbers | OwnPath | None = Field(None, description="The same of the second camera.")
    offset_s: float | None = Field(
        None,
        ge=-86_400,
        le=86_400,
        description="The second view's time minus the first's at the same moment; 0 for synchronised cameras, null "
        "estimates it.",
    )
    frames_per_second: float = Field(30.0, gt=0, le=1000, description="Of folders of pictures, which have no times.")
    first: int = Field(
        0, ge=0, le=1_000_0000, description="Number of the first frame used in both views, counted from 0."
    )
    every: int = Field(1, ge=1, le=100_000, description="Use every so manieth frame.")
    most: int | None = Field(
        None, ge=2, le=100_000, description="Use at most so many frames of each view; null uses all."
    )
    longest_side_px: int = Field(1280, ge=32, le=100_000, description="Larger frames are made smaller.")

    def frames(self, view: Literal["left", "right"]) -> FrameSettings:
        """Which frames of a view are used; with boxes, which are in its own pixels, they keep their size."""
        path = self.left if view == "left" else self.right
        boxes = self.left_boxes if view == "left" else self.right_boxes
        camera = self.left_camera if view == "left" else self.right_camera
        return FrameSettings(
            kind="frames" if Path(path).is_dir() else "video",
            first=self.first,
            every=self.every,
            most=self.most,
            longest_side_px=self.longest_side_px if boxes is None else _ANY_SIDE_PX,
            frames_per_second=self.frames_per_second,
            camera_px=None if camera is None or isinstance(camera, str) else camera,
        )

    def view_angle(self, view: Literal["left", "right"]) -> float:
        """A view's horizontal field of view, degrees, told or assumed; a calibration goes before it."""
        return ASSUMED_DEG if self.field_of_view_deg is None else self.field_of_view_deg[0 if view == "left" else 1]

    def calibration(self, view: Literal["left", "right"]) -> str | None:
        """The file of a view's calibration, if there is one."""
        camera = self.left_camera if view == "left" else self.right_camera
        return camera if isinstance(camera, str) else None

    def hands(self, view: Literal["left", "right"]) -> str | None:
        """The files of a view's hands, if they are not looked for."""
        return self.left_hands if view == "left" else self.right_hands

    def known_camera(self, view: Literal["left", "right"]) -> KnownCamera:
        """What is known of a view's camera."""
        if (self.left_camera if view == "left" else self.right_camera) is not None:
            return KnownCamera.calibrated()
        told = None if self.field_of_view_deg is None else self.view_angle(view)
        return KnownCamera.of(told, self.field_of_view_tolerance_deg)

    @model_validator(mode="after")
    def _views_differ(self) -> "FootagePairSettings":
        doubled = [
            (second, f"is the same file as {first}, {getattr(self, first)}; expected that of the other view")
            for first, second in (("left", "right"), ("left_boxes", "right_boxes"), ("left_hands", "right_hands"))
            if getattr(self, first) is not None and _same(getattr(self, first), getattr(self, second))
        ]
        for view in ("left", "right"):
            if self.hands(view) is not None and getattr(self, f"{view}_boxes") is not None:
                doubled.append((f"{view}_boxes", f"is set, but {view}_hands tells where the hand is; remove one"))
            if self.hands(view) is not None and self.side == "auto":
                doubled.append(("side", f"is auto, but {view}_hands has hands of both; set it to right or left"))
        Faults.require_none(doubled)
        return self


def _same(first: str, second: str | None) -> bool:
    """Whether two paths lead to one file."""
    paths = Path(first).expanduser(), Path(second or "").expanduser()
    return second is not None and paths[0].resolve() == paths[1].resolve()


OWN_PAIRS = AdaptationSettings(
    pairs=384,
    spread_pairs=True,
    batch_size=16,
    epochs=6,
    learning_rate=1e-4,
    learning_rate_decay="cosine",
    warm_up_steps=8,
    merge="soft",
    attention_sharpness=4.0,
    teacher_momentum=0.97,
    teacher_warm_up=False,
    rotation="keypoints",
    rotation_momentum=0.5,
    evaluate="teacher",
)


class FootageSettings(Settings):
    """S2DHand on your own camera pairs, from videos to fused 3D poses (docs/footage.md)."""

    pairs: dict[EntryName, FootagePairSettings | None] = Field(
        {}, description="Your camera pairs by name, as in {my_rig: {left: a.mp4, right: b.mp4}}; null leaves one out."
    )
    backend: str = Field("mediapipe", description="The hand network, one that learns; detnet needs boxes.")
    checkpoint: str | None = Field(
        None, description="Its weights; `package:NAME` is a file that handloom ships; null takes the network's own."
    )
    least_score: float | None = Field(
        None,
        ge=0,
        le=1,
        description="A frame whose score of a hand is lower counts as without; null: the network's own.",
    )
    least_hands: float = Field(0.05, ge=0, le=1, description="Share of each view's frames that must show a hand.")
    ray_share: float = Field(
        1.0, ge=0, le=1, description="Share of the turn from the optical axis to the hand that poses are given."
    )
    seed: int = Field(1, ge=0, le=MOST_SEED, description="Root of everything random in the adaptation.")
    pairing: FootagePairingSettings = FootagePairingSettings()
    adaptation: AdaptationSettings = OWN_PAIRS

    @model_validator(mode="after")
    def _pairs_are_possible(self) -> "FootageSettings":
        Faults.require_none(self._faults())
        return self

    def _faults(self) -> Iterator[tuple[str, str]]:
        learning = [name for name, row in NETWORKS.items() if row.learner is not None]
        if self.backend not in learning:
            files = "; hands from files are each view's left_hands, right_hands" if self.backend == "files" else ""
            yield "backend", f"is {self.backend}; expected a network that learns: {' or '.join(learning)}{files}"
            return
        for name, pair in self.chosen.items():
            if pair.side == "auto" and not NETWORKS[self.backend].tells_side:
                yield (
                    f"pairs.{name}.side",
                    f"is auto, but backend is {self.backend}, which cannot tell a right hand from a left one; set "
                    "side: right or left, or backend: mediapipe",
                )
            for view in ("left", "right"):
                told = (getattr(pair, f"{view}_boxes"), getattr(pair, f"{view}_hands"))
                if not NETWORKS[self.backend].searches and told == (None, None):
                    yield (
                        f"pairs.{name}.{view}_boxes",
                        f"is not set, but backend is {self.backend}, which cannot find a hand; give the boxes, or set "
                        "backend: mediapipe",
                    )

    @property
    def search(self) -> HandSearchSettings:
        """What counts as a hand, and the turn to it that joints are given."""
        return HandSearchSettings(least_score=self.least_score, least_hands=self.least_hands, ray_share=self.ray_share)

    @property
    def chosen(self) -> dict[str, FootagePairSettings]:
        """The camera pairs that are not left out."""
        return {name: pair for name, pair in self.pairs.items() if pair is not None}
