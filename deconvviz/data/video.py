"""The frames of a video as a dataset; needs ``pip install av``."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from deconvviz.errors import DataError, DependencyError, ImageFileError, MissingFileError
from deconvviz.io.atomic import may_hang

# The container that is read for each ending, whatever a file may be: some kinds of files name others, or addresses.
CONTAINERS = {".mp4": "mov", ".mov": "mov", ".m4v": "mov", ".mkv": "matroska", ".webm": "matroska", ".avi": "avi"}
LARGEST_FRAME = 2**27  # pixels


class VideoFrames:
    """The frames of a video in the order in which they are shown; ``frames[i]`` is a PIL image.

    The times of the frames are read first, which decodes none of them. A frame that follows the last one read is
    decoded from there, any other one from the key frame before it.

    Attributes:
        names: The file and the time of each frame, in seconds.

    Raises:
        MissingFileError: If the file does not exist.
        DataError: If it is no video that can be read.
        DependencyError: If PyAV is not installed.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if not os.path.isfile(path) or may_hang(path):
            raise MissingFileError(f"there is no video {os.fspath(path)!r}")
        self.path = Path(path)
        self.name = self.path.name
        self._reader: _OpenVideo | None = None
        av = _av()
        try:
            with contextlib.closing(_OpenVideo(self.path)) as reader:
                self._times = reader.times()
                seconds = [float(time * reader.stream.time_base) for time in self._times]
        except (av.FFmpegError, IndexError, OSError, ValueError) as error:
            raise DataError(f"{os.fspath(path)!r} cannot be read as a video: {error}") from error
        if not self._times:
            raise DataError(f"{os.fspath(path)!r} holds no frames")
        self.names = [f"{self.name} {second:.3f} s" for second in seconds]

    def __len__(self) -> int:
        return len(self._times)

    def __getitem__(self, index: int) -> Image.Image:
        time = self._times[index]
        following = self._times[index - 1] if index > 0 else None
        if self._reader is None or self._reader.process != os.getpid() or self._reader.last != following:
            self._start(time)
        for again in (False, True):
            if again:
                self._start(None)
            for frame in self._read():
                if frame.pts == time:
                    image: Image.Image = frame.to_image()
                    return image
        raise ImageFileError(f"the frame at {self.names[index]} cannot be decoded")

    def _start(self, time: int | None) -> None:
        """Read on from the key frame before a time, or from the start."""
        if self._reader is not None:
            self._reader.close()
        self._reader = _OpenVideo(self.path, time)

    def _read(self) -> Iterator[Any]:
        reader = self._reader
        assert reader is not None
        for frame in reader.frames:
            reader.last = frame.pts
            yield frame

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_reader": None}

    def contents(self) -> Iterator[tuple[str, object]]:
        """What tells this dataset from others: its name and size, and the times of its frames."""
        yield self.name, self.path.stat().st_size
        yield from ((name, None) for name in self.names)


class _OpenVideo:
    """An open video.

    Attributes:
        process: The process that opened it: processes that load images must not share a file's position.
        stream: Its first video stream.
        frames: The frames that follow.
        last: The time of the last frame that was read.
    """

    def __init__(self, path: Path, time: int | None = None) -> None:
        self.process, self.last = os.getpid(), None
        self._file = open(path, "rb")  # noqa: SIM115  closed with the reader
        try:
            self._container = _av().open(self._file, format=CONTAINERS[path.suffix.lower()])
            self.stream = self._container.streams.video[0]
            if self.stream.codec_context.width * self.stream.codec_context.height > LARGEST_FRAME:
                raise ValueError(f"its frames have more than {LARGEST_FRAME} pixels")
            if time is not None:
                self._container.seek(time, stream=self.stream)
            self.frames = self._container.decode(self.stream)
        except BaseException:
            self._file.close()
            raise

    def times(self) -> list[int]:
        """The times of all frames, in units of the stream, sorted."""
        packets = self._container.demux(self.stream)
        return sorted({packet.pts for packet in packets if packet.pts is not None and packet.size})

    def close(self) -> None:
        self._container.close()
        self._file.close()

    def __del__(self) -> None:
        self._file.close()


def _av() -> Any:
    try:
        import av  # noqa: PLC0415  an extra
    except ImportError as error:
        raise DependencyError("PyAV is needed to read videos; pip install av") from error
    return av
