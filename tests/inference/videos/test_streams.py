from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
import pytest

from fcos_lightning.errors import UserError
from fcos_lightning.inference.sources import find_source
from fcos_lightning.inference.videos.video import VideoFile

FRAMES = 12


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    with av.open(str(tmp_path / "street.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(FRAMES):
            grey = np.full((48, 64, 3), 10 + 15 * index, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(stream.encode())
    (tmp_path / "text.mp4").write_text("no video")
    handler = functools.partial(Quiet, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_stream_is_read_by_its_address(site: str) -> None:
    source = find_source(f"http://{site}/street.mp4?quality=high")
    assert isinstance(source, VideoFile) and source.rate == 25
    assert source.path == Path("street.mp4")  # the name of the drawn video
    frames = list(source.pictures())
    assert [picture.frame for picture in frames] == list(range(FRAMES))
    means = [picture.pixels.mean() for picture in frames]
    np.testing.assert_allclose(means, [10 + 15 * index for index in range(FRAMES)], atol=4)
    source.most = 5
    assert len(list(source.pictures())) == 5 and source.unreadable == []


def test_the_name_of_a_stream_without_one(site: str, tmp_path: Path) -> None:
    (tmp_path / "live").write_bytes((tmp_path / "street.mp4").read_bytes())
    source = find_source(f"http://{site}/live")
    assert isinstance(source, VideoFile) and source.path == Path("live.mp4")


@pytest.mark.parametrize("name", ["absent.mp4", "text.mp4"])
def test_what_sends_no_video_is_one_line_without_its_password(site: str, name: str) -> None:
    with pytest.raises(UserError, match=rf"video http://.*{name} cannot be read: ") as caught:
        find_source(f"http://me:secret@{site}/{name}")
    assert "secret" not in str(caught.value)


def test_other_addresses_are_no_streams() -> None:
    for address in ("ftp://host/a.mp4", "concat://a.mp4", "file:///etc/passwd"):
        with pytest.raises(UserError, match="no such file or folder"):
            find_source(address)
