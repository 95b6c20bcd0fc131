"""Sizes of HOLD-Net; the defaults are the published ones (facts 2.1 and 2.3)."""

from pydantic import Field, model_validator

from handloom.runtime.config.base import Settings


class BarfSettings(Settings):
    """When the encoding of the object's points opens its frequencies, from the lowest to the highest."""

    start_step: int = Field(1000, ge=0, description="Training step up to which only the plain coordinates pass.")
    end_step: int = Field(10000, ge=2, description="Training step from which all frequencies pass.")

    @model_validator(mode="after")
    def _opens_over_time(self) -> "BarfSettings":
        if self.end_step - 1 <= self.start_step:
            raise ValueError(f"end_step is {self.end_step}, which must be at least start_step {self.start_step} + 2")
        return self


class SdfNetSettings(Settings):
    """A network from points to signed distance and feature."""

    width: int = Field(256, ge=8, description="Outputs of every hidden layer.")
    hidden_layers: int = Field(8, ge=1, description="Layers before the last one.")
    skip_layer: int | None = Field(
        4, ge=1, description="Layer that also takes the encoded points; null: none. The layer before it is narrowed."
    )
    features: int = Field(256, ge=1, description="Width of the feature that the colour network takes.")
    frequencies: int = Field(6, ge=0, description="Octaves of the encoding of points.")
    initial_radius: float = Field(0.6, gt=0, description="Radius of the sphere that a fresh network resembles.")

    @model_validator(mode="after")
    def _skip_is_a_layer(self) -> "SdfNetSettings":
        if self.skip_layer is not None and self.skip_layer > self.hidden_layers:
            raise ValueError(f"skip_layer is {self.skip_layer}, but the last layer is number {self.hidden_layers}")
        return self


class ColourNetSettings(Settings):
    """A network from point, normal, pose and feature to colour."""

    width: int = Field(256, ge=1, description="Outputs of every hidden layer.")
    hidden_layers: int = Field(4, ge=1, description="Layers before the last one.")
    pose_code: int = Field(8, ge=1, description="Width of the code that the pose is mapped to.")


class BackgroundSettings(Settings):
    """The field outside the scene's sphere, in inverse-sphere coordinates (NeRF++)."""

    field: SdfNetSettings = Field(
        SdfNetSettings(frequencies=10), description="From (unit direction, inverse radius) to density and feature."
    )
    view_frequencies: int = Field(4, ge=0, description="Octaves of the encoding of view directions.")
    colour_width: int = Field(128, ge=1, description="Hidden width of the colour network, which has one hidden layer.")
    samples: int = Field(32, ge=2, description="Samples per ray.")


class DensitySettings(Settings):
    """Density from signed distance, by the Laplace distribution."""

    initial_beta: float = Field(0.1, gt=0, description="First value of the learnable scale beta.")
    smallest_beta: float = Field(1e-4, gt=0, description="Added to |beta|.")


class SamplerSettings(Settings):
    """Error-bounded sampling of rays (VolSDF, Algorithm 1)."""

    first_samples: int = Field(128, ge=4, description="Uniform samples per ray that the rounds start from.")
    round_samples: int = Field(128, ge=1, description="Samples per ray that a round adds.")
    final_samples: int = Field(64, ge=1, description="Samples per ray from the weights.")
    extra_samples: int = Field(32, ge=0, description="Columns of the accumulated samples that are kept besides.")
    largest_error: float = Field(0.1, gt=0, description="Bound on the opacity's error that ends the rounds.")
    rounds: int = Field(5, ge=1, description="Most queries of the field.")
    bisections: int = Field(10, ge=1, description="Halvings of the interval of beta in a round.")
    smallest_round_mass: float = Field(1e-6, gt=0, description="Added to a round's sampling density.")
    smallest_final_mass: float = Field(1e-5, gt=0, description="Added to the weights of the last sampling.")

    @property
    def samples(self) -> int:
        """Samples per ray and node in the end: those of the weights, near, far and the extra ones."""
        return self.final_samples + 2 + self.extra_samples


class HoldNetSettings(Settings):
    """HOLD-Net's size; the defaults are the published network."""

    sdf: SdfNetSettings = Field(SdfNetSettings(), description="Shape networks of hand and object.")
    colour: ColourNetSettings = Field(ColourNetSettings(), description="Colour networks of hand and object.")
    background: BackgroundSettings = Field(BackgroundSettings(), description="The far field.")
    density: DensitySettings = Field(DensitySettings(), description="Density of hand and object.")
    sampler: SamplerSettings = Field(SamplerSettings(), description="Where rays are sampled.")
    barf: BarfSettings = Field(BarfSettings(), description="Coarse to fine encoding of the object's points.")
    frame_code: int = Field(32, ge=1, description="Width of the codes per frame, the object's and the background's.")
    scene_radius: float = Field(6.0, gt=0, description="Radius of the foreground's sphere, in the scaled world.")
    pose_free_epochs: int = Field(
        20, ge=0, description="Training epochs in which the hand's colour network sees a zero pose."
    )
