"""A pretend accelerator: tensors that lie on the CPU, claim another device, and refuse what CUDA refuses.

>>> with pretending("cuda") as device:
...     x = torch.ones(2, 3).to(device.name)
...     with device.counted() as counts:
...         y = float((x[:, 1:] * 2).sum())
...     print(x.device, y, counts.launches, counts.host_reads)
cuda:0 8.0 2 1

How it works: a tensor lies on the device if its storage has a mark. A dispatch mode below all others marks the results
of operations on marked tensors, runs all on the CPU, and raises as `device_rules` says if tensors on several devices
meet. What torch answers without dispatching (`Tensor.device`, `to`, `numpy`, `pin_memory`, ...) is patched.

What is counted, while `counted` is open (see `Counts`):

- a *launch* is one dispatched ATen operation that reads or writes a tensor on the device. Views, `detach` and
  allocations are no launches. An operation counts once, however many kernels it has on a real card, and operations
  that the CPU dispatches as one may be several on a card, and the other way round;
- a *host read* is whatever makes the host wait for the device: copies to the CPU, `item`, `bool`, `tolist`, `nonzero`,
  indexing by a boolean mask, `unique`, `torch.equal`, `repeat_interleave` with counts on the device, `synchronize`;
- an *upload* is a copy from the CPU to the device: `to`, `copy_`, `torch.tensor(..., device=...)`, and each CPU index
  tensor that indexes a tensor on the device.

`torch.cuda.max_memory_allocated` and its like answer from the tensors that lie there (see `device_memory`).

Limits:

- The kernels are the CPU's: layout, rounding, dtypes and which operations exist are not those of a card. Operations
  that torch picks for CUDA alone (cuDNN's batch norm and recurrences, fused attention) do not appear.
- Only the thread that opened it dispatches through the mode. Other threads may make CPU tensors, and nothing else.
- The device has no random generator of its own: it draws from the CPU's, which `torch.cuda.get_rng_state` returns.
- Nothing is asynchronous: streams and events exist, and order nothing.
- Storages (`untyped_storage().device`) tell the truth, and so do tensors inside `torch.vmap`. Pickling forgets the
  mark. The gradient of a CPU tensor that a model copies to the device claims to lie there.
- A machine with a real accelerator skips the test: there the tests marked `cuda` run.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
import threading
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils.dlpack import from_dlpack

from tests.helpers import device_module
from tests.helpers import device_rules as rules
from tests.helpers.device_counts import Counts
from tests.helpers.device_memory import Memory

CPU = torch.device("cpu")
DOUBLE = (torch.float64, torch.complex128)  # which mps does not have
_REAL = Tensor.device.__get__
_ORIGINAL = {name: getattr(Tensor, name) for name in ("to", "numpy", "tolist", "pin_memory", "new_tensor", "is_pinned")}


def _storage(tensor: Tensor) -> Any:
    try:
        with torch._C.DisableTorchFunction():
            return tensor.untyped_storage()
    except (NotImplementedError, RuntimeError):  # sparse, nested, or wrapped by functorch
        return None


def device_of(tensor: Tensor) -> torch.device:
    """The device that a tensor claims to lie on."""
    with torch._C.DisableTorchFunction():
        real = _REAL(tensor)
    return getattr(_storage(tensor), "pretended", real) if real.type == "cpu" else real


def _lies_on(tensor: Tensor) -> str:
    return str(device_of(tensor))


def _mark(tensor: Tensor, device: torch.device, memory: Memory | None = None) -> Tensor:
    """Let a tensor claim a device, and count its storage, which `memory` is None for if it has been counted."""
    storage = _storage(tensor)
    if storage is not None and device.type != "cpu" and storage.device.type == "cpu":
        if memory is not None and not hasattr(storage, "pretended"):
            memory.enter(storage)
        storage.pretended = device
    return tensor


class PretendDevice(TorchDispatchMode):
    """The dispatch mode below all others, and the counts."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device, self.name = device, str(device)
        self.counting: list[Counts] = []
        self.memory = Memory()
        self.moving = threading.local()

    @contextlib.contextmanager
    def counted(self) -> Iterator[Counts]:
        """Counts of what happens inside the block."""
        counts = Counts()
        self.counting.append(counts)
        try:
            yield counts
        finally:
            self.counting.remove(counts)

    def note(self, method: str, *given: Any) -> None:
        for counts in self.counting:
            getattr(counts, method)(*given)

    def asked(self, device: Any) -> torch.device:
        """A device as tensors on it name it: with an index."""
        device = torch.device(device)
        return torch.device(device.type, 0) if device.type == self.device.type and device.index is None else device

    def refuse_double(self, place: torch.device, result: Any) -> None:
        """Raise what MPS raises for types that it does not have."""
        if place.type == "mps" and any(one.dtype in DOUBLE for one in rules.tensors_of(result)):
            raise TypeError(
                "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64."
            )

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if torch.is_inference_mode_enabled() and rules.is_composite(func):  # torch leaves it whole in that mode alone
            with self:
                return func.decompose(*args, **kwargs)
        rules.check_meeting(func, args, kwargs, _lies_on)
        places = [device_of(tensor) for tensor in rules.tensors_of(args, kwargs)]
        there = next((place for place in places if place.type not in ("cpu", "meta")), None)
        target = self._target(func, args, kwargs, there)
        if kwargs.get("device") is not None and target.type != "meta":
            kwargs["device"] = CPU
        kwargs.pop("pin_memory", None)
        generator = kwargs.get("generator")
        if generator is not None and generator.device.type == "cpu" and target.type != "cpu":
            raise RuntimeError(f"Expected a '{target.type}' device type for generator but found 'cpu'")
        result = func(*args, **kwargs)
        self.refuse_double(target, result)
        if target.type not in ("cpu", "meta") and not rules.is_copy(func):
            for tensor in rules.tensors_of(result):
                _mark(tensor, target, self.memory)
        if rules.is_copy(func):
            self._copied(func, args, kwargs, result, target)
        elif there is not None or target.type not in ("cpu", "meta"):
            if there is not None and rules.is_read(func, args, kwargs, _lies_on):
                self.note("read", str(func))
            self.note("send", str(func), rules.uploads_in(func, args, _lies_on) if there is not None else 0)
            if rules.is_launch(func):
                self.note("launch", func, args, kwargs, result)
        return result

    def _target(self, func: Any, args: Any, kwargs: Any, there: torch.device | None) -> torch.device:
        """Where the result of an operation lies."""
        asked = kwargs.get("device")
        if asked is None:
            return there or CPU
        asked = self.asked(asked)
        # C++ fills in the device of a marked tensor, and takes it for the CPU; only `to` knows where it really goes.
        if func is rules.aten._to_copy.default and there is not None and asked.type == "cpu":
            return getattr(self.moving, "to", there)
        return asked

    def _copied(self, func: Any, args: Any, kwargs: Any, result: Any, target: torch.device) -> None:
        if func.overloadpacket is rules.aten._to_copy:
            source = device_of(args[0])
            _mark(result, target, self.memory)
        else:
            target, source = device_of(args[0]), device_of(args[1])
        if source.type == "cpu" and target.type != "cpu":
            self.note("send", str(func))
        elif source.type != "cpu" and target.type == "cpu":
            self.note("read", str(func))
        elif source.type != "cpu":
            self.note("launch", func, args, kwargs, result)

    def move(self, tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """`Tensor.to`, which C++ answers from the real device."""
        copy = kwargs.pop("copy", False)
        if len(args) == 4 or (len(args) == 3 and isinstance(args[0], torch.dtype)):
            *args, copy = args  # type: ignore[assignment]
        if "other" in kwargs:
            args = (kwargs.pop("other"), *args)
        if args and isinstance(args[0], Tensor):
            args = (device_of(args[0]), args[0].dtype, *args[1:])
        device, dtype, non_blocking, layout = torch._C._nn._parse_to(*args, **kwargs)
        source = device_of(tensor)
        target = source if device is None else self.asked(device)
        options = {"dtype": dtype or tensor.dtype, "non_blocking": non_blocking}
        if layout is not None:
            options["memory_format"] = layout
        if target == source:
            return _ORIGINAL["to"](tensor, copy=copy, **options)
        if target.type != "cpu":
            return _ORIGINAL["to"](tensor, device=target, copy=True, **options)
        self.moving.to = target
        try:
            return _ORIGINAL["to"](tensor, device=CPU, copy=True, **options)
        finally:
            del self.moving.to


def _methods(pretend: PretendDevice) -> dict[str, Any]:
    """Methods and properties of tensors that torch answers without dispatching."""
    kind = pretend.device.type

    def numpy(self: Tensor, *, force: bool = False) -> Any:
        if device_of(self).type != "cpu":
            if force:
                return self.detach().cpu().resolve_conj().resolve_neg().numpy()
            raise TypeError(
                f"can't convert {device_of(self)} device type tensor to numpy. "
                "Use Tensor.cpu() to copy the tensor to host memory first."
            )
        return _ORIGINAL["numpy"](self, force=force)

    def tolist(self: Tensor) -> Any:
        if device_of(self).type != "cpu":
            pretend.note("read", "tolist")
        return _ORIGINAL["tolist"](self)

    def pin_memory(self: Tensor, *args: Any) -> Tensor:
        if device_of(self).type != "cpu":
            raise RuntimeError(f"cannot pin 'torch.{kind}.FloatTensor' only dense CPU tensors can be pinned")
        pinned = self.clone()
        pinned.untyped_storage().pinned = True  # type: ignore[attr-defined]
        return pinned

    def new_tensor(self: Tensor, data: Any, **kwargs: Any) -> Tensor:
        place = pretend.asked(kwargs.pop("device", None) or device_of(self))
        made = _ORIGINAL["new_tensor"](self, data, **kwargs)
        if place.type != "cpu":
            pretend.note("send", "new_tensor")
        pretend.refuse_double(place, made)
        return _mark(made, place, pretend.memory)

    methods: dict[str, Any] = {
        "to": lambda self, *args, **kwargs: pretend.move(self, *args, **kwargs),
        "cpu": lambda self, *args, **kwargs: pretend.move(self, "cpu", **kwargs),
        kind: lambda self, device=None, non_blocking=False, **kwargs: pretend.move(
            self, kind if device is None else torch.device(kind, device) if isinstance(device, int) else device
        ),
        "type_as": lambda self, other: pretend.move(self, other),
        "get_device": lambda self: -1 if device_of(self).type == "cpu" else device_of(self).index,
        "record_stream": lambda self, stream: None,
        "is_pinned": lambda self, *args: getattr(self.untyped_storage(), "pinned", False),
        "device": property(device_of),
        "is_cpu": property(lambda self: device_of(self).type == "cpu"),
        f"is_{kind}": property(lambda self: device_of(self).type == kind),
        **{"numpy": numpy, "tolist": tolist, "pin_memory": pin_memory, "new_tensor": new_tensor},
    }
    if kind == "mps":
        del methods["mps"]
    return methods


def _functions(pretend: PretendDevice) -> Iterator[tuple[Any, str, Any]]:
    """What else is patched: module or class, name, replacement."""
    as_tensor, clone = torch.as_tensor, torch.UntypedStorage.clone

    def as_tensor_there(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
        if isinstance(data, Tensor):
            return pretend.move(data, device=device_of(data) if device is None else device, dtype=dtype or data.dtype)
        return made(as_tensor, data, dtype=dtype, device=device)

    def made(function: Any, data: Any, **kwargs: Any) -> Tensor:
        if kwargs.get("device") is None or pretend.asked(kwargs["device"]).type != pretend.device.type:
            return function(data, **kwargs)
        place = pretend.asked(kwargs.pop("device"))
        pretend.note("send", function.__name__)
        tensor = function(data, **kwargs)
        pretend.refuse_double(place, tensor)
        return _mark(tensor, place, pretend.memory)

    def cloned(self: Any) -> Any:
        if not hasattr(self, "pretended"):
            return clone(self)
        copy = type(self)(self.nbytes())
        copy.pretended = self.pretended
        return copy.copy_(self)

    def over_same_memory(tensor: Any) -> Tensor:
        place = device_of(tensor) if isinstance(tensor, Tensor) else CPU
        with mock.patch.object(Tensor, "device", property(_REAL)), mock.patch.object(Tensor, "is_cuda", False):
            return _mark(from_dlpack(tensor), place)

    @contextlib.contextmanager
    def without_other_modes() -> Iterator[None]:
        with _disable_current_modes(), pretend:
            yield

    yield torch, "as_tensor", as_tensor_there
    yield torch, "tensor", functools.partial(made, torch.tensor)
    yield torch, "asarray", functools.partial(made, torch.asarray)
    yield torch.UntypedStorage, "clone", cloned
    for name in ("deconvviz.net", "deconvviz.mining.scan"):  # they must be there before their functions are replaced
        importlib.import_module(name)
    replaced = {from_dlpack: over_same_memory, _disable_current_modes: without_other_modes}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "deconvviz":
            for key, value in list(vars(module).items()):
                if callable(value) and value in (from_dlpack, _disable_current_modes):
                    yield module, key, replaced[value]


@contextlib.contextmanager
def pretending(kind: str = "cuda") -> Iterator[PretendDevice]:
    """A context in which one pretend device exists: "cuda", "xpu" or "mps".

    Tensors get there by the usual ways (``.to("cuda")``, ``device="cuda:0"``, `Module.to`); after the block they are
    plain CPU tensors.
    """
    if torch.cuda.is_available() or torch.backends.mps.is_available():
        pytest.skip("a real accelerator is there")
    if kind == "cuda":
        torch._C._ensureCUDADeviceGuardSet()
    pretend = PretendDevice(torch.device(kind, 0))
    with contextlib.ExitStack() as stack:
        for name, method in _methods(pretend).items():
            stack.enter_context(mock.patch.object(Tensor, name, method))
        for module in (getattr(torch, kind), torch.accelerator):
            for name, function in device_module.functions(pretend).items():
                if hasattr(module, name):
                    stack.enter_context(mock.patch.object(module, name, function))
        for owner, name, function in _functions(pretend):
            stack.enter_context(mock.patch.object(owner, name, function))
        stack.enter_context(pretend)
        yield pretend
