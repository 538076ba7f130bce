"""Copying batches to the device on which a model runs, while it works on earlier ones."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from deconvviz.recording.placement import pins


class Sending:
    """Sends batches to a device.

    From the CPU to CUDA and XPU they go through pinned memory and on a stream of their own, so that neither the host
    nor the model waits. On the CPU, and on devices without streams, this is `Tensor.to`.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._module: Any = None
        self._stream: Any = None
        if pins(device):
            self._module = torch.get_device_module(device)
            self._stream = self._module.Stream(device)

    def __call__(self, images: Tensor) -> Tensor:
        """The images on the device."""
        if self._stream is None or images.device.type != "cpu":
            return images.to(self.device, non_blocking=True)
        pinned = images.pin_memory()
        with self._module.stream(self._stream):
            sent = pinned.to(self.device, non_blocking=True)
        current = self._module.current_stream(self.device)
        current.wait_stream(self._stream)
        sent.record_stream(current)  # its memory is not used again before the model has read it
        return sent
