"""What users bring, and what handloom makes of it: one row for each input.

A new fault is one row more. `right`: the result is what was brought, `told`: it is, and the log has the words,
`refused`: there is no result, and the words, in one line, say why.
"""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import ExifTags, Image

from ..datasets.ho3d_files import SequenceWriter
from ..datasets.video_files import numbered, with_matrix, write_film
from .data_files import (
    assembly_hands,
    boxes,
    build,
    checkpoint,
    ganerated,
    ho3d,
    mano,
    model_times,
    pipe_for,
    rhd,
    with_nan,
    wrapped,
)
from .pictures import (
    COUNT,
    HEIGHT,
    OBJECT,
    RIGHT,
    WIDTH,
    Made,
    Maker,
    binary,
    broken,
    content,
    film,
    levels,
    marked,
    masked,
    pictures,
    recoloured,
    with_alpha,
)

Verdict = Literal["right", "told", "refused"]


class Row(NamedTuple):
    """An input by its maker, the file asked for, and what comes of it.

    A target that begins with results/ or resources/ belongs to settings of the whole run, and `name` is its job's; the
    others are those of a sequence, or of a camera pair. `frames` are the pictures' numbers that come out.
    """

    name: str
    make: Maker
    target: str
    verdict: Verdict
    says: str = ""
    frames: Sequence[int] = range(COUNT)
    differ: float = 0.0
    """The share of a mask's pixels that may."""


def _laid_end_to_end(folder: Path) -> Made:
    """A recording whose size changes on the way."""
    path = write_film(folder / "a.ts")
    path.write_bytes(path.read_bytes() + write_film(folder / "b.ts", size=(HEIGHT * 2, WIDTH)).read_bytes())
    return {"kind": "video", "path": str(path)}


def _turned(folder: Path) -> Made:
    path = with_matrix(write_film(folder / "film.mp4", count=COUNT), 0.94, 0.34, -0.34, 0.94)
    return {"kind": "video", "path": str(path)}


def _wide_pixels(stream: Any) -> None:
    stream.codec_context.sample_aspect_ratio = Fraction(4, 3)


def _woven(index: int) -> np.ndarray:
    picture = numbered(index)
    picture[1::2] = picture[::2]
    return picture


def _also_as(suffix: str) -> Any:
    def change(folder: Path) -> None:
        for path in list(folder.glob("*.png")):
            Image.open(path).save(path.with_suffix(suffix))

    return change


def _half_as(suffix: str) -> Any:
    def change(folder: Path) -> None:
        for path in sorted(folder.glob("*.png"))[::2]:
            Image.open(path).save(path.with_suffix(suffix))
            path.unlink()

    return change


def _apple_double(folder: Path) -> None:
    for path in list(folder.iterdir()):
        path.with_name(f"._{path.name}").write_bytes(struct.pack(">2I", 0x51607, 0x20000))


def _program(folder: Path) -> None:
    (folder / "000002.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 96 64\nshowpage\n")


def _larger(folder: Path) -> None:
    path = folder / "000003.png"
    image = Image.open(path)
    image.resize((2 * WIDTH, 2 * HEIGHT)).save(path)


def _on_its_side(folder: Path) -> None:
    """As phones store what they show upright."""
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    for path in list(folder.glob("*.png")):
        Image.open(path).rotate(90, expand=True).save(path.with_suffix(".jpg"), exif=turned, quality=95)
        path.unlink()


def _in_print_colours(folder: Path) -> None:
    for path in list(folder.glob("*.png")):
        Image.open(path).convert("CMYK").save(path.with_suffix(".jpg"))
        path.unlink()


def _unpadded(writer: SequenceWriter) -> None:
    for path in (writer.folder / "rgb").iterdir():
        path.rename(path.with_stem(str(int(path.stem))))


def _of_later_frames(writer: SequenceWriter) -> None:
    for path in (writer.folder / "meta").iterdir():
        path.rename(path.with_stem(f"{100 + int(path.stem):04d}"))


def _without(name: str) -> Any:
    return lambda folder: (folder / name).unlink()


def _smooth(label: np.ndarray) -> Image.Image:
    numbers = np.select([label == OBJECT, label == RIGHT], [2, 1], 0).astype(np.uint8)
    numbers[20:40][numbers[20:40] != np.roll(numbers[20:40], 1, 1)] = 9
    return recoloured(*((number, number) for number in (1, 2, 9)), palette=True)(numbers)


COLOURS = {"object": [176, 112, 32], "right": [112, 48, 176]}
COLOURED = recoloured((0, [48, 112, 32]), (OBJECT, COLOURS["object"]), (RIGHT, COLOURS["right"]))
ALL = "masks.png"
FILM = "frames.json"

