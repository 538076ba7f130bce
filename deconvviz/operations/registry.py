"""The registry of rules and the styles that choose among them. Users meet it as `deconvviz.rules`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from deconvviz.arguments import MAPPING, TEXT, checked_as
from deconvviz.errors import RuleError, did_you_mean
from deconvviz.recording.eval_mode import EvalMode
from deconvviz.recording.restoring import Restored
from deconvviz.recording.tape import Kept, Operation, Tape, Value, mapped, name_of

Signals = Tensor | Iterable[tuple[Any, Tensor]]
F = TypeVar("F", bound=Callable[..., Signals])


class Step:
    """A recorded operation, laid out for the units that travel through it.

    samples: for each unit the index of its sample, and the signal has the units' samples along axis 0; or
        None, and the signal has the recorded shape.
    writable: whether the arriving signals may be written over, being read nowhere else.
    spread: ids of values whose signals are known to fill most of the map; a rule may add those it met.
    taken: for an input, takes the signal that has arrived there so far, for a rule that adds to it and returns the
        sum; None where none has, or it is read elsewhere. Only for rules that are `own`.
    """

    def __init__(
        self,
        operation: Operation,
        tape: Tape,
        samples: Tensor | None,
        writable: bool = False,
        spread: set[int] | None = None,
        taken: Callable[[Value], Tensor | None] = lambda value: None,
    ) -> None:
        self.operation, self.tape, self.samples, self.writable = operation, tape, samples, writable
        self.spread = set() if spread is None else spread
        self.taken = taken

    def __getitem__(self, name: str) -> Any:
        return self.operation[name]

    @property
    def inputs(self) -> tuple[Value, ...]:
        return self.operation.inputs

    @property
    def made(self) -> Value:
        return self.operation.made

    def output(self, position: int) -> Value:
        value = self.operation.outputs[position]
        assert value is not None
        return value

    @property
    def outputs(self) -> tuple[Value | None, ...]:
        return self.operation.outputs

    def shape(self, value: Value) -> tuple[int, ...]:
        """The shape of a signal at `value`."""
        if self.samples is None:
            return value.shape
        return (value.shape[0] // self.tape.samples * len(self.samples), *value.shape[1:])

    def data(self, value: Value) -> Tensor:
        """The recorded numbers of `value`; what depends on the input is laid out like the signal."""
        numbers = self.tape.data[value.id]
        return self.rows(numbers) if value.tracked else numbers

    def rows(self, numbers: Tensor) -> Tensor:
        """Recorded samples along axis 0, as one entry per unit."""
        recorded = self.tape.samples
        if self.samples is None or (len(self.samples) == recorded and _is_range(self.samples)):
            return numbers
        apart: Tensor = numbers.unflatten(0, (recorded, -1))
        return apart.index_select(0, self.samples).flatten(0, 1)

    def operand(self, name: str, like: Value) -> Any:
        """An argument as a number or a tensor that broadcasts against signals at `like`."""
        value = self[name]
        if not isinstance(value, Value):
            return value
        numbers = self.tape.data[value.id]
        along_batch = len(value.shape) == len(like.shape) and value.shape[0] == like.shape[0]
        return self.rows(numbers) if value.tracked or along_batch else numbers

    def fitted(self, value: Any, signal: Tensor) -> tuple[Any, Tensor]:
        """The pair for an argument that was broadcast to the output: the signal summed to its shape."""
        if isinstance(value, Value) and value.carries_signal:
            signal = signal.sum_to_size(self.shape(value))
        return value, signal

    def typed(self, signal: Tensor, value: Value) -> Tensor:
        """A signal in the type of `value`: of a real number that was made complex, the real part."""
        if signal.dtype == value.dtype:
            return signal
        return (signal.real if signal.is_complex() and not value.dtype.is_complex else signal).to(value.dtype)


def _is_range(samples: Tensor) -> bool:
    return bool((samples == torch.arange(len(samples), device=samples.device)).all())


# Styles


@dataclass(frozen=True)
class Style:
    """A named choice per family of operations.

    >>> STYLES["deconvnet"].choices["rectifier"]
    'deconvnet'
    >>> STYLES["guided"].but(overlap="mean").name
    'guided, overlap=mean'
    """

    name: str
    choices: Mapping[str, str]

    def __post_init__(self) -> None:
        checked_as(TEXT, "the name of a style", self.name)
        checked_as(MAPPING, "choices", self.choices)
        object.__setattr__(self, "choices", MappingProxyType(dict(self.choices)))

    def __reduce__(self) -> tuple[Any, ...]:  # a mapping that cannot be written cannot be pickled
        return Style, (self.name, dict(self.choices))

    def but(self, **choices: str) -> Style:
        """This style with other choices for some families."""
        changed = ", ".join(f"{family}={choice}" for family, choice in choices.items())
        return Style(f"{self.name}, {changed}", {**self.choices, **choices})


STYLES: Mapping[str, Style] = MappingProxyType(
    {
        "deconvnet": Style("deconvnet", {"rectifier": "deconvnet", "lrn": "identity", "overlap": "sum"}),
        "guided": Style("guided", {"rectifier": "guided", "lrn": "identity", "overlap": "sum"}),
        "gradient": Style("gradient", {"rectifier": "gradient", "lrn": "gradient", "overlap": "sum"}),
    }
)


def style_of(style: str | Style) -> Style:
    """The style of that name, or the style given, its choices checked against the registered rules."""
    if isinstance(style, str):
        if style not in STYLES:
            known = ", ".join(map(repr, STYLES))
            raise RuleError(f"there is no style {style!r}; the styles are {known}{did_you_mean(style, STYLES)}")
        return STYLES[style]
    if not isinstance(style, Style):
        raise RuleError(f"a style is a name or a deconvviz.Style, not {type(style).__name__}")
    families: dict[str, set[str]] = {}
    for rules in _RULES.values():
        for rule in rules:
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


# The registry


class Rule(NamedTuple):
    """A registered mirror: see `mirror` for the fields."""

    function: Callable[..., Signals]
    when: tuple[str, str] | None
    applies: Callable[[Operation], bool]
    keeps: Callable[[Operation], Kept]
    batchwise: Callable[[Operation, int], bool]
    own: bool = False
    listed: bool = False  # among a result's linearised operations


_RULES: dict[Any, list[Rule]] = {}


def _always(operation: Operation, samples: int) -> bool:
    return True


def _never(operation: Operation, samples: int) -> bool:
    return False


def no_numbers(operation: Operation) -> Kept:
    """The rule reads no recorded numbers (constants are always there)."""
    return Kept()


def all_inputs(operation: Operation) -> Kept:
    """The rule reads the numbers of every input."""
    return Kept(operation.inputs)


def masks_and_indices(operation: Operation) -> Kept:
    """The rule reads those inputs that are integer or boolean."""
    return Kept(value for value in operation.inputs if not value.carries_signal)


def outputs(*positions: int) -> Callable[[Operation], Kept]:
    """The rule reads these outputs."""
    return lambda operation: Kept((), positions)


def mirror(
    *operations: Any,
    when: tuple[str, str] | None = None,
    applies: Callable[[Operation], bool] = lambda operation: True,
    keeps: Callable[[Operation], Kept] = no_numbers,
    batchwise: Callable[[Operation, int], bool] | bool | None = None,
    own: bool = False,
) -> Callable[[F], F]:
    """Register the decorated function as the mirror of `operations`.

    operations: ATen or custom operators (``torch.ops.aten.relu``, all overloads; or one overload), Python
        functions that torch can intercept (``torch.nn.functional.normalize``) and module classes. A function
        or a module with a rule is recorded as one operation, whatever runs inside.
    when: a (family, choice) pair: the rule serves styles that make this choice.
    applies: whether the rule is right for an operation as it was recorded; elsewhere it is linearised.
    keeps: which recorded numbers the rule reads: `no_numbers`, `all_inputs`, `masks_and_indices`, `outputs`.
    batchwise: whether each sample along axis 0 is treated alike and alone, so that the units of many samples
        can travel as one batch: yes, no, or a predicate of (operation, number of samples). None: yes for pointwise
        operators and for those of torch that are known to work along the axes they are given, if that is not axis 0;
        else no. Yes is said of the rule, and does not hold where it does not apply; a predicate is asked there, too.
    own: whether what is returned lies in memory of its own (or in that of a signal that is `Step.writable`), and
        so may be written over by the rule that comes next.

    Raises RuleError where the operation already has a rule.

    >>> def halved(op, signal):
    ...     return signal / 2
    >>> _ = mirror(torch.ops.aten.relu)(halved)
    Traceback (most recent call last):
    deconvviz.errors.RuleError: aten.relu already has a mirror (rectify)
    """
    promised = {True: _always, False: _never, None: batchwise_by_schema}
    decided = promised[batchwise] if batchwise is None or isinstance(batchwise, bool) else batchwise

    def register(function: F) -> F:
        for operation in operations:
            known = _RULES.setdefault(operation, [])
            for rule in known:
                if rule.when is None or when is None or rule.when[0] != when[0] or rule.when == when:
                    raise RuleError(f"{name_of(operation)} already has a mirror ({rule.function.__name__})")
            known.append(Rule(function, when, applies, keeps, decided, own))
        return function

    return register


def rule_for(operation: Operation, style: Style) -> Rule:
    """The rule that serves an operation under a style; `LINEARISED` where there is none."""
    func = operation.func
    keys = type(func).__mro__ if isinstance(func, nn.Module) else (func, getattr(func, "overloadpacket", None))
    for key in keys:
        for rule in _RULES.get(key, ()):
            if rule.when is None or style.choices.get(rule.when[0]) == rule.when[1]:
                if rule.applies(operation):
                    return rule
                apart = batchwise_by_schema if rule.batchwise is _always else rule.batchwise
                return rule._replace(function=linearised, keeps=all_inputs, batchwise=apart, own=False, listed=True)
    return LINEARISED


def opaque() -> list[Any]:
    """The functions and module classes with a rule: to be recorded as one operation each."""
    return [key for key in _RULES if not isinstance(key, (torch._ops.OpOverload, torch._ops.OpOverloadPacket))]


# Whether the samples along axis 0 stay apart


# They work along the axes that they are given, and treat the others alike. Of other operations a `dim` may be the one
# that is kept, as of `renorm` and weight norms, or the one along which all others are compared, as of `unique_dim`.
_ALONG_THEIR_AXES = frozenset(
    getattr(torch.ops.aten, name)
    for name in (
        *("_softmax", "_log_softmax", "_safe_softmax", "_softmax_backward_data", "_log_softmax_backward_data", "glu"),
        *("sum", "mean", "prod", "nansum", "std", "std_mean", "var", "var_mean"),
        *("norm", "linalg_vector_norm", "logsumexp"),
        *("amax", "amin", "aminmax", "max", "min", "argmax", "argmin", "all", "any", "count_nonzero"),
        *("median", "nanmedian", "mode", "kthvalue", "sort", "topk"),
        *("cumsum", "cumprod", "cummax", "cummin", "logcumsumexp", "_logcumsumexp"),
        *("cat", "select", "slice", "split", "split_with_sizes", "unsafe_split", "unsafe_split_with_sizes", "unbind"),
        *("flip", "roll", "rot90", "transpose", "diagonal", "unfold", "squeeze", "linalg_cross"),
        *("gather", "scatter", "scatter_add", "scatter_reduce", "select_scatter", "slice_scatter", "diagonal_scatter"),
        *("index_select", "index_add", "index_copy", "index_fill", "index_reduce"),
        *("_fft_r2c", "_fft_c2c", "_fft_c2r"),
    )
)


def batchwise_by_schema(operation: Operation, samples: int) -> bool:
    """Whether an ATen operation is known to treat each sample along axis 0 alike and alone.

    It does where it is pointwise over tensors of one rank, or one of `_ALONG_THEIR_AXES` and none of these is axis 0.
    """
    made = [value for value in operation.outputs if value is not None]
    values = [*operation.inputs, *made]
    if not isinstance(operation.func, torch._ops.OpOverload) or not made:
        return False
    if any(not value.shape or value.shape[0] % samples for value in values):
        return False
    rows = values[0].shape[0]
    if torch.Tag.pointwise in operation.func.tags:
        return len({(len(value.shape), value.shape[0]) for value in values}) == 1
    if operation.func.overloadpacket not in _ALONG_THEIR_AXES or any(value.shape[0] != rows for value in values):
        return False
    rank = len(operation.inputs[0].shape)
    constants: list[Value] = []
    mapped((operation.args, dict(operation.kwargs)), constants.append, Value)
    if any(len(value.shape) == rank > 1 and value.shape[0] != rows for value in constants):
        return False  # an index of one row, or the like
    names = {argument.name for argument in operation.func._schema.arguments}
    dims: list[int] = []
    for name in names & {"dim", "dims", "dim0", "dim1", "dim2", "dimension"}:
        given = operation[name]
        if given is None or given == []:
            return False
        dims.extend(given if isinstance(given, (list, tuple)) else [given])
    return bool(dims) and all(dim % rank for dim in dims)


# Two mirrors that serve any operation

_PER_CHANNEL = ("weight", "bias", "running_mean", "running_var")


def linearised(op: Step, *signals: Tensor | None) -> Signals:
    """The vector-Jacobian product of the operation at its recorded inputs.

    Those are made contiguous, and so is the signal: some of torch's own derivatives, as those of instance and batch
    normalisation of one sample, are wrong where either lies otherwise.
    """
    if torch.Tag.pointwise in getattr(op.operation.func, "tags", ()):
        return _pulled_back(op, signals, lambda value: op.data(value).detach())
    contiguous = tuple(None if signal is None else signal.contiguous() for signal in signals)
    return _pulled_back(op, contiguous, lambda value: op.data(value).detach().contiguous())


def adjoint(op: Step, *signals: Tensor | None) -> Signals:
    """The adjoint of an operation that is linear in the inputs which carry a signal: no numbers needed."""

    def anywhere(value: Value) -> Tensor:
        return torch.zeros((), dtype=value.dtype, device=value.device).expand(op.shape(value))

    return _pulled_back(op, signals, anywhere)


def _pulled_back(op: Step, signals: tuple[Tensor | None, ...], point: Callable[[Value], Tensor]) -> Signals:
    """The signals at the inputs, by autograd through this one operation at `point`."""
    leaves: list[tuple[Value, Tensor]] = []
    # What a pointwise operation calls a weight is as large as what it makes.
    names = () if torch.Tag.pointwise in getattr(op.operation.func, "tags", ()) else _PER_CHANNEL
    weights = [op[name] for name in names]
    made = op.made

    def numbers(item: Any) -> Any:
        if item.carries_signal:
            leaf = point(item).requires_grad_()
            leaves.append((item, leaf))
            return leaf.clone() if isinstance(op.operation.func, type) else leaf  # for one that works in place
        recorded = op.tape.data[item.id]
        along_batch = len(item.shape) == len(made.shape) and item.shape[:1] == made.shape[:1]
        follows = item.tracked or (along_batch and not any(item is weight for weight in weights))
        return op.rows(recorded) if follows else recorded

    with torch.enable_grad(), op.operation.drawn.again() if op.operation.drawn else nullcontext():
        args, kwargs = mapped(op.operation.args, numbers, Value), mapped(op.operation.kwargs, numbers, Value)
        result = _run(op.operation.func, args, kwargs)
    results = result if isinstance(result, (list, tuple)) else [result]
    pairs = [
        (r, s) for r, s in zip(results, signals, strict=True) if s is not None and getattr(r, "requires_grad", False)
    ]
    if not pairs:
        return []
    with Restored(_gradients_untouched(op)):
        gradients = torch.autograd.grad(
            [r for r, _ in pairs], [leaf for _, leaf in leaves], [s for _, s in pairs], allow_unused=True
        )
    return [(value, g) for (value, _), g in zip(leaves, gradients, strict=True) if g is not None]


@contextmanager
def _gradients_untouched(op: Step) -> Iterator[None]:
    """Inside, parameters have no `grad`, to which the backward of an autograd function may add; then the old one."""
    is_function = isinstance(op.operation.func, type)
    tensors = [tensor for tensor, *_ in op.tape.constants.values()] if is_function else []
    before = {id(tensor): (tensor, tensor.grad) for tensor in tensors if tensor.is_leaf and tensor.requires_grad}
    try:
        for tensor, _ in before.values():
            tensor.grad = None
        yield
    finally:
        for tensor, gradient in before.values():
            tensor.grad = gradient


def _run(func: Any, args: Any, kwargs: Any) -> Any:
    """Run a recorded operation again: an operator, a function, a module in eval mode or an autograd function."""
    if isinstance(func, type):
        return func.apply(*args, **kwargs)  # type: ignore[attr-defined]
    if not isinstance(func, nn.Module):
        return func(*args, **kwargs)
    with EvalMode(func):
        return func(*args, **kwargs)


LINEARISED = Rule(linearised, None, lambda operation: True, all_inputs, batchwise_by_schema, listed=True)
