"""Masks from files: all conventions mean the same masks, a data set's own are labels, and wrong files are named."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from handloom.datasets.frames import Frames
from handloom.datasets.masks import mask_files, read_masks
from handloom.datasets.video import extract_frames
from handloom.estimators.masks.mask_files import labels_from_ho3d, masks_of_dataset, masks_of_files, read_mask_files
from handloom.runtime.config.sequences import FrameSettings, MaskConvention
from handloom.runtime.errors import InputError
from handloom.runtime.images import read_grey

from ...datasets.ho3d_files import FRAMES, SIZE, SequenceWriter

NAMES = ["0000.png", "0001.png"]


@pytest.fixture
def frames(tmp_path: Path) -> Frames:
    (tmp_path / "frames").mkdir()
    for name in NAMES:
        Image.new("RGB", (12, 8)).save(tmp_path / "frames" / name)
    taken = Frames(tmp_path / "frames", ("img_9.jpg", "img_7.jpg"), (0.0, 0.1), "test", 12, 8, "test", None)
    taken.write_list(tmp_path / "frames.json")
    return taken


@pytest.fixture
def labels() -> np.ndarray:
    made = np.zeros((2, 8, 12), np.uint8)
    made[:, 1:4, 1:5], made[:, 4:7, 1:5], made[1, 4:7, 8:11] = 50, 150, 250
    return made


def save(folder: Path, name: str, values: np.ndarray, palette: list[int] | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values)
    if palette is not None:
        image = Image.frombytes("P", values.shape[::-1], values.tobytes())
        image.putpalette(palette)
    image.save(folder / name)


def test_all_conventions_give_the_same_labels(tmp_path: Path, frames: Frames, labels: np.ndarray) -> None:
    number_of = {0: 0, 50: 2, 150: 1, 250: 3}
    colours = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]], np.uint8)
    everyone = {"right": 1, "object": 2, "left": 3}
    for name, image in zip(NAMES, labels, strict=True):
        numbers = np.vectorize(number_of.get)(image).astype(np.uint8)
        save(tmp_path / "labels", name, image)
        save(tmp_path / "index", name, numbers, colours.reshape(-1).tolist())
        save(tmp_path / "colours", name, colours[numbers])
        for entity, label in (("object", 50), ("right", 150), ("left", 250)):
            mask = (image == label) | (entity == "right") & (image == 50)
            save(tmp_path / "entities" / entity, name, np.where(mask, np.uint8(255), np.uint8(0)))
    colour_of = {entity: tuple(colours[number].tolist()) for entity, number in everyone.items()}
    conventions = [
        ("labels", MaskConvention()),
        ("index", MaskConvention(convention="index", index=everyone)),
        ("colours", MaskConvention(convention="colours", colours=colour_of)),
        # A palette image serves as colours too; object pixels of the right hand's file go to the object.
        ("index", MaskConvention(convention="colours", colours=colour_of)),
        ("entities", MaskConvention(convention="entity_folders", entity_folders={name: name for name in everyone})),
    ]
    for folder, convention in conventions:
        found = read_mask_files(tmp_path / folder, convention, frames)
        np.testing.assert_array_equal(found, labels, err_msg=convention.convention)


def test_files_are_found_by_original_name_or_by_order(tmp_path: Path, frames: Frames, labels: np.ndarray) -> None:
    save(tmp_path / "m", "img_7.png", labels[1])
    save(tmp_path / "m", "img_9.png", labels[0])
    np.testing.assert_array_equal(read_mask_files(tmp_path / "m", MaskConvention(), frames), labels)
    others = replace(frames, names=("a.jpg", "b.jpg"))
    with pytest.raises(InputError, match=r"\(img_7\.png, img_9\.png; 2 in all\).*frames \(a, b; 2 in all\).*'order'"):
        read_mask_files(tmp_path / "m", MaskConvention(), others)
    in_order = read_mask_files(tmp_path / "m", MaskConvention(match="order"), others)
    np.testing.assert_array_equal(in_order, labels[::-1])
    save(tmp_path / "m", "img_11.png", labels[0])
    with pytest.raises(InputError, match=r"holds 3 files for 2 frames, and masks\.files\.match is 'order'"):
        read_mask_files(tmp_path / "m", MaskConvention(match="order"), others)


def test_one_folder_may_hold_the_files_of_all_entities(tmp_path: Path, frames: Frames, labels: np.ndarray) -> None:
    """As Label Studio exports them: a pattern tells whose a file is."""
    for number, image in enumerate(labels):
        for entity, label in (("object", 50), ("right", 150)):
            name = f"task-{5 + number}-annotation-{9 + number}-by-1-tag-{entity}-0.png"
            save(tmp_path / "m", name, np.where(image == label, np.uint8(255), np.uint8(0)))
    patterns = {entity: f"*-tag-{entity}-*.png" for entity in ("object", "right")}
    settings = MaskConvention(convention="entity_folders", entity_folders=patterns)
    np.testing.assert_array_equal(read_mask_files(tmp_path / "m", settings, frames), np.where(labels == 250, 0, labels))
    with pytest.raises(InputError, match="two files of one frame"):
        read_mask_files(tmp_path / "m", MaskConvention(), frames)


def test_an_entity_over_most_of_the_picture_is_refused(tmp_path: Path, frames: Frames, labels: np.ndarray) -> None:
    places = frames.folder, tmp_path / "frames.json", tmp_path / "out", tmp_path / "out.png"
    folders = MaskConvention(convention="entity_folders", entity_folders={"object": "object", "right": "right"})
    for name, image in zip(NAMES, labels, strict=True):
        save(tmp_path / "m" / "object", name, np.where(image == 50, np.uint8(0), np.uint8(255)))
        save(tmp_path / "m" / "right", name, np.where(image == 150, np.uint8(255), np.uint8(0)))
    with pytest.raises(InputError, match=r"mask of the object covers up to 88% .* in 2 of 2 frames.*inverted"):
        masks_of_files(tmp_path / "m", folders, 1.0, *places, largest_share=0.5)
    masks_of_files(tmp_path / "m", folders, 1.0, *places, largest_share=0.9)


def test_wrong_files_are_errors(tmp_path: Path, frames: Frames, labels: np.ndarray) -> None:
    def read(folder: str, convention: str = "labels") -> np.ndarray:
        return read_mask_files(tmp_path / folder, MaskConvention(convention=convention), frames)

    with pytest.raises(InputError, match="nowhere: no such folder"):
        read("nowhere")
    for name, image in zip(NAMES, labels, strict=True):
        save(tmp_path / "odd", name, np.where(image == 50, np.uint8(51), image))
        save(tmp_path / "small", name, image[:4])
        save(tmp_path / "colourful", name, np.random.default_rng(0).integers(0, 255, (8, 12, 3), dtype=np.uint8))
    with pytest.raises(InputError, match=r"labels \[51\]"):
        read("odd")
    for convention in ("labels", "index", "colours"):
        with pytest.raises(InputError, match="mask is 12x4"):
            read("small", convention)
    with pytest.raises(InputError, match=r"colours that no setting names.*masks\.files\.background_colours"):
        read("colourful", "colours")
    (tmp_path / "odd" / "0000.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"0000\.png"):
        read("odd", "index")


def written(tmp_path: Path, frames: Frames, given: str, empty_fraction: float = 0.3) -> np.ndarray:
    """The masks that the stage makes of files."""
    places = frames.folder, tmp_path / "frames.json", tmp_path / "out", tmp_path / "out.png"
    masks_of_files(tmp_path / given, MaskConvention(), empty_fraction, *places)
    return read_masks(tmp_path / "out", frames)


def test_stage_writes_them_under_the_frames_names(tmp_path: Path, frames: Frames, labels: np.ndarray) -> None:
    for name, image in zip(NAMES, labels, strict=True):
        save(tmp_path / "m", name, image)
    np.testing.assert_array_equal(written(tmp_path, frames, "m"), labels)
    assert [path.name for path in mask_files(tmp_path / "out", frames)] == NAMES
    assert read_grey(tmp_path / "out.png").any()


def test_empty_masks_are_counted_and_capped(
    tmp_path: Path, frames: Frames, labels: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    labels[1][labels[1] == 150] = 0
    labels[1][labels[1] == 250] = 0
    labels[0][labels[0] == 250] = 0
    for name, image in zip(NAMES, labels, strict=True):
        save(tmp_path / "m", name, image)
    assert (written(tmp_path, frames, "m", empty_fraction=0.5)[1] == 50).any()
    assert "no hand in 1 of 2 frames: 0001.png" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"mask of the hand is empty in 1 of 2 frames.*masks\.empty_fraction"):
        written(tmp_path, frames, "m")


@pytest.fixture
def writer(tmp_path: Path) -> SequenceWriter:
    writer = SequenceWriter(tmp_path / "HO3D_v3")
    writer.write()
    return writer


def own_masks(source: Path, kind: str, out: Path, **settings: object) -> Path:
    """The folder of a data set's own masks, of the frames that are extracted first."""
    places = out / "frames", out / "frames.json"
    extract_frames(source, FrameSettings(kind=kind, **settings), *places)
    masks_of_dataset(source, kind, *places, out / "masks", out / "masks.png")
    return out / "masks"


