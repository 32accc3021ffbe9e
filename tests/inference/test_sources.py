from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fcos_lightning.inference.sources import IMAGE_ENDINGS, find_source
from fcos_lightning.inference.videos.video import VideoFile


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Smooth noise, which JPEG and H.264 keep almost as it is."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def save(path: Path, height: int, width: int, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(height, width, seed)).save(path)
    return path


def clip(path: Path, frames: int = 10, codec: str = "ffv1") -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(30000, 1001))
        stream.width, stream.height = 51, 37
        stream.pix_fmt = "bgr0" if codec == "ffv1" else "rgb24"
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(37, 51, index), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("turn", [90, -90, 180])
def test_videos_are_turned_as_their_camera_says(tmp_path: Path, turn: int) -> None:
    marked = np.zeros((32, 48, 3), dtype=np.uint8)
    marked[:16, :24] = (250, 20, 20)
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        stream.set_display_rotation(turn)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(marked, format="rgb24")))
        container.mux(stream.encode())
    (picture,) = VideoFile.open(tmp_path / "a.mp4").pictures()
    # An angle counts against the clock, as np.rot90 does.
    upright = np.rot90(marked, turn // 90)
    assert picture.pixels.shape == upright.shape
    assert np.abs(picture.pixels.astype(int) - upright).mean() < 12


def test_frames_that_vanish_are_named(tmp_path: Path) -> None:
    whole = VideoFile.open(clip(tmp_path / "a.avi"))
    assert whole.frames == 10
    assert len(list(whole.pictures())) == 10 and whole.unreadable == []
    longer = replace(whole, frames=12)
    assert len(list(longer.pictures())) == 10
    assert longer.unreadable == [f"video {tmp_path / 'a.avi'}: 2 of its 12 frames"]


def test_globs_keep_sub_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b/x.jpg", "a/x.jpg", "a/deep/er/y.PNG", "a/z.txt", "[c]/x.jpg"):
        save(tmp_path / "in" / name, 8, 8) if "txt" not in name else (
            tmp_path / "in" / name
        ).touch()
    monkeypatch.chdir(tmp_path)

    def names(source: str) -> list[str]:
        found = find_source(source)
        assert not isinstance(found, VideoFile)
        assert all(path.is_file() for path in found.paths)
        return found.names

    everything = ["[c]/x.jpg", "a/deep/er/y.PNG", "a/x.jpg", "b/x.jpg"]
    assert names("in") == names("in/**") == names(f"{tmp_path}/in/**/*") == everything
    assert names("in/?/x.jpg") == ["a/x.jpg", "b/x.jpg"]
    assert names("in/a/**/*.PNG") == ["deep/er/y.PNG"]
    assert names("in/[c]") == ["x.jpg"]  # a folder of this name comes before its reading as a glob
    # Out of the sub-folder again: no name leads out of the results, and none comes twice.
    assert names("in/a/../*/x.jpg") == ["[c]/x.jpg", "a/x.jpg", "b/x.jpg"]
    assert names("in/a/*/../../*/x.jpg") == ["[c]/x.jpg", "a/x.jpg", "b/x.jpg"]
    monkeypatch.setenv("HOME", str(tmp_path))
    assert names("~/in/b") == ["x.jpg"]


def test_image_endings_are_of_formats_that_are_read() -> None:
    from fcos_lightning.data.images.opened import _FORMATS

    Image.init()
    registered = Image.registered_extensions()
    assert all(registered.get(ending, "AVIF") in _FORMATS for ending in IMAGE_ENDINGS)
