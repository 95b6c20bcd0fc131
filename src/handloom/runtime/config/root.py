"""The whole configuration of a run."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from handloom.datasets import LABELLED
from handloom.estimators.hands.registry import NETWORKS
from handloom.runtime.config.adaptation import AdaptationSettings
from handloom.runtime.config.base import Settings
from handloom.runtime.config.footage import FootageSettings
from handloom.runtime.config.hold import HoldSettings
from handloom.runtime.config.methods import MethodsSettings
from handloom.runtime.config.sources import (
    DatasetsSettings,
    DemoSettings,
    DetNetSettings,
    Headset,
    Pair,
    PretrainingSettings,
    SourcesSettings,
)

DEMO_ROOT = Path("resources/demo")


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
    checkpoint_seconds: int = Field(
        20, ge=0, description="Running trainings are saved every so many seconds; nothing runs again for it."
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
    detnet: DetNetSettings = DetNetSettings(input_px=64, map_cells=8, width=16, blocks=(1, 2, 2), head_width=64)
    sources: SourcesSettings
    pretraining: PretrainingSettings = PretrainingSettings(
        epochs=70, batch_size=64, learning_rate=2e-3, schedule="cosine", grey_probability=0.5, precision="auto"
    )
    adaptation: AdaptationSettings = AdaptationSettings(
        pairs=200,
        batch_size=8,
        epochs=4,
        learning_rate=2e-4,
        merge="soft",
        attention_sharpness=5.0,
        teacher_momentum=0.995,
        teacher_warm_up=False,
        rotation_momentum=0.9,
        precision="auto",
        evaluate="teacher",
        diagnostic_pairs=32,
    )
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
        for name, row in LABELLED.items():
            root = Path(getattr(self.datasets, name).root)
            if self.demo is None and root.is_relative_to(DEMO_ROOT):
                raise ValueError(f"datasets.{name}.root is {root}, where the demo is rendered, but demo is null")
            # The renderer would write into the user's own data.
            if self.demo is not None and row.sheets and not root.is_relative_to(DEMO_ROOT):
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
        if NETWORKS[backend].needs_mano and self.mano is None:
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
