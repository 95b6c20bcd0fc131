"""What a running training of HOLD-Net sees: a few frames beside their renderings."""

from pathlib import Path

import torch
from torch import Tensor

from handloom.reconstruction.frame_previews import View, write_frame_previews
from handloom.reconstruction.holdnet.node import SceneRays
from handloom.reconstruction.holdnet.rays import rays_through_pixels
from handloom.reconstruction.holdnet.training import HoldNetTraining


def write_preview(path: Path, training: HoldNetTraining) -> None:
    """Write a picture of evenly spaced frames: photograph, rendering, classes; in evaluation mode, nothing random."""
    frames, height, width = training.video.label_u8.shape
    wide = training.settings.preview_width_px

    def look(frame: int, pixels: Tensor) -> View:
        return _view(training, frame, pixels)

    training.net.eval()
    try:
        with torch.no_grad():
            write_frame_previews(path, look, frames=frames, height=height, width=width, width_px=wide)
    finally:
        training.net.train()


def _view(training: HoldNetTraining, frame: int, pixels: Tensor) -> View:
    video, settings = training.video, training.settings
    device = training.device
    own = torch.tensor([frame], device=device)
    pixels = pixels.to(device)
    uv = pixels.float()[None]
    scale = torch.full((1,), training.scene.placement.scene_scale, device=device)
    colour, semantics = [], []
    for part in uv.split(max(1, settings.rays_per_step // training.net.parts), dim=1):
        origins, directions = rays_through_pixels(part, video.intrinsics[own], video.world_from_cam[own])
        seen = training.net(SceneRays(own, origins, directions, scale)).composite
        colour.append(seen.colour)
        semantics.append(seen.semantics)
    photograph = video.image_u8[frame, pixels[:, 1], pixels[:, 0]].float() / 255
    return View(photograph, torch.cat(colour), torch.cat(semantics))
