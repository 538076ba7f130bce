"""Running a model on partly covered images, shared by the experiments with occlusion.

A batch of covered images lies in one buffer: the patch is written, the model runs, and the patch's pixels are restored.
The requested layers are read in the same run, by the names that a recorded run gives them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from deconvviz.arguments import check_counts, described, listed, whole
from deconvviz.errors import InputError
from deconvviz.io.restoring import Restored
from deconvviz.net import DeconvNet
from deconvviz.projection.receptive_field import channel_axis
from deconvviz.recording.isolation import as_it_was
from deconvviz.recording.observer import Observer

PatchBox = tuple[int, int, int, int]  # top, left, and one past the bottom and the right
NO_PATCH: PatchBox = (0, 0, 0, 0)
Job = tuple[int, PatchBox]  # an image's number, and what of it is covered
Seen = Callable[[str, slice, Tensor], None]  # a layer's name, which jobs, and its maps (jobs, channels, ...)


def pixels(size: Any, what: str) -> tuple[int, int]:
    """Height and width from one integer or two. Raises InputError for anything else, or numbers below 1."""
    both = tuple(map(whole, listed(size) or [size] * 2))
    if len(both) != 2 or both[0] is None or both[1] is None or min(both[0], both[1]) < 1:
        raise InputError(f"the {what} is one integer of 1 or more, or two (height, width), not {described(size)}")
    return both[0], both[1]


class Occluder:
    """Runs a model on partly covered images.

    Args:
        net: The network.
        x: (N, C, H, W), the images.
        layers: The layers to read.
        colours: The colours of the patch, from `deconvviz.projection.fill.fill_of`.

    Raises:
        UnknownLayerError: If a layer does not exist.
        InputError: If a layer mixes samples.
    """

    def __init__(self, net: DeconvNet, x: Tensor, layers: Collection[str], colours: Tensor, batch_size: int) -> None:
        check_counts(batch_size=batch_size)
        batch_size = min(batch_size, 2**16)  # the buffer has so many rows
        self.model, self.x, self.colours, self.batch_size = net.model, x, colours.expand_as(x), batch_size
        trace = net.trace(x[:1].expand(1 + (batch_size > 1), *x.shape[1:]), list(layers))
        self.axes = {}
        for name in layers:
            value = trace.layer(name).value
            if trace.tape.samples > 1 and value.id not in trace.apart:
                raise InputError(f"layer {name!r} mixes the samples of a batch; give batch_size=1")
            self.axes[name] = channel_axis(trace.tape, value)
        channels_last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
        self.buffer = x.new_empty((batch_size, *x.shape[1:])).contiguous(
            memory_format=torch.channels_last if channels_last else torch.contiguous_format
        )
        self.owners = [-1] * batch_size  # whose pixels lie in each row of the buffer

    def whole(self) -> dict[str, Tensor]:
        """The layers' maps on the images as they are, (N, channels, ...)."""
        batches: dict[str, list[Tensor]] = {name: [] for name in self.axes}
        self.sweep(
            [(n, NO_PATCH) for n in range(len(self.x))], lambda name, _, maps: batches[name].append(maps.clone())
        )
        return {name: torch.cat(parts) for name, parts in batches.items()}

    def sweep(self, jobs: Sequence[Job], seen: Seen, done: Callable[[int], Any] = lambda count: None) -> None:
        """Run all jobs in batches. `seen` gets each layer's maps as it runs, `done` the number of finished jobs."""
        with Restored(as_it_was(self.model), torch.inference_mode(False), torch.no_grad()):
            for start in range(0, len(jobs), self.batch_size):
                batch = jobs[start : start + self.batch_size]
                shown, rows = self.buffer[: len(batch)], slice(start, start + len(batch))
                self._cover(batch)
                version = self.buffer._version
                reader = _Reader(self.model, self.axes, rows, seen)
                with Restored(reader.observing()):
                    self.model(shown)
                if missing := self.axes.keys() - reader.found:
                    raise InputError(f"layer {min(missing)!r} does not run on every covered image; choose another")
                if self.buffer._version == version:
                    self._uncover(batch)
                else:  # the model writes into its input
                    self.owners = [-1] * len(self.owners)
                done(len(batch))

    def _cover(self, batch: Sequence[Job]) -> None:
        for row, (image, (top, left, bottom, right)) in enumerate(batch):
            if self.owners[row] != image:
                self.buffer[row] = self.x[image]
                self.owners[row] = image
            self.buffer[row, :, top:bottom, left:right] = self.colours[image, :, top:bottom, left:right]

    def _uncover(self, batch: Sequence[Job]) -> None:
        for row, (image, (top, left, bottom, right)) in enumerate(batch):
            self.buffer[row, :, top:bottom, left:right] = self.x[image, :, top:bottom, left:right]


class _Reader(Observer):
    """Hands what layers return to `seen`, as they return it."""

    def __init__(self, model: nn.Module, axes: dict[str, int], rows: slice, seen: Seen) -> None:
        super().__init__(model, None)
        self.axes, self.rows, self.hand, self.found = axes, rows, seen, set[str]()

    def layer_returned(self, name: str, kind: str, tensor: Tensor) -> bool:
        if name in self.axes:
            self.found.add(name)
            self.hand(name, self.rows, _by_channel(tensor, self.rows.stop - self.rows.start, self.axes[name]))
        return True


def _by_channel(tensor: Tensor, samples: int, axis: int) -> Tensor:
    """(samples, channels, ...) of a layer whose channels lie along `axis`; rows of a sample become a position."""
    maps: Tensor = tensor.unflatten(0, (samples, -1)).movedim(axis + 1, 1)
    return maps.squeeze(2) if maps.shape[2] == 1 else maps
