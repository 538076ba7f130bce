"""Weights under the names of a model: which tensor of a file belongs to which of the model, and what is left over.

Names may stand under other prefixes than the model's, with or without the parts that wrappers put into them. A head
for other classes may be left out, as may what profilers and training alone need; anything else that does not fit is a
fault.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch

from deconvviz.errors import CheckpointError

WRAPPED = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module")
USUAL = ("model", "net", "network", "state_dict", "encoder", "backbone", "module")  # first parts of a trainer's names
PROFILED = ("total_ops", "total_params")  # what profilers add to each module
TRAINING_ONLY = ("AuxLogits", "aux1", "aux2", "aux_classifier")  # heads that run in training mode alone
NAMES_SHOWN = 3  # how many names are listed

Weights = dict[str, torch.Tensor]
Names = Mapping[str, str]
COUNTER = "num_batches_tracked"


@dataclass(frozen=True, kw_only=True)
class Match:
    """Weights under the names of a model.

    Attributes:
        tensors: The tensors that fit, by the model's names.
        renamed: How names were changed, in words, or "".
        dropped: Names in the file that are not used.
        left_out: Names of the model that have no tensor in the file and keep their values.
        sizes: Where a tensor differs in its outputs alone, how many there are in the file and in the model.
        faults: What does not fit, in words.
    """

    tensors: Weights
    renamed: str
    dropped: tuple[str, ...]
    left_out: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    faults: tuple[str, ...]


def match(weights: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor], name: str) -> Match:
    """Find the tensors of a model among `weights`; `name` is what an error calls them.

    Raises CheckpointError if they fit equally well under several prefixes.
    """
    plain, ours = _unwrapped(weights), _unwrapped(expected)
    back = {shortened: key for key, shortened in ours.items()}
    as_named = _matched(weights, expected, plain, back, ("", ""))
    best = _best_prefixes(weights, expected, plain, back)
    if not as_named.faults or ("", "") in best:
        return as_named
    matches = {prefixes: _matched(weights, expected, plain, back, prefixes) for prefixes in best}
    fitting = {prefixes: fit for prefixes, fit in matches.items() if not fit.faults}
    usual = {prefixes: fit for prefixes, fit in fitting.items() if {*prefixes[0].split(".")} <= {*USUAL, ""}}
    chosen = usual or fitting
    if len(chosen) > 1:
        known = " and ".join(sorted(repr(strip or insert) for strip, insert in chosen)[:NAMES_SHOWN])
        raise CheckpointError(f"{name} fits under several names, {known}; save the part that is meant alone")
    if not chosen and any(2 * len(fit.tensors) > len(expected) for fit in matches.values()):
        return max(matches.values(), key=lambda fit: len(fit.tensors))
    return next(iter(chosen.values()), as_named)


def _matched(
    weights: Mapping[str, torch.Tensor],
    expected: Mapping[str, torch.Tensor],
    plain: Names,
    back: Names,
    prefixes: tuple[str, str],
) -> Match:
    """The match under one change of prefixes. plain: names without wrappers; back: the model's names from theirs."""
    strip, insert = prefixes
    new = {key: insert + shortened[len(strip) :] for key, shortened in plain.items() if shortened.startswith(strip)}
    new = {key: back.get(changed, changed) for key, changed in new.items()}
    tensors = {new[key]: value for key, value in weights.items() if key in new and new[key] in expected}
    unknown = [key for key in weights if key in new and new[key] not in expected]
    # Checkpoints from before torch 0.4.1 have no such counter, and torch itself does without.
    missing = [key for key in expected if key not in tensors and not key.endswith(COUNTER)]
    unequal = [key for key, value in tensors.items() if value.shape != expected[key].shape]
    left = _left_out(tensors, expected, [*missing, *unequal])
    extra = {key for key in unknown if _is_extra(new[key])}
    extra |= _other_heads({key: weights[key] for key in unknown if key not in extra}, new, expected, left)
    faults = [
        f"{key} is {_size_text(tensors[key])} in the file, {_size_text(expected[key])} in the model"
        for key in unequal
        if key not in left
    ]
    faults += [f"{entry_name(key)} is missing" for key in missing if key not in left]
    faults += [f"{entry_name(key)} is unknown to the model" for key in unknown if key not in extra]
    fitting = {key: value for key, value in tensors.items() if key not in left}
    faults = faults or [fault for key, value in fitting.items() if (fault := _fault(key, value, expected[key]))]
    return Match(
        tensors=fitting,
        renamed=_in_words(strip, insert, any(key != value for key, value in plain.items())),
        dropped=tuple(key for key in weights if key not in new or key in extra),
        left_out=left,
        sizes=tuple(
            dict.fromkeys(
                (len(tensors[key]), len(expected[key])) for key in unequal if _differ(tensors[key], expected[key])
            )
        ),
        faults=tuple(faults),
    )


