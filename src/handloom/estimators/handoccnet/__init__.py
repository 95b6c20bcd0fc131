"""HandOccNet (Park et al., CVPR 2022): MANO's pose and shape of hands that objects hide."""

from pydantic import Field

from handloom.estimators.hands import NetworkRow
from handloom.runtime.assets import Asset
from handloom.runtime.config.base import Fidelity, Settings


class HandOccNetSettings(Settings):
    """HandOccNet, which gives MANO's pose and shape; its weights and MANO are the user's own (`mano`).

    S2DHand's picture of hands shows it, too, where they are there.
    """

    checkpoint: str = Field(
        "data/checkpoints/snapshot_demo.pth.tar", description="HandOccNet's published demo checkpoint."
    )
    fidelity: Fidelity = Field(
        "fixed", description="faithful: finger tips at manopth's vertices; fixed: at those of the hand model."
    )


def _assets(settings: HandOccNetSettings) -> list[Asset]:
    return [
        Asset(
            "HandOccNet demo checkpoint (snapshot_demo.pth.tar)",
            "hold.hand.estimation.handoccnet.checkpoint",
            settings.checkpoint,
            "none is stated; holds arrays of MANO, so under its licence too",
            "https://github.com/namepllet/HandOccNet",
            "with mano: HOLD's hand estimates by HandOccNet (hold.hand.estimation.backend: handoccnet), and its column "
            "in S2DHand's picture of hands",
            "the shipped DetNet (hold.hand.estimation.backend: detnet); the picture without it",
        )
    ]


HANDOCCNET = NetworkRow("handoccnet", HandOccNetSettings, weights="checkpoint", needs_mano=True, assets=_assets)
