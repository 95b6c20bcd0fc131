"""MediaPipe's hand networks (Zhang et al., 2020), which know real hands of either side."""

from pydantic import Field

from handloom.estimators.hands import NetworkRow
from handloom.runtime.assets import Asset
from handloom.runtime.config.base import Settings

LANDMARKS_FILE = "resources/mediapipe/hand_landmark_full.tflite"
PALMS_FILE = "resources/mediapipe/palm_detection_full.tflite"


class MediapipeSettings(Settings):
    """MediaPipe's networks, which need neither MANO nor a licence beyond Apache-2.0."""

    landmarks: str = Field(
        LANDMARKS_FILE, description="The landmark network; this default is fetched by a rule, from PyPI."
    )
    palms: str = Field(PALMS_FILE, description="The palm detector, for pictures without masks; fetched likewise.")


def _assets(settings: MediapipeSettings) -> list[Asset]:
    uses = {
        "landmarks": "joints of real hands: HOLD (hold.hand.estimation.backend: mediapipe), your own camera pairs",
        "palms": "finding the hand in your own camera pairs, without boxes",
    }
    networks = {"landmarks": "hand landmark network", "palms": "palm detector"}
    return [
        Asset(
            f"MediaPipe's {networks[name]} ({path.rpartition('/')[2]})",
            f"hold.hand.estimation.mediapipe.{name}",
            path,
            "Apache-2.0",
            "https://pypi.org/project/mediapipe/0.10.21/",
            f"{uses[name]}; "
            + ("fetched by its rule, fetch_mediapipe" if path in (LANDMARKS_FILE, PALMS_FILE) else "your own file"),
            "the shipped DetNet (backend: detnet), which knows rendered hands only",
        )
        for name, path in (("landmarks", settings.landmarks), ("palms", settings.palms))
    ]


MEDIAPIPE = NetworkRow(
    "mediapipe",
    MediapipeSettings,
    weights="landmarks",
    detector="palms",
    searches=True,
    tells_side=True,
    by_rule=(LANDMARKS_FILE, PALMS_FILE),
    learner="joint_learner",
    s2dhand="adaptation.joint_learner:adapt",
    assets=_assets,
)
