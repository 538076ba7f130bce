"""How much is measured, on what, and in which arithmetic; and the goals that figures are held against."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import timing
from benchmarks.timing import Contender, Timing

Row = dict[str, Any]


@dataclass(frozen=True)
class Arithmetic:
    """The type of the numbers, how they lie in memory, and whether float32 products may be rounded to TF32."""

    name: str
    dtype: torch.dtype = torch.float32
    tf32: bool = False
    channels_last: bool = False

    def applied(self, item: Any) -> Any:
        """A model or images, converted."""
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        if isinstance(item, Tensor):
            return item.to(self.dtype).contiguous(memory_format=layout)
        model: nn.Module = item.to(self.dtype)
        return model.to(memory_format=layout)  # type: ignore[call-overload]

    @contextlib.contextmanager
    def switched(self) -> Iterator[None]:
        """A context in which CUDA's products are rounded as wanted."""
        before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = self.tf32
        try:
            yield
        finally:
            torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


FLOAT32 = Arithmetic("float32")
TF32 = Arithmetic("TF32", tf32=True)
TF32_LAST = Arithmetic("TF32, channels_last", tf32=True, channels_last=True)
BFLOAT16_LAST = Arithmetic("bfloat16, channels_last", torch.bfloat16, tf32=True, channels_last=True)


@dataclass(frozen=True)
class Run:
    """One run of the benchmarks.

    Attributes:
        device: "cuda", or "cpu" for a smoke test.
        smoke: Whether everything is small, to see that it runs.
        rounds: How often each contender is timed.
        failures: What failed in the part that runs.
    """

    device: str
    smoke: bool
    rounds: int
    failures: list[str] = field(default_factory=list)

    @property
    def side(self) -> int:
        """Of the images."""
        return 32 if self.smoke else 224

    def count(self, full: int, small: int = 4) -> int:
        """How many units or images: `full`, or `small` in a smoke test."""
        return small if self.smoke else full

    def images(self, count: int, seed: int = 1) -> Tensor:
        torch.manual_seed(seed)
        return torch.randn(count, 3, self.side, self.side, device=self.device)

    def measure(self, contenders: dict[str, Contender]) -> dict[str, Timing]:
        return timing.measure(contenders, self.rounds, self.device)

    def verdict(self, value: float, goal: float, at_most: bool = False) -> str:
        """Whether a goal is reached; figures of a smoke test say nothing."""
        return "" if self.smoke else timing.verdict(value, goal, at_most)

    def each(self, measure: Callable[..., Row | list[Row]], wanted: Iterable[Sequence[Any]]) -> list[Row]:
        """The rows of `measure`, called with this run and each of the arguments. One that fails costs no other."""
        rows: list[Row] = []
        for arguments in wanted:
            named = ", ".join(getattr(part, "name", str(part)) for part in arguments)
            found = self.tried(lambda arguments=arguments: measure(self, *arguments), named)  # type: ignore[misc]
            rows += found if isinstance(found, list) else [found] if found else []
        return rows

    def tried(self, call: Callable[[], Any], named: str) -> Any:
        """What a call returns; None if it fails, which is printed and noted."""
        try:
            return call()
        except Exception as error:  # what fails must not cost the other figures
            self.failures.append(f"{named}: {type(error).__name__}: {error}")
            print(f"\nFAILED: {self.failures[-1]}\n")
        finally:
            self.free()
        return None

    def free(self) -> None:
        """Return to the card what no tensor uses any more."""
        gc.collect()
        if self.device == "cuda":
            with contextlib.suppress(RuntimeError):  # of a card that has failed for good
                torch.cuda.empty_cache()


@dataclass(frozen=True)
class Goal:
    """A number that is wanted, and what it counts."""

    what: str
    limit: float
    at_most: bool

    def held_against(self, value: float) -> Row:
        """The goal, the value, and whether it is reached."""
        reached = value <= self.limit if self.at_most else value >= self.limit
        sign = "at most" if self.at_most else "at least"
        return {"what": self.what, "goal": f"{sign} {timing.number(self.limit)}", "measured": value, "reached": reached}


def at_most(what: str, limit: float, value: float) -> Row:
    return Goal(what, limit, at_most=True).held_against(value)


def at_least(what: str, limit: float, value: float) -> Row:
    return Goal(what, limit, at_most=False).held_against(value)
