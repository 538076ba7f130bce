"""The registry: one record for each operation, with everything the library knows about it.

The record (`OperationRule`) answers four questions. Its fields are filled by decorators, in one file per kind of
operation:

=============  =======================================================================================
`mirror`       how a signal passes backwards, in each style, and which recorded numbers that reads
`window`       which positions of the input a window at the output sees
`crop`         how the operation runs on crops of a map
`channels`     along which axis the channels of its output lie
=============  =======================================================================================

A field that is not filled has a default: the operation is linearised, sees everything, and runs on whole maps only. A
pointwise operator of torch is known to see the same positions and to run on crops. Users meet the registry as
`deconvviz.rules`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import nn

from deconvviz.errors import RuleError, did_you_mean
from deconvviz.operations import windows
from deconvviz.operations.conditions import always, batchwise_by_schema, never
from deconvviz.operations.regions import NotLocal, Region, Starts
from deconvviz.operations.step import Signals
from deconvviz.operations.styles import STYLES, Style
from deconvviz.operations.vector_jacobian import PER_CHANNEL, linearised
from deconvviz.operations.windows import Evenness, WindowRule
from deconvviz.recording.tape import NOTHING_KEPT, Kept, Operation, Value, name_of

if TYPE_CHECKING:
    from deconvviz.projection.crops import Crops

F = TypeVar("F", bound=Callable[..., Any])


class Mirror(NamedTuple):
    """A registered way back: see `mirror` for the fields."""

    function: Callable[..., Signals]
    when: tuple[str, str] | None
    applies: Callable[[Operation], bool]
    keeps: Callable[[Operation], Kept]
    batchwise: Callable[[Operation, int], bool]
    own: bool = False
    local: bool = False
    listed: bool = False  # among a result's linearised operations

    @property
    def is_ours(self) -> bool:
        """Whether the rule comes with the library. Others see half precision as it was recorded."""
        return self.function.__module__.startswith("deconvviz.")


class CropRule(NamedTuple):
    """How an operation runs on crops.

    Attributes:
        run: Appends to a tape of crops what makes a region of the operation's output.
        applies: Whether the operation is local as it was recorded. Elsewhere whole maps are used.
        phase: From (operation, region, region of the input): where the region starts in what is made from the region of
            the input. Not zero for operations that enlarge a map.
    """

    run: Callable[[Crops, Operation, Region], Value]
    applies: Callable[[Operation], bool]
    phase: Callable[[Operation, Region, Region], Starts]


class ChannelRule(NamedTuple):
    """Along which axis of an operation's output the channels lie.

    Attributes:
        axis: The axis, negative from the end, if the operation itself tells, as a convolution does.
        moved: Else from (operation, the value it made, the channel axis of its input) to that value's channel axis.
    """

    axis: int | None
    moved: Callable[[Operation, Value, int], int] | None


@dataclass(frozen=True)
class OperationRule:
    """What the library knows about one operation. A field that is None has a default; see the module's docstring."""

    mirrors: tuple[Mirror, ...] = ()
    window: WindowRule | None = None
    crop: CropRule | None = None
    channels: ChannelRule | None = None


_RULES: dict[Any, OperationRule] = {}
POINTWISE = "pointwise"  # the key of what holds for all pointwise operators of torch


def _change(operation: Any, **fields: Any) -> None:
    _RULES[operation] = replace(_RULES.get(operation, OperationRule()), **fields)


def _lookup_keys(operation: Operation) -> tuple[Any, ...]:
    """Where to look an operation up: by its overload, then by its operator; a module by its classes."""
    func = operation.func
    return type(func).__mro__ if isinstance(func, nn.Module) else (func, getattr(func, "overloadpacket", None))


def is_pointwise(operation: Operation) -> bool:
    """Whether torch says that an operator is pointwise."""
    func = operation.func
    return isinstance(func, torch._ops.OpOverload) and _has_pointwise_tag(func)


@functools.cache
def _has_pointwise_tag(func: torch._ops.OpOverload) -> bool:
    return torch.Tag.pointwise in func.tags


def _argument_of(operation: Operation, name: str) -> Any:
    for key in _lookup_keys(operation):
        if (record := _RULES.get(key)) is not None and (value := getattr(record, name)) is not None:
            return value
    return getattr(_RULES[POINTWISE], name) if is_pointwise(operation) else None


# Which recorded numbers a rule reads


def no_numbers(operation: Operation) -> Kept:
    """The rule reads no recorded numbers (constants are always there)."""
    return NOTHING_KEPT


