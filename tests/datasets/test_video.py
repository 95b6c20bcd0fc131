"""Frames keep their order, time stamps and uprightness; what cannot be used is refused, never dropped silently."""

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from handloom.datasets.frames import Frames, read_frames
from handloom.datasets.video import extract_frames
from handloom.runtime.config.sequences import FrameSettings
from handloom.runtime.errors import InputError
from handloom.runtime.images import read_rgb

from .ho3d_files import CAMERA, SequenceWriter

COUNT, WIDTH, HEIGHT = 8, 64, 48


def picture(frame: int) -> np.ndarray:
    """Brighter from frame to frame, its top left corner red: order and orientation can be told."""
    image = np.full((HEIGHT, WIDTH, 3), 20 + 25 * (frame % 9), np.uint8)
    image[:16, :16] = (220, 20, 20)
    return image


def write_video(path: Path, frames: int = COUNT, code: str = "mp4v") -> Path:
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*code), 30, (WIDTH, HEIGHT))
    assert writer.isOpened()
    for frame in range(frames):
        writer.write(picture(frame)[..., ::-1])
    writer.release()
    return path


def write_pictures(folder: Path, names: list[str]) -> Path:
    folder.mkdir(parents=True)
    for frame, name in enumerate(names):
        Image.fromarray(picture(frame)).save(folder / name)
    return folder


def extracted(tmp_path: Path, path: Path, **settings: object) -> tuple[list[np.ndarray], Frames]:
    out = tmp_path / "out"
    extract_frames(path, FrameSettings(**settings), out / "frames", out / "frames.json")
    frames = read_frames(out / "frames", out / "frames.json")
    assert [path.name for path in frames.pictures] == [f"{index:04d}.png" for index in range(len(frames))]
    return [read_rgb(path) for path in frames.pictures], frames


def brightness(images: list[np.ndarray]) -> list[float]:
    return [float(image[-10:, -10:].mean()) for image in images]


def turned(path: Path) -> Path:
    """The same video, stored with the display matrix of a phone held upright: to be turned by 90 degrees clockwise."""
    content = bytearray(path.read_bytes())
    identity = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    place = content.index(identity, content.index(b"tkhd"))
    content[place : place + 36] = struct.pack(">9i", 0, 0x10000, 0, -0x10000, 0, 0, HEIGHT << 16, 0, 0x40000000)
    result = path.with_name("turned.mp4")
    result.write_bytes(content)
    return result


def with_durations(path: Path, ticks: list[int]) -> Path:
    """The same video with a duration of its own for every frame: variable frame rate."""
    content = path.read_bytes()
    place = content.index(b"stts") - 4
    size = struct.unpack(">I", content[place : place + 4])[0]
    table = struct.pack(">II", 0, len(ticks)) + b"".join(struct.pack(">II", 1, tick) for tick in ticks)
    box = struct.pack(">I", 8 + len(table)) + b"stts" + table
    grown = bytearray(content[:place] + box + content[place + size :])
    for parent in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
        start = grown.index(parent) - 4
        old = struct.unpack(">I", grown[start : start + 4])[0]
        grown[start : start + 4] = struct.pack(">I", old + len(box) - size)
    result = path.with_name("variable.mp4")
    result.write_bytes(grown)
    return result


def test_a_video_gives_all_frames_in_order_with_their_times(tmp_path: Path) -> None:
    images, frames = extracted(tmp_path, kind="video", path=write_video(tmp_path / "a.mp4"))
    np.testing.assert_allclose(brightness(images), [20 + 25 * frame for frame in range(COUNT)], atol=6)
    np.testing.assert_allclose(frames.times_s, np.arange(COUNT) / 30, atol=1e-4)
    assert (frames.width_px, frames.height_px) == (WIDTH, HEIGHT)
    assert frames.intrinsics is None
    assert frames.clock == "the video's time stamps"


