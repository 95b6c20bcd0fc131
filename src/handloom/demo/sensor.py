"""From radiance to the bytes of a camera: exposure, vignetting, blur, noise and tone curve."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8


@dataclass(frozen=True)
class Sensor:
    """A camera's optics and electronics; noise is shot noise (electrons at white) plus read noise.

    Its automatic exposure brings the mean of the linear picture to `mean_level`, within `largest_gain` either way,
    unless that would burn out the brightest parts (lit hands, mostly) beyond `highlight_level`.
    """

    mean_level: float
    highlight_level: float
    gamma: float
    vignetting: float
    blur_px: float
    electrons: float
    read_noise: float
    largest_gain: float = 2.5

    def expose(
        self, radiance: Float[np.ndarray, "height width channels"], generator: np.random.Generator
    ) -> UInt8[np.ndarray, "height width channels"]:
        """The 8-bit picture of a linear image."""
        height, width, channels = radiance.shape
        metered = radiance[::8, ::8]
        wanted = self.mean_level / max(float(metered.mean()), 1e-3)
        gain = min(wanted, self.highlight_level / max(float(np.quantile(metered, 0.98)), 1e-3))
        light = radiance * np.float32(np.clip(gain, 1 / self.largest_gain, self.largest_gain))
        if self.vignetting > 0:
            row = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
            column = np.linspace(-1, 1, width, dtype=np.float32)[None]
            light = light * (1 - np.float32(self.vignetting / 2) * (row**2 + column**2))[..., None]
        blurred = cv2.GaussianBlur(light, (0, 0), self.blur_px).reshape(height, width, channels)
        noise = generator.standard_normal((height, width, channels), dtype=np.float32)
        sigma = np.sqrt(np.maximum(blurred, 0) / np.float32(self.electrons) + np.float32(self.read_noise**2))
        bright = np.clip(blurred + sigma * noise, 0, 1)
        # A table of 1024 steps is what a 10-bit sensor has, and far faster than a power.
        curve = (np.linspace(0, 1, 1024) ** (1 / self.gamma) * 255 + 0.5).astype(np.uint8)
        return curve[(bright * 1023).astype(np.int32)]


def random_monochrome_sensor(generator: np.random.Generator) -> Sensor:
    """A head-mounted tracking camera: small, a little soft, vignetted and noisy."""
    return Sensor(
        mean_level=float(generator.uniform(0.15, 0.30)),
        highlight_level=float(generator.uniform(0.75, 1.15)),
        gamma=float(generator.uniform(1.5, 2.2)),
        vignetting=float(generator.uniform(0.2, 0.5)),
        blur_px=float(generator.uniform(0.5, 0.9)),
        electrons=float(generator.uniform(400, 2000)),
        read_noise=float(generator.uniform(0.003, 0.010)),
    )


def random_colour_sensor(generator: np.random.Generator) -> Sensor:
    """A colour camera: from a clean renderer-like picture to a dim phone picture."""
    return Sensor(
        mean_level=float(generator.uniform(0.12, 0.42)),
        highlight_level=float(generator.uniform(0.6, 1.3)),
        gamma=float(generator.uniform(1.8, 2.4)),
        vignetting=float(generator.uniform(0.0, 0.2)),
        blur_px=float(generator.uniform(0.35, 0.8)),
        electrons=float(10 ** generator.uniform(3.3, 5.0)),
        read_noise=float(10 ** generator.uniform(-3.5, -2.4)),
    )