def entry_name(name: object) -> str:
    """A name as an error shows it."""
    text = str(name)
    return text if len(text) <= 80 and text.isprintable() else f"{text[:80]!r}..."


def _size_text(tensor: torch.Tensor) -> str:
    """The shape of a tensor in words."""
    return " x ".join(map(str, tensor.shape)) or "a single number"


def _fault(name: str, value: torch.Tensor, expected: torch.Tensor) -> str:
    """What is wrong with a tensor of the right shape, or ''."""
    if value.layout != torch.strided or value.is_quantized or value.is_meta:
        return f"{name} is sparse, quantised or without values in the file"
    if expected.is_floating_point() and not value.is_floating_point():
        return f"{name} is {value.dtype} in the file, {expected.dtype} in the model"
    return f"{name} holds values that are no number (NaN)" if value.is_floating_point() and value.isnan().any() else ""


# Names


def _unwrapped(names: Mapping[str, object]) -> dict[str, str]:
    """The names without what wrappers put into them, unless two would be the same."""
    shortened = {name: ".".join(part for part in name.split(".") if part not in WRAPPED) for name in names}
    return shortened if len(set(shortened.values())) == len(shortened) else {name: name for name in names}


def _best_prefixes(
    weights: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor], plain: Names, back: Names
) -> list[tuple[str, str]]:
    """The prefixes to strip and to insert under which most tensors have a name and the shape of the model's."""
    inserted = ("", *dict.fromkeys(f"{first}." for name in back if (first := name.partition(".")[0]) != name))
    counts: Counter[tuple[str, str]] = Counter()
    for key, name in plain.items():
        for end in (0, *(place.end() for place in re.finditer(r"\.", name))):
            for insert in inserted:
                ours = back.get(insert + name[end:])
                if ours is not None and expected[ours].shape == weights[key].shape:
                    counts[name[:end], insert] += 1
    most = max(counts.values(), default=0)
    return [prefixes for prefixes, count in counts.items() if count == most]


def _in_words(strip: str, insert: str, unwrapped: bool) -> str:
    words = [f"names without {strip!r}"] if strip else []
    words += [f"names under {insert!r}"] if insert else []
    return " and ".join(words) or ("names without those of wrappers" if unwrapped else "")


# What may be left out


def _left_out(
    tensors: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor], lacking: list[str]
) -> tuple[str, ...]:
    """The tensors of the model that may keep their values: heads at its end, and heads for training alone."""
    aside = [key for key in lacking if _is_training_only(key)]
    head = [key for key in expected if key in lacking and key not in aside]
    modules = {key.rpartition(".")[0] for key in head}
    fits = [key not in lacking and not key.endswith(COUNTER) and not _is_training_only(key) for key in expected]
    fitting = [key for key, fit in zip(expected, fits, strict=True) if fit]
    start = next((number for number, key in enumerate(expected) if key in head), len(fits))
    may = (
        not any(fits[start:])
        and "" not in modules
        and any(expected[key].ndim >= 2 for key in fitting)
        and not any(key.rpartition(".")[0] in modules for key in fitting)
        and all(_is_of_a_head(tensors.get(key), expected[key]) for key in head)
    )
    return (*aside, *head) if may else tuple(aside)


def _is_of_a_head(tensor: torch.Tensor | None, expected: torch.Tensor) -> bool:
    """Whether a tensor can be one of a classifier: a matrix, a 1 x 1 convolution, or one for other classes."""
    if tensor is not None and _differ(tensor, expected):
        return True
    return expected.ndim <= 2 or set(expected.shape[2:]) == {1}


def _differ(tensor: torch.Tensor, expected: torch.Tensor) -> bool:
    """Whether two tensors of unequal shapes differ in their first axis alone."""
    return tensor.ndim == expected.ndim > 0 and tensor.shape[1:] == expected.shape[1:]


def _is_training_only(key: str) -> bool:
    return key.partition(".")[0] in TRAINING_ONLY


def _is_extra(key: str) -> bool:
    return key.rpartition(".")[2] in PROFILED or _is_training_only(key)


def _other_heads(
    unknown: Mapping[str, torch.Tensor], new: Names, expected: Mapping[str, torch.Tensor], left: Collection[str]
) -> set[str]:
    """The unknown tensors that belong to a classifier of the file, where the model has another one or none."""
    replaced = tuple(f"{key.rpartition('.')[0]}." for key in left)
    used = {key.partition(".")[0] for key in expected if key not in left}
    families: dict[str, list[str]] = {}
    for key in unknown:
        first = new[key].partition(".")[0]
        families.setdefault("" if new[key].startswith(replaced) and replaced else first, []).append(key)
    heads = [
        keys
        for first, keys in families.items()
        if first not in used
        and all("." in new[key] and _is_of_a_head(None, unknown[key]) for key in keys)
        and any(unknown[key].ndim >= 2 for key in keys)
    ]
    return {key for keys in heads for key in keys} if left or len(heads) <= 1 else set()
