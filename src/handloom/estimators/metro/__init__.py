"""METRO (Lin et al., CVPR 2021): MANO's mesh of the hand by transformers."""

from pydantic import Field

from handloom.estimators.hands import NetworkRow
from handloom.runtime.assets import Asset
from handloom.runtime.config.base import Fidelity, Settings


class MetroSettings(Settings):
    """METRO, which gives MANO's mesh; its weights and MANO are the user's own (`mano`)."""

    checkpoint: str = Field(
        "data/checkpoints/metro_hand_state_dict.bin", description="METRO's published hand checkpoint."
    )
    fidelity: Fidelity = Field(
        "fixed", description="faithful: finger tips at the vertices METRO takes; fixed: at those of the hand model."
    )


def _assets(settings: MetroSettings) -> list[Asset]:
    return [
        Asset(
            "METRO hand checkpoint (metro_hand_state_dict.bin)",
            "hold.hand.estimation.metro.checkpoint",
            settings.checkpoint,
            "see its page, whose download has not worked since 2025; a copy of the file serves",
            "https://github.com/microsoft/MeshTransformer",
            "HOLD's hand estimates by METRO (hold.hand.estimation.backend: metro, with mano)",
            "the shipped DetNet (hold.hand.estimation.backend: detnet)",
        )
    ]


METRO = NetworkRow("metro", MetroSettings, weights="checkpoint", needs_mano=True, assets=_assets)