def test_quarter_size_segmentations_become_labels_of_the_frames_size(writer: SequenceWriter, tmp_path: Path) -> None:
    """One a chosen frame, under that frame's name."""
    folder = own_masks(writer.folder, "ho3d", tmp_path, first=1)
    assert sorted(path.name for path in folder.iterdir()) == [f"{frame:04d}.png" for frame in range(FRAMES - 1)]
    labels = read_grey(folder / "0001.png")
    assert labels.shape == (SIZE[1], SIZE[0])
    assert (labels[8:24, 12:28] == 50).all()
    assert (labels[24:36, 12:28] == 150).all()
    assert (labels > 0).sum() == 16 * (16 + 12)
    assert read_grey(tmp_path / "masks.png").any()


def test_blue_is_the_hand_and_any_other_colour_the_object() -> None:
    colours = np.array([[[0, 0, 0], [0, 0, 255], [0, 255, 0], [255, 0, 0]]], np.uint8)
    assert labels_from_ho3d(colours).tolist() == [[0, 150, 50, 50]]
    assert labels_from_ho3d(colours, ("left",)).tolist() == [[0, 250, 50, 50]]


def test_masks_of_the_other_hand_are_refused_with_what_to_set(writer: SequenceWriter, tmp_path: Path) -> None:
    folder = own_masks(writer.folder, "ho3d", tmp_path)
    places = tmp_path / "frames", tmp_path / "frames.json"
    out = tmp_path / "again", tmp_path / "again.png"
    with pytest.raises(
        InputError, match=r"hand is empty in 4 of 4.*show a right hand, but hands is \[left\]: set it to"
    ):
        masks_of_files(folder, MaskConvention(), 0.3, *places, *out, hands=("left",))


