"""Networks of other inputs than batches of pictures (N, C, H, W), and such inputs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class OfSignals(nn.Sequential):
    """A network of signals (N, 2, 40)."""

    def __init__(self, channels: int = 2) -> None:
        super().__init__(nn.Conv1d(channels, 4, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(4, 3, 3))


class OfVolumes(nn.Sequential):
    """A network of volumes (N, 1, 12, 14, 16)."""

    def __init__(self) -> None:
        super().__init__(nn.Conv3d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool3d(2), nn.Conv3d(4, 3, 3))


class OfPictures(nn.Module):
    """A network of pictures (N, 3, H, W)."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(channels, 4, 3), nn.Conv2d(4, 5, 3)

    def forward(self, x: Tensor) -> Any:
        return self.second(self.first(x).relu())


class ChannelsLast(nn.Module):
    """A network of pictures (N, H, W, 3)."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Any:
        return self.inner(x.permute(0, 3, 1, 2))


class OfLists(nn.Module):
    """A network of a list of pictures (C, H, W) of any sizes, as detectors take them."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.inner = OfPictures(channels)

    def forward(self, pictures: list[Tensor]) -> Any:
        height, width = (max(picture.shape[axis] for picture in pictures) for axis in (1, 2))
        padded = [nn.functional.pad(one, (0, width - one.shape[2], 0, height - one.shape[1])) for one in pictures]
        return self.inner(torch.stack(padded))


class OfPairs(nn.Module):
    """A network of two pictures, which sees more of the second one, and of a number."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.both = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 7, padding=2), nn.Conv2d(8, 5, 1)

    def forward(self, left: Tensor, right: Tensor, age: Tensor) -> Any:
        seen = torch.cat([self.left(left), self.right(right)], 1)
        return self.both(seen) + age.view(-1, 1, 1, 1)


class OfSeriesAndPicture(nn.Module):
    """A network of a signal and a picture."""

    def __init__(self) -> None:
        super().__init__()
        self.line, self.picture = nn.Conv1d(1, 4, 5), nn.Conv2d(3, 4, 3)

    def forward(self, line: Tensor, picture: Tensor) -> Any:
        return self.line(line).amax(2) + self.picture(picture).amax((2, 3))


class OfVideos(nn.Module):
    """A network of frames (N, T, 3, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.frame, self.time = nn.Conv2d(3, 4, 3), nn.Conv1d(4, 5, 2)

    def forward(self, x: Tensor) -> Any:
        each = self.frame(x.flatten(0, 1)).relu().mean((2, 3))
        return self.time(each.unflatten(0, x.shape[:2]).transpose(1, 2))


def cases() -> dict[str, tuple[nn.Module, Any, str]]:
    """By kind of input a network, inputs and a layer."""
    torch.manual_seed(0)
    return {
        "signals": (OfSignals(), torch.rand(2, 2, 40), "3"),
        "signals of many channels": (OfSignals(20), torch.rand(2, 20, 40), "3"),
        "volumes": (OfVolumes(), torch.rand(2, 1, 12, 14, 16), "3"),
        "pictures, channels last": (ChannelsLast(OfPictures()), torch.rand(2, 20, 24, 3), "inner.second"),
        "a list of pictures": (OfLists(), ([torch.rand(3, 20, 24), torch.rand(3, 16, 18)],), "inner.second"),
        "a list of grey pictures": (OfLists(1), ([torch.rand(1, 20, 24), torch.rand(1, 16, 18)],), "inner.second"),
        "two pictures and a number": (
            OfPairs(),
            (torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16), torch.rand(2)),
            "both",
        ),
        "a signal and a picture": (OfSeriesAndPicture(), (torch.rand(2, 1, 30), torch.rand(2, 3, 9, 9)), "output"),
        "videos": (OfVideos(), torch.rand(2, 6, 3, 16, 16), "time"),
        "numbers": (nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 3)), torch.rand(2, 7), "0"),
    }
