"""MediaPipe's hand networks: where their files are, and how HOLD uses them."""

from typing import Literal

from pydantic import Field

from handloom.runtime.config.base import Settings

LANDMARKS_FILE = "resources/mediapipe/hand_landmark_full.tflite"
PALMS_FILE = "resources/mediapipe/palm_detection_full.tflite"


class MediapipeSettings(Settings):
    """MediaPipe's networks, which know real hands and need neither MANO nor a licence beyond Apache-2.0."""

    landmarks: str = Field(
        LANDMARKS_FILE, description="The landmark network; this default is fetched by a rule, from PyPI."
    )
    palms: str = Field(PALMS_FILE, description="The palm detector, for pictures without masks; fetched likewise.")
    field_of_box: float = Field(
        1.6, ge=1, le=4, description="Side of the first crop over that of the hand's box in the mask."
    )
    refinements: int = Field(
        1, ge=0, le=5, description="How often it looks again, at the upright square about the key points just found."
    )
    blank: Literal["nothing", "background", "background and object"] = Field(
        "nothing", description="What the masks hide from the network, painted grey; it knows real backgrounds."
    )
    batch_size: int = Field(16, ge=1, description="Crops per pass of the network.")