def test_a_missing_segmentation_is_named(writer: SequenceWriter, tmp_path: Path) -> None:
    (writer.folder / "seg" / "0003.png").unlink()
    with pytest.raises(InputError, match=r"seg: its files.*no file has the number of 1 of the frames \(0003\.jpg\)"):
        own_masks(writer.folder, "ho3d", tmp_path)
    assert not (tmp_path / "masks").exists()


def write_build(folder: Path, labels: np.ndarray) -> Path:
    for kind in ("image", "mask"):
        for frame, image in enumerate(labels):
            save(folder / kind, f"{frame:04d}.png", image if kind == "mask" else np.stack([image] * 3, -1))
    return folder


def test_masks_of_a_build_folder_are_brought_to_its_labels(tmp_path: Path, labels: np.ndarray) -> None:
    """HOLD's masks may have been resized: values between two labels are the nearer one's."""
    blurred = np.where(labels == 150, np.uint8(140), labels)
    folder = own_masks(write_build(tmp_path / "build", blurred), "build", tmp_path)
    np.testing.assert_array_equal(read_grey(folder / "0001.png"), labels[1])


@pytest.mark.parametrize(("least", "what"), [(50, "object"), (150, "hand")])
def test_masks_of_a_data_set_without_an_entity_are_refused(
    tmp_path: Path, labels: np.ndarray, least: int, what: str
) -> None:
    """Protects all later stages: nothing to reconstruct is an error of the masks, and no folder appears."""
    labels[(labels >= least) & (labels < 50 + least)] = 0
    labels[labels == 250] = 0
    with pytest.raises(InputError, match=f"none of the 2 masks shows the {what}"):
        own_masks(write_build(tmp_path / "build", labels), "build", tmp_path)
    assert not (tmp_path / "masks").exists()
