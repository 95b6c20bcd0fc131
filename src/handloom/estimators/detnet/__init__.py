"""DetNet (Zhou et al., CVPR 2020), the hand network that S2DHand adapts; two small ones are shipped."""

from pydantic import Field

from handloom.estimators.hands import NetworkRow
from handloom.runtime.assets import Asset
from handloom.runtime.config.base import Settings

SHIPPED = "package:detnet_small_cross.safetensors"


class DetNetHandSettings(Settings):
    """DetNet as an estimator of hands in frames."""

    checkpoint: str = Field(SHIPPED, description="Its weights; `package:NAME` is a file that handloom ships.")
    views: int = Field(
        7, ge=1, le=25, description="Turned and zoomed views of each crop whose answers are averaged by confidence."
    )


def _assets(settings: DetNetHandSettings) -> list[Asset]:
    return [
        Asset(
            f"DetNet checkpoint {number}",
            f"sources.{key}.checkpoint",
            f"data/checkpoints/ckp_detnet_{number}.pth",
            "CC BY-NC 4.0",
            "https://github.com/ut-vision/S2DHand",
            f"the paper's own {setting} source network",
            "shipped small networks (demo), or training one (pretrain: true)",
        )
        for number, key, setting in ((37, "in", "in-dataset"), (68, "cross", "cross-dataset"))
    ]


DETNET = NetworkRow(
    "detnet",
    DetNetHandSettings,
    weights="checkpoint",
    learner="map_learner",
    s2dhand="adaptation.methods.detnet_s2dhand:adapt",
    assets=_assets,
)