def all_inputs(operation: Operation) -> Kept:
    """The rule reads the numbers of every input."""
    return Kept(operation.inputs)


def masks_and_indices(operation: Operation) -> Kept:
    """The rule reads those inputs that are integer or boolean."""
    return Kept(value for value in operation.inputs if not value.carries_signal)


def outputs(*positions: int) -> Callable[[Operation], Kept]:
    """The rule reads these outputs."""
    return lambda operation: Kept((), positions)


# The way back


def mirror(
    *operations: Any,
    when: tuple[str, str] | None = None,
    applies: Callable[[Operation], bool] = always,
    keeps: Callable[[Operation], Kept] = no_numbers,
    batchwise: Callable[[Operation, int], bool] | bool | None = None,
    own: bool = False,
    local: bool = False,
) -> Callable[[F], F]:
    """Register the decorated function as the mirror of `operations`.

    Args:
        operations: ATen or custom operators (``torch.ops.aten.relu``, all overloads; or one overload), Python
            functions that torch can intercept (``torch.nn.functional.normalize``) and module classes. A function
            or a module with a rule is recorded as one operation, whatever runs inside.
        when: A (family, choice) pair: the rule serves styles that make this choice.
        applies: Whether the rule is right for an operation as it was recorded. If not, the operation is linearised.
        keeps: Which recorded numbers the rule reads: `no_numbers`, `all_inputs`, `masks_and_indices`, `outputs`.
        batchwise: Whether each sample along axis 0 is treated alone, and all in the same way, so that the units of many
            samples can travel as one batch: yes, no, or a predicate of (operation, number of samples). None: yes for
            pointwise operators and for those of torch that are known to work along the axes they are given, unless
            axis 0 is among them. Yes is said of the rule, and does not hold where it does not apply; a predicate is
            asked there, too.
        own: Whether the returned signal lies in memory of its own (or in that of a signal that is `Step.writable`), so
            that the next rule may overwrite it.
        local: Whether the rule is right on a crop, too: at each position it reads only what lies in the window there.
            Without it, units behind the operation are projected on whole maps.

    Raises:
        RuleError: The operation already has a rule.

    Example:
        >>> def halved(op, signal):
        ...     return signal / 2
        >>> _ = mirror(torch.ops.aten.relu)(halved)
        Traceback (most recent call last):
        deconvviz.errors.RuleError: aten.relu already has a mirror (rectify)
    """
    promised = {True: always, False: never, None: batchwise_by_schema}
    decided = promised[batchwise] if batchwise is None or isinstance(batchwise, bool) else batchwise

    def register(function: F) -> F:
        for operation in operations:
            known = _RULES.get(operation, OperationRule()).mirrors
            for rule in known:
                if rule.when is None or when is None or rule.when[0] != when[0] or rule.when == when:
                    raise RuleError(f"{name_of(operation)} already has a mirror ({rule.function.__name__})")
            _change(operation, mirrors=(*known, Mirror(function, when, applies, keeps, decided, own, local)))
        return function

    return register


LINEARISED = Mirror(linearised, None, always, all_inputs, batchwise_by_schema, local=True, listed=True)


def rule_for(operation: Operation, style: Style) -> Mirror:
    """The mirror that serves an operation under a style; `LINEARISED` if there is none."""
    return _where_it_applies(_registered(operation, style), operation)


def rules_under(style: Style) -> Callable[[Operation], Mirror]:
    """As `rule_for`, for many operations under one style: an operator of torch is looked up once."""
    known: dict[Any, Mirror] = {}

    def rule(operation: Operation) -> Mirror:
        func = operation.func
        if not isinstance(func, torch._ops.OpOverload):
            return rule_for(operation, style)
        if (registered := known.get(func)) is None:
            registered = known[func] = _registered(operation, style)
        return _where_it_applies(registered, operation)

    return rule


def _registered(operation: Operation, style: Style) -> Mirror:
    """The mirror that is registered for an operation under a style, whether or not it applies."""
    for key in _lookup_keys(operation):
        if (record := _RULES.get(key)) is not None:
            for rule in record.mirrors:
                if rule.when is None or style.choices.get(rule.when[0]) == rule.when[1]:
                    return rule
    return LINEARISED


def _where_it_applies(rule: Mirror, operation: Operation) -> Mirror:
    if rule.applies is always or rule.applies(operation):
        return rule
    return LINEARISED._replace(batchwise=batchwise_by_schema if rule.batchwise is always else rule.batchwise)


def opaque() -> list[Any]:
    """The functions and module classes with a mirror: each is recorded as one operation."""
    ours = (str, torch._ops.OpOverload, torch._ops.OpOverloadPacket)
    return [key for key, record in _RULES.items() if record.mirrors and not isinstance(key, ours)]