def test_first_every_and_most_choose_frames(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4")
    images, frames = extracted(tmp_path, kind="video", path=path, first=1, every=2, most=3)
    assert frames.names == ("000001", "000003", "000005")
    np.testing.assert_allclose(brightness(images), [45, 95, 145], atol=6)
    np.testing.assert_allclose(frames.times_s, np.array([1, 3, 5]) / 30, atol=1e-4)


def test_a_phone_video_is_turned_upright(tmp_path: Path) -> None:
    path = turned(write_video(tmp_path / "a.mp4"))
    images, frames = extracted(tmp_path, kind="video", path=path)
    assert (frames.width_px, frames.height_px) == (HEIGHT, WIDTH)
    # Turned clockwise, the red corner moves from the top left to the top right.
    assert images[0][4, -8, 0] > 150
    assert images[0][4, 8, 0] < 100
    capture = cv2.VideoCapture(str(path))
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
    np.testing.assert_array_equal(images[0], capture.read()[1][..., ::-1])


def test_a_variable_frame_rate_keeps_its_time_stamps(tmp_path: Path) -> None:
    plain = write_video(tmp_path / "a.mp4")
    content = plain.read_bytes()
    place = content.index(b"stts") + 16
    tick = struct.unpack(">I", content[place : place + 4])[0]
    durations = [0.5, 0.5, 1.5, 0.5, 2.5, 0.5, 0.5, 1.5]
    path = with_durations(plain, [int(tick * duration) for duration in durations])
    images, frames = extracted(tmp_path, kind="video", path=path)
    np.testing.assert_allclose(brightness(images), [20 + 25 * frame for frame in range(COUNT)], atol=6)
    np.testing.assert_allclose(frames.times_s, np.cumsum([0, *durations[:-1]]) / 30, atol=1e-3)


def test_a_video_that_cannot_be_decoded_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video at all" * 100)
    with pytest.raises(InputError, match=r"a\.mp4: cannot be decoded"):
        extracted(tmp_path, kind="video", path=tmp_path / "a.mp4")
    assert not (tmp_path / "out" / "frames").exists()


def test_a_missing_video_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.mp4: no such video"):
        extracted(tmp_path, kind="video", path=tmp_path / "a.mp4")


def test_a_video_of_one_frame_is_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", frames=1)
    with pytest.raises(InputError, match=r"gives 1 frame\(s\)"):
        extracted(tmp_path, kind="video", path=path)


def test_a_start_beyond_the_end_is_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4")
    with pytest.raises(InputError, match=r"gives 0 frame\(s\) with first 50"):
        extracted(tmp_path, kind="video", path=path, first=50)


def test_a_folder_is_read_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    """Sorted as text, frame10 would come before frame9."""
    folder = write_pictures(tmp_path / "pictures", [f"frame{number}.png" for number in range(5, 12)])
    (folder / "notes.txt").write_text("no frame")
    images, frames = extracted(tmp_path, kind="frames", path=folder)
    assert frames.names[-3:] == ("frame9.png", "frame10.png", "frame11.png")
    assert brightness(images) == [20 + 25 * frame for frame in range(7)]
    np.testing.assert_allclose(np.diff(frames.times_s), 1 / 30, atol=1e-5)
    assert "nominal" in frames.clock


def test_frames_of_mixed_sizes_are_refused_by_name(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures", ["a0.png", "a1.png", "a2.png"])
    Image.fromarray(picture(0)[:40]).save(folder / "a1.png")
    with pytest.raises(InputError, match=r"frame a1\.png has 64 x 40 pixels, but those before have 64 x 48"):
        extracted(tmp_path, kind="frames", path=folder)
    assert not (tmp_path / "out" / "frames").exists()


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    with pytest.raises(InputError, match="holds no pictures"):
        extracted(tmp_path, kind="frames", path=tmp_path / "pictures")


def test_large_frames_are_made_smaller_and_their_camera_with_them(tmp_path: Path) -> None:
    folder = SequenceWriter(tmp_path / "HO3D_v3").write()
    images, frames = extracted(tmp_path, kind="ho3d", path=folder, longest_side_px=32)
    assert images[0].shape == (24, 32, 3)
    assert frames.names == ("0000.jpg", "0001.jpg", "0002.jpg", "0003.jpg")
    # A point at the picture's corner (-0.5, -0.5) stays there: its ray is the same in both cameras.
    corner = np.array([-0.5, -0.5, 1.0])
    assert frames.intrinsics is not None
    np.testing.assert_allclose(np.linalg.inv(frames.intrinsics) @ corner, np.linalg.inv(CAMERA) @ corner, atol=1e-12)
    assert frames.intrinsics[0, 0] == CAMERA[0, 0] / 2


def test_a_build_folder_gives_its_pictures_original_names(tmp_path: Path) -> None:
    build = tmp_path / "build"
    write_pictures(build / "image", [f"{frame:04d}.png" for frame in range(4)])
    (build / "corres.txt").write_text("".join(f"{2 * frame:04d}.jpg\n" for frame in range(4)))
    _, frames = extracted(tmp_path, kind="build", path=build, longest_side_px=32)
    assert frames.names == ("0000.jpg", "0002.jpg", "0004.jpg", "0006.jpg")
    assert (frames.width_px, frames.height_px) == (WIDTH, HEIGHT)  # its cameras belong to its pictures
    (build / "corres.txt").write_text("0000.jpg\n")
    with pytest.raises(InputError, match="names 1 frames, but 4 pictures"):
        extracted(tmp_path, kind="build", path=build)


@pytest.mark.parametrize("kind", ["video", "frames"])
def test_the_users_own_camera_is_taken_and_made_smaller_with_the_frames(tmp_path: Path, kind: str) -> None:
    """Protects a calibrated user from an estimated focal length; other kinds bring their own camera."""
    path = tmp_path / "source.mp4"
    if kind == "video":
        write_video(path)
    else:
        write_pictures(path, ["1.png", "2.png"])
    camera = (100.0, 90.0, 31.5, 23.5)
    _, frames = extracted(tmp_path, kind=kind, path=path, longest_side_px=32, camera_px=camera)
    assert frames.intrinsics is not None
    np.testing.assert_allclose(frames.intrinsics, [[50, 0, 15.5], [0, 45, 11.5], [0, 0, 1]], atol=1e-9)
    assert extracted(tmp_path / "without", kind=kind, path=path)[1].intrinsics is None
    with pytest.raises(ValueError, match="camera_px: is set, but a sequence of kind ho3d brings its own"):
        FrameSettings(kind="ho3d", camera_px=camera)


def test_a_build_folder_is_taken_whole() -> None:
    """Training reads all of the folder: a choice of frames would be heeded by some stages only."""
    with pytest.raises(ValueError, match="first: is set, but a build folder.*every: is set"):
        FrameSettings(kind="build", first=1, every=2)
