"""The frames of a video file or a stream, turned as their camera says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from fcos_lightning.data.stores.addresses import clean
from fcos_lightning.errors import UserError
from fcos_lightning.extras import pip_install
from fcos_lightning.inference.pictures.picture import Picture

VIDEO_ENDINGS = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp"),
    *(".ts", ".mts", ".m2ts", ".ogv"),
)

#: How the addresses of streams begin.
STREAMS = ("rtsp", "rtsps", "rtmp", "http", "https", "udp", "srt")
_PATIENCE_S = 10.0


@dataclass
class VideoFile:
    """A video whose first video stream is read frame by frame.

    Attributes:
        path: where it is; of a stream, the name that its results get.
        rate: frames per second, on average.
        frames: their number as the file states it, or None where it does not.
        unreadable: one message for each damaged part that was passed over.
        address: of a stream; None: it is a file.
        most: read no more frames than this; None: all, as long as they come.
    """

    path: Path
    rate: Fraction
    frames: int | None
    unreadable: list[str] = field(default_factory=list)
    address: str | None = None
    most: int | None = None

    @classmethod
    def stream(cls, address: str) -> VideoFile:
        """Ask a camera or server what it sends.

        Args:
            address: with one of ``STREAMS``; a user and a password in it are not repeated.

        Raises:
            UserError: if nothing answers within ten seconds, or PyAV is not installed.
        """
        name = PurePosixPath(urlsplit(address).path).name
        return cls.open(Path(name if Path(name).suffix else f"{name or 'stream'}.mp4"), address)

    @classmethod
    def open(cls, path: Path, address: str | None = None) -> VideoFile:
        """Read the header of a video.

        Raises:
            UserError: if it is no video, or PyAV is not installed.
        """
        av = import_av()
        what = path if address is None else clean(address)
        try:
            with _opened_video(av, address or str(path), address is not None) as container:
                if not container.streams.video:
                    raise UserError(f"video {what} holds no pictures, only sound")
                stream = container.streams.video[0]
                rate = stream.average_rate or stream.guessed_rate or Fraction(25)
                return cls(path, Fraction(rate), stream.frames or None, address=address)
        except av.FFmpegError as error:
            raise UserError(f"video {what} cannot be read: {error.strerror}") from None

    def pictures(self) -> Iterator[Picture]:
        """Decode one frame after the other; damaged parts are passed over, and named."""
        av = import_av()
        frame = 0
        is_stream = self.address is not None
        with _opened_video(av, self.address or str(self.path), is_stream) as container:
            stream = container.streams.video[0]
            # Several frames at a time would be faster, but swallow errors near the end.
            stream.thread_type = "SLICE"
            packets = container.demux(stream)
            while True:
                try:
                    packet = next(packets, None)
                    if packet is None:
                        break
                    decoded = packet.decode()
                except av.FFmpegError as error:
                    self.unreadable.append(
                        f"video {self.path} is damaged after frame {frame}: {error.strerror}"
                    )
                    continue
                for image in decoded:
                    pixels = image.to_ndarray(format="rgb24")
                    quarter_turns = round(image.rotation / 90)  # counter-clockwise
                    if quarter_turns % 4:
                        pixels = np.ascontiguousarray(np.rot90(pixels, quarter_turns))
                    yield Picture(frame + 1, self.path.name, pixels, frame)
                    frame += 1
                    if frame == self.most:
                        return
        # Decoders pass over much of what is damaged without a word.
        if self.frames and frame < self.frames:
            self.unreadable.append(
                f"video {self.path}: {self.frames - frame} of its {self.frames} frames"
            )


def _opened_video(av: Any, where: str, is_stream: bool) -> Any:  # noqa: ANN401  # PyAV's own
    """Open a video; of a stream, nobody waits longer than ten seconds for the next packet."""
    if not is_stream:
        return av.open(where)
    return av.open(where, timeout=(_PATIENCE_S, _PATIENCE_S))


def import_av() -> ModuleType:
    """Return PyAV.

    Raises:
        UserError: saying how to install it.
    """
    try:
        import av
    except ImportError:
        raise UserError(
            f"videos need PyAV, which is not installed: {pip_install('video')}"
        ) from None
    av.logging.set_level(av.logging.PANIC)  # what matters of FFmpeg's own lines, errors tell
    return av
