"""Contact sheets are drawn from the files and say when there are none."""

from pathlib import Path

import numpy as np
import pytest

from handloom.datasets import AssemblyHandsSettings
from handloom.datasets.assembly_hands import annotation_files
from handloom.demo.contact_sheets import assembly_hands_sheet, ganerated_sheet, rhd_sheet
from handloom.runtime.errors import InputError
from handloom.runtime.images import read_rgb


def _coloured(sheet: np.ndarray) -> float:
    """Share of pixels that are no grey: the key points, in sheets of grey pictures."""
    return float((sheet.max(-1).astype(int) - sheet.min(-1) > 40).mean())


def test_headset_sheet_has_four_views_a_row_and_drawn_hands(assembly_root: Path, tmp_path: Path) -> None:
    files = annotation_files(AssemblyHandsSettings(root=str(assembly_root)), "val")
    images = assembly_root / "images" / "ego_images_rectified" / "val"
    assembly_hands_sheet((files.data, files.calibration, files.joints), images, tmp_path / "val.png", 2)
    sheet = read_rgb(tmp_path / "val.png")
    height = sheet.shape[0] // 4
    assert _coloured(sheet[:height]) == 0
    assert _coloured(sheet[height : 2 * height]) > 0.001


def test_colour_sheets_appear(rhd_folder: Path, ganerated_folder: Path, tmp_path: Path) -> None:
    rhd_sheet(rhd_folder, tmp_path / "rhd.png", rows=1, columns=4)
    ganerated_sheet(ganerated_folder, tmp_path / "gan.png", rows=1, columns=4)
    assert read_rgb(tmp_path / "rhd.png").shape[1] == 4 * 324
    assert read_rgb(tmp_path / "gan.png").shape[1] == 4 * 260


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no pictures"):
        ganerated_sheet(tmp_path, tmp_path / "gan.png")