VIDEOS = (
    Row("camcorder", film("a.MTS", muxer="mpegts"), FILM, "right"),
    Row("windows", film("a.wmv", "wmv2", muxer="asf"), FILM, "right"),
    Row("animation", film("a.gif", "gif", pixels="rgb8"), FILM, "right"),
    Row("no_suffix_av1", film("film", "libsvtav1", muxer="mp4"), FILM, "right"),
    Row("ten_bits", film("a.mkv", "ffv1", pixels="yuv420p10le"), FILM, "right"),
    Row("no_stamps", film("a.h264", muxer="h264"), FILM, "told", "as it has no time stamps"),
    Row("longer_sound", film("a.mkv", sound_s=3), FILM, "right"),
    Row(
        "rate_varies",
        film("a.webm", "libvpx-vp9", stamps_ms=[40 * n + 7 * (n % 3) for n in range(COUNT)]),
        FILM,
        "right",
    ),
    Row("every_third", film(frames={"every": 3, "first": 1}), FILM, "right", frames=(1, 4, 7, 10)),
    Row(
        "interlaced",
        film("a.mpg", "mpeg2video", codec_options={"flags": "+ildct+ilme", "b": "4M"}, picture=_woven),
        FILM,
        "told",
        "pictures are interlaced",
    ),
    Row("anamorphic", film(prepare=_wide_pixels), FILM, "told", '"width_px": 128', ()),
    Row("turned_by_20", _turned, FILM, "refused", "turned by no multiple of 90 degrees"),
    Row(
        "turned_on_the_way",
        _laid_end_to_end,
        FILM,
        "refused",
        "frame 000012 has 128 x 96 pixels, but those before have 96 x 64",
    ),
    Row(
        "cut_short",
        broken(film("a.mkv"), lambda given: given[: len(given) * 2 // 3]),
        FILM,
        "refused",
        "cut short or damaged",
    ),
    Row(
        "codec_of_tomorrow",
        broken(film(), lambda given: given.replace(b"avc1", b"xyz1")),
        FILM,
        "refused",
        "this build of FFmpeg cannot decode the codec xyz1; convert it first",
    ),
    Row("no_video", content("film.mp4", "no video at all\n" * 100), FILM, "refused", "cannot be decoded"),
    Row(
        "playlist", content("film.mp4", "ffconcat version 1.0\nfile ../camcorder/a.MTS\n"), FILM, "refused", "cannot be"
    ),
    Row("empty", content("film.mp4", b""), FILM, "refused", "is empty"),
    Row("one_picture", film(frames={"first": COUNT - 1}), FILM, "refused", "gives 1 frame(s) with first 11"),
)

FOLDERS = (
    Row("not_padded", pictures("{}.png"), FILM, "right"),
    Row("webp", pictures("{:03d}.webp", lossless=True), FILM, "right"),
    Row("spaces", pictures("IMG ({:02d}).jpg", quality=95), FILM, "right"),
    Row("half_webp", pictures("{:06d}.png", change=_half_as(".webp")), FILM, "right"),
    Row("from_a_mac", pictures("{:06d}.png", change=_apple_double), FILM, "right"),
    Row("half_gif", pictures("{:06d}.png", change=_half_as(".gif")), FILM, "refused", "of a format that is not read"),
    Row("twice", pictures("{:06d}.png", change=_also_as(".jpg")), FILM, "refused", "are two files of one frame"),
    Row("copied", pictures("{:06d}.png", "000003 (1).png"), FILM, "refused", "are two files of one frame"),
    Row("program", pictures("{:06d}.png", change=_program), FILM, "refused", "cannot be decoded"),
    Row("decimals", pictures("0.05.png", "0.15.png", "0.2.png"), FILM, "refused", "can be read in two orders"),
    Row("print_colours", pictures("{:06d}.png", change=_in_print_colours), FILM, "refused", "mode CMYK"),
    Row("one_larger", pictures("{:06d}.png", change=_larger), FILM, "refused", "192"),
    Row(
        "pipe",
        pictures("{:06d}.png", change=lambda folder: pipe_for(folder / "000002.png")),
        FILM,
        "refused",
        "is a named pipe",
    ),
    Row(
        "transparent",
        pictures(
            "{:06d}.png", change=lambda folder: with_alpha(9)(np.eye(HEIGHT, WIDTH) > 0).save(folder / "000002.png")
        ),
        FILM,
        "refused",
        "transparen",
    ),
    Row(
        "web_page",
        pictures("{:06d}.png", change=lambda folder: (folder / "000002.png").write_text("<!DOCTYPE html><html>")),
        FILM,
        "refused",
        "cannot be decoded",
    ),
)

MASK_NAMES = (
    Row("masks_of_all_frames", masked(of=film(frames={"every": 2})), ALL, "right", frames=range(0, COUNT, 2)),
    Row("masks_from_fifth_on", masked(of=film(frames={"first": 5, "most": 6})), ALL, "right", frames=range(5, 11)),
    Row("masks_not_padded", masked("{}.png"), ALL, "right"),
    Row("masks_frame_n_mask", masked("frame_{}_mask.png"), ALL, "right"),
    Row("masks_dated", masked("film_20240607_{:04d}.PNG"), ALL, "right"),
    Row("masks_of_a_hash", masked("{:06d}_jpg.rf.0123456789abcdef0123456789abcdef.png"), ALL, "right"),
    Row(
        "masks_of_tasks",
        masked("task-{0}-annotation-{0}1-by-1-tag-object-0.png", first=5),
        ALL,
        "told",
        "in number order",
    ),
    Row("masks_beside_hidden", masked(each=_apple_double), ALL, "right"),
    Row("masks_from_1", masked("{:06d}.png", first=1), ALL, "refused", "are not named as the frames"),
    Row("masks_from_1_in_order", masked("{:06d}.png", first=1, match="order"), ALL, "right"),
    Row(
        "masks_without_one",
        masked(each=_without("000005.png")),
        ALL,
        "refused",
        "no file has the number of 1 of the frames (000005)",
    ),
    Row(
        "masks_without_one_in_order",
        masked(each=_without("000005.png"), match="order"),
        ALL,
        "refused",
        "holds 11 files for 12 frames",
    ),
    Row("masks_twice", masked(each=_also_as(".bmp")), ALL, "refused", "are two files of one frame"),
    Row("masks_larger", masked(each=_larger), ALL, "refused", "192"),
    Row("masks_of_others", masked(first=100), ALL, "refused", "masks_of_others.masks.files: "),
    Row("masks_of_turned", masked(of=pictures("{:06d}.png", change=_on_its_side)), ALL, "right"),
    Row("masks_as_jpeg", masked(each=_half_as(".jpg")), ALL, "refused", "is a JPEG, which blurs the numbers"),
)

MASK_CONTENTS = (
    Row("binary_0_1", binary("{:06d}.png", levels(0, 1)), ALL, "right"),
    Row("binary_16_bits", binary("{:06d}.png", levels(0, 65535, np.uint16)), ALL, "right"),
    Row("binary_1_bit", binary("{:06d}.png", lambda mask: Image.fromarray(mask).convert("1")), ALL, "right"),
    Row("binary_background_3", binary("{:06d}.png", levels(3, 255)), ALL, "right"),
    Row("binary_rgba", binary("{:06d}.png", with_alpha(None)), ALL, "right"),
    Row("binary_alpha", binary("{:06d}.png", with_alpha(255)), ALL, "told", "the alpha channel is taken for the mask"),
    Row("binary_jpeg", binary("{:06d}.jpg", levels(0, 255)), ALL, "right", differ=0.02),
    Row(
        "binary_by_pattern",
        binary("{:06d}.png", levels(0, 255), entity_folders={"object": "object/*.png", "right": "right/0*.png"}),
        ALL,
        "right",
    ),
    Row("binary_inverted", binary("{:06d}.png", levels(255, 0)), ALL, "refused", "the mask is inverted"),
    Row(
        "binary_of_both",
        binary(
            "{:06d}.png",
            lambda mask: Image.fromarray((150 * mask + 70 * (np.indices(mask.shape)[0] > 40)).astype(np.uint8)),
        ),
        ALL,
        "refused",
        "is said to hold binary masks of one entity",
    ),
    Row(
        "numbers_1_2",
        masked(painted=recoloured((OBJECT, 2), (RIGHT, 1), palette=True), convention="index"),
        ALL,
        "right",
    ),
    Row(
        "numbers_3_5",
        masked(painted=recoloured((OBJECT, 3), (RIGHT, 5), palette=True), convention="index"),
        ALL,
        "refused",
        "its files hold the numbers 0",
    ),
    Row(
        "numbers_smooth",
        masked(painted=_smooth, convention="index"),
        ALL,
        "told",
        "no setting names the numbers 9 on",
        differ=0.02,
    ),
    Row(
        "labels_of_others",
        masked(painted=recoloured((OBJECT, 51), (RIGHT, 150))),
        ALL,
        "refused",
        "holds the labels [51]",
    ),
    Row(
        "colours",
        masked(painted=COLOURED, convention="colours", colours=COLOURS, background_colours=[[48, 112, 32]]),
        ALL,
        "right",
    ),
    Row(
        "colours_of_background",
        masked(painted=COLOURED, convention="colours", colours=COLOURS),
        ALL,
        "refused",
        "masks.files.background_colours",
    ),
    Row("marked_to_the_edge", marked(film(), object={"box": [0, 0, 95, 62]}), ALL, "refused", "masks of"),
)

DATA = (
    Row("ho3d", ho3d(), "object_poses.npz", "right"),
    Row(
        "ho3d_camera_of_zeros",
        ho3d(camMat=np.zeros((3, 3))),
        "object_poses.npz",
        "refused",
        "camMat is no camera matrix",
    ),
    Row("ho3d_unpadded", ho3d(_unpadded), "object_poses.npz", "right"),
    Row("ho3d_of_later_frames", ho3d(_of_later_frames), "object_poses.npz", "refused", "are of no picture in rgb"),
    Row(
        "ho3d_camera_of_larger",
        ho3d(camMat=np.array([[700.0, 0, 640], [0, 700, 480], [0, 0, 1]])),
        "object_poses.npz",
        "refused",
        "its centre is [640.0, 480.0], but one in the picture of 64 x 48 pixels",
    ),
    Row(
        "ho3d_behind",
        ho3d(objTrans=np.array([0.0, 0.0, 0.5])),
        "object_poses.npz",
        "refused",
        "'objTrans': lies behind the camera",
    ),
    Row("ho3d_millimetres", ho3d(objTrans=np.array([0.0, 0.0, -500.0])), "object_poses.npz", "refused", "objTrans"),
    Row(
        "ho3d_model_in_millimetres", ho3d(model_times(1000)), "object_poses.npz", "refused", "give the model in metres"
    ),
    Row(
        "ho3d_doubled",
        ho3d(
            lambda writer: (
                _also_as(".jpeg")(writer.folder / "rgb")
                or Image.open(writer.folder / "rgb/0000.jpg").save(writer.folder / "rgb/0.jpg")
            )
        ),
        "object_poses.npz",
        "refused",
        "are two files of one frame",
    ),
    Row(
        "build_camera_of_zeros",
        build(lambda data: data["cameras"].update(K_0=np.zeros((4, 4)))),
        "phase1/object.npz",
        "refused",
        "camera",
    ),
    Row(
        "build_without_size",
        build(lambda data: data.update(scene_bounding_sphere=0.0)),
        "phase1/object.npz",
        "refused",
        "scene_bounding_sphere is 0",
    ),
    Row(
        "build_lacks_scale",
        build(lambda data: data["entities"]["object"].pop("obj_scale")),
        "phase1/object.npz",
        "refused",
        "lacks ['entities.object.obj_scale']",
    ),
    Row(
        "boxes_shares/left",
        boxes("{},0.1,0.2,0.6,0.7", "{},9,9,50,50"),
        "left/hands.npz",
        "refused",
        "shares of the picture's sides?",
    ),
    Row("boxes_inverted/left", boxes("{},50,9,9,50", "{},9,9,50,50"), "left/hands.npz", "refused", "x0 < x1"),
    Row(
        "boxes_long_field/left",
        boxes("0," + "1" * 200_000 + ",2,3,4", "{},9,9,50,50"),
        "left/hands.npz",
        "refused",
        "field larger than field limit",
    ),
)

OF_THE_RUN = (
    Row("rhd", rhd(), "results/s2d/training/rhd.npz", "refused", "a hand without size, a placeholder?"),
    Row(
        "ganerated",
        ganerated(",".join(["1.0"] * 63)),
        "results/s2d/training/ganerated.npz",
        "refused",
        "a hand without size, a placeholder?",
    ),
    Row(
        "val",
        assembly_hands(
            lambda writer: writer.calibration["sequence-a"]["intrinsics"].update(
                {key: [[0.0] * 3] * 3 for key in writer.calibration["sequence-a"]["intrinsics"]}
            )
        ),
        "results/s2d/views/val/invalid.txt",
        "refused",
        "is no camera matrix",
    ),
    Row("in", checkpoint("in", with_nan), "results/s2d/source/in/detnet.safetensors", "refused", "holds NaN"),
    Row(
        "cross",
        checkpoint("cross", wrapped),
        "results/s2d/source/cross/detnet.safetensors",
        "told",
        "taken from its entry state_dict",
    ),
)

# What others wait for runs apart from them.
OF_ALL_HANDS = (
    Row(
        "convert_mano",
        mano(lambda hand: hand["J_regressor"].indices.__setitem__(5, 2_000_000_000)),
        "resources/mano/mano_right.npz",
        "refused",
        "indices names row 2000000000 of 16",
    ),
)

RUNS = ((*VIDEOS, *FOLDERS, *MASK_NAMES, *MASK_CONTENTS, *DATA, *OF_THE_RUN), OF_ALL_HANDS)
"""Rows of one configuration each."""
