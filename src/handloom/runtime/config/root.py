"""The whole configuration of a run."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from handloom.runtime.config.adaptation import AdaptationSettings
from handloom.runtime.config.base import Settings
from handloom.runtime.config.datasets import DatasetsSettings, DemoSettings, Headset, Pair
from handloom.runtime.config.detnet import DetNetSettings, PretrainingSettings, SourceSettings
from handloom.runtime.config.footage import FootageSettings
from handloom.runtime.config.hold import HoldSettings
from handloom.runtime.config.methods import MethodsSettings

DEMO_ROOT = Path("resources/demo")


class SourcesSettings(Settings):
    """The source networks of the two settings of the paper."""

    in_: SourceSettings = Field(alias="in", description="In-dataset: trained on AssemblyHands.")
    cross: SourceSettings = Field(description="Cross-dataset: trained on anything but AssemblyHands.")


class RunSettings(Settings):
    """Everything a run reads besides files."""

    preset: str = Field(description="Name of the preset, written into tables.")
    fidelity: Literal["faithful", "fixed"] = Field(
        "fixed", description="faithful: the released code number for number; fixed: with its known errors repaired."
    )
    device: str = Field("cpu", pattern=r"^(cpu|cuda(:\d+)?)$", description="cpu, cuda or cuda:N.")
    seeds: tuple[int, ...] = Field(
        (1,), min_length=1, description="One adaptation per seed; tables give their mean and spread."
    )
    pretrain: bool = Field(False, description="Train the source networks here even where a checkpoint is given.")
    headsets: tuple[Headset, ...] = Field(("headset1", "headset2"), min_length=1, description="Headsets in the tables.")
    pairs: tuple[Pair, ...] = Field(
        ("1-2", "1-3", "1-4", "2-3", "2-4", "3-4"), min_length=1, description="Camera pairs in the tables."
    )
    datasets: DatasetsSettings
    demo: DemoSettings | None = Field(
        None, description="Sizes of the rendered demo data; null when real data are used."
    )
    mano: str | None = Field(
        None, description="Folder with MANO_RIGHT.pkl and MANO_LEFT.pkl; null uses the embedded hand."
    )
    detnet: DetNetSettings = DetNetSettings()
    sources: SourcesSettings
    pretraining: PretrainingSettings = PretrainingSettings()
    adaptation: AdaptationSettings = AdaptationSettings()
    methods: MethodsSettings = MethodsSettings()
    hold: HoldSettings = HoldSettings()
    footage: FootageSettings = FootageSettings()

    @model_validator(mode="after")
    def _nothing_repeats(self) -> "RunSettings":
        for name in ("seeds", "headsets", "pairs"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name} {list(values)} repeat; the mean and spread in the tables would be wrong")
        return self

    @model_validator(mode="after")
    def _demo_and_roots_agree(self) -> "RunSettings":
        roots = {name: Path(getattr(self.datasets, name).root) for name in DatasetsSettings.model_fields}
        for name, root in roots.items():
            if self.demo is None and root.is_relative_to(DEMO_ROOT):
                raise ValueError(f"datasets.{name}.root is {root}, where the demo is rendered, but demo is null")
            # The renderer would write into the user's own data.
            if self.demo is not None and not root.is_relative_to(DEMO_ROOT):
                raise ValueError(
                    f"demo is set, but datasets.{name}.root is {root}, outside {DEMO_ROOT}; set demo to null"
                )
        if self.demo is not None and self.datasets.assembly_hands.split != "val":
            raise ValueError("datasets.assembly_hands.split is test, but the demo renders train and val")
        return self

    @model_validator(mode="after")
    def _faithful_knows_no_rays(self) -> "RunSettings":
        shares = {"in": self.sources.in_.ray_share, "cross": self.sources.cross.ray_share}
        wrong = [f"sources.{name}.ray_share is {share}" for name, share in shares.items() if share > 0]
        if self.fidelity == "faithful" and wrong:
            raise ValueError(
                f"{' and '.join(wrong)}, but fidelity is faithful, and the released code turns no pose by its viewing "
                "ray; set it to 0, or fidelity to fixed"
            )
        return self

    @model_validator(mode="after")
    def _mesh_networks_have_their_hand(self) -> "RunSettings":
        backend = self.hold.hand.estimation.backend
        if backend in ("metro", "handoccnet") and self.mano is None:
            raise ValueError(
                f"hold.hand.estimation.backend is {backend}, which gives the mesh of the MANO hand, but mano is null; "
                "set it to the folder with MANO_RIGHT.pkl and MANO_LEFT.pkl, from https://mano.is.tue.mpg.de"
            )
        return self

    @model_validator(mode="after")
    def _sources_fit_their_setting(self) -> "RunSettings":
        if "assembly_hands" in self.sources.cross.datasets:
            raise ValueError("sources.cross.datasets has assembly_hands; cross-dataset means not trained on the target")
        if "assembly_hands" not in self.sources.in_.datasets:
            raise ValueError(
                "sources.in.datasets lacks assembly_hands; in-dataset means trained on the target's data set"
            )
        return self
