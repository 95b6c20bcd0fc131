"""HandOccNet, one of the networks for hand estimates."""

from typing import Literal

from pydantic import Field

from handloom.runtime.config.base import Settings


class HandOccNetSettings(Settings):
    """HandOccNet, which gives MANO's pose and shape; its weights and MANO are the user's own (`mano`)."""

    checkpoint: str = Field(
        "data/checkpoints/snapshot_demo.pth.tar", description="HandOccNet's published demo checkpoint."
    )
    fidelity: Literal["faithful", "fixed"] = Field(
        "fixed", description="faithful: finger tips at manopth's vertices; fixed: at those of the hand model."
    )
    field_of_box: float = Field(
        1.5, ge=1, le=4, description="Side of the crop over that of the hand's box; 1.5 on HO3D, 1.25 in its demo."
    )
    blank: Literal["nothing", "background", "background and object"] = Field(
        "nothing", description="What the masks hide from the network, painted grey; it knows real backgrounds."
    )
    batch_size: int = Field(8, ge=1, description="Crops per pass of the network.")
