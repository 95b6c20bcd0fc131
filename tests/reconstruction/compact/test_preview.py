"""Previews: photograph, rendering and classes of evenly spaced frames, the same bytes every time."""

from pathlib import Path

import cv2
import numpy as np
import torch

from handloom.reconstruction.compact.preview import TILES, write_preview

from .scene import FRAMES, HEIGHT, WIDTH, held_box, small_settings, small_training


def test_preview_shows_photographs_renderings_and_classes(tmp_path: Path) -> None:
    """Protects the picture's layout and that looking at a training does not change it."""
    training = small_training(small_settings())
    before = {name: value.clone() for name, value in training.field_state().items()}
    for name in ("one.png", "two.png"):
        write_preview(tmp_path / name, training)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    torch.testing.assert_close(training.field_state(), before, atol=0, rtol=0)
    picture = cv2.imread(str(tmp_path / "one.png"))[..., ::-1]
    assert picture.shape == (3 * HEIGHT, TILES * WIDTH, 3)
    last = picture[:HEIGHT, -WIDTH:].astype(int)
    assert np.abs(last - held_box().image_u8[FRAMES - 1].numpy()).max() <= 1
    classes = picture[2 * HEIGHT :, :WIDTH].astype(int)
    shows_background = (classes - 40).__abs__().max(-1) <= 2
    true_background = held_box().class_u8[0].numpy() == 0
    assert (shows_background == true_background).mean() > 0.8