def style_of(style: str | Style) -> Style:
    """The style of that name, or the style given, with its choices checked against the registered mirrors."""
    if isinstance(style, str):
        if style not in STYLES:
            known = ", ".join(map(repr, STYLES))
            raise RuleError(f"there is no style {style!r}; the styles are {known}{did_you_mean(style, STYLES)}")
        return STYLES[style]
    if not isinstance(style, Style):
        raise RuleError(f"a style is a name or a deconvviz.Style, not {type(style).__name__}")
    families: dict[str, set[str]] = {}
    for record in _RULES.values():
        for rule in record.mirrors:
            if rule.when:
                families.setdefault(rule.when[0], set()).add(rule.when[1])
    for family, known_choices in families.items():
        choice = style.choices.get(family)
        if choice not in known_choices:
            known = ", ".join(map(repr, sorted(known_choices)))
            raise RuleError(f"style {style.name!r} chooses {choice!r} for {family}; the choices are {known}")
    if unknown := set(style.choices) - set(families):
        raise RuleError(f"style {style.name!r} names the family {min(unknown)!r}; they are {sorted(families)}")
    return style


# Windows


def window(*operations: Any, even: Evenness | bool = True) -> Callable[[F], F]:
    """Register the decorated function as the way in which windows pass backwards through `operations`.

    Args:
        operations: As for `mirror`.
        even: Whether a window that moves moves in the input by equal steps: yes, no, or a predicate; see `WindowRule`.
    """
    promised = {True: windows.always_even, False: windows.never_even}
    is_even = promised[even] if isinstance(even, bool) else even

    def register(function: F) -> F:
        for operation in operations:
            _change(operation, window=WindowRule(function, is_even))
        return function

    return register


_SEES_EVERYTHING = WindowRule(windows.everything, windows.always_even)


def window_for(operation: Operation, value: Value) -> WindowRule:
    """How windows pass through an operation to one of its inputs. A weight counts for all positions."""
    if not is_pointwise(operation) and any(operation[name] is value for name in PER_CHANNEL):
        return _SEES_EVERYTHING
    known: WindowRule = _argument_of(operation, "window") or _SEES_EVERYTHING
    return known


# Crops


def no_phase(operation: Operation, region: Region, needed: Region) -> Starts:
    return np.zeros_like(region.start)


def crop(
    *operations: Any,
    applies: Callable[[Operation], bool] = always,
    phase: Callable[[Operation, Region, Region], Starts] = no_phase,
) -> Callable[[F], F]:
    """Register the decorated function as the way in which `operations` run on crops; see `CropRule`."""

    def register(run: F) -> F:
        for operation in operations:
            _change(operation, crop=CropRule(run, applies, phase))
        return run

    return register


def crop_for(operation: Operation) -> CropRule:
    """How an operation runs on crops. Raises NotLocal if it cannot."""
    known: CropRule | None = _argument_of(operation, "crop")
    if known is None or not known.applies(operation):
        raise NotLocal(str(operation))
    return known


def region_needed(operation: Operation, value: Value, region: Region) -> Region:
    """The region of an input that is needed to make a region of the output. Raises NotLocal if there is none."""
    rule = window_for(operation, value)
    if rule.backward is windows.same and value.shape[2:] == operation.made.shape[2:]:
        return region
    rows = windows.everything_seen(len(region.start), len(region.size) + 2)
    rows[:, 2:, 0] = region.start
    rows[:, 2:, 1] = region.start + (np.array(region.size) - 1)
    seen = rule.backward(operation, value, operation.made, rows)[:, 2:]
    if not np.isfinite(seen).all():
        raise NotLocal(str(operation))
    first, last = seen.astype(np.int64).transpose(2, 0, 1)
    return Region(first, tuple(max(1, 1 + further) for further in (last - first).max(0).tolist()))


# Channels


def channels(*operations: Any, axis: int | Callable[[Operation, Value, int], int]) -> None:
    """Say along which axis of the output of `operations` the channels lie; see `ChannelRule`.

    An operation of which nothing is said leaves the axis of its first input, if the rank stays the same.
    """
    rule = ChannelRule(None, axis) if callable(axis) else ChannelRule(axis, None)
    for operation in operations:
        _change(operation, channels=rule)


def channels_for(operation: Operation) -> ChannelRule | None:
    """Where the channels of an operation's output lie; None if nothing is said of it."""
    known: ChannelRule | None = _argument_of(operation, "channels")
    return known
