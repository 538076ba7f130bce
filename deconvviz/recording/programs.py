"""TorchScript and exported programs as modules of Python, so that their layers have names.

torch runs TorchScript in an interpreter of its own, which no hook sees into. Here the graph of each module is
run step by step in Python, and calls its parts as modules. An exported program is unflattened by torch. Weights are
shared with the original, which is never changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from deconvviz.recording.layer_names import WEIGHTED

CONSTANTS_OF = {  # operations whose weights are constants of a frozen graph, and the modules that they are calls of
    "aten::linear": "Linear",
    "aten::conv1d": "Conv1d",
    "aten::conv2d": "Conv2d",
    "aten::conv3d": "Conv3d",
    "aten::conv_transpose2d": "ConvTranspose2d",
}
STEPPING = {"stride": 1, "padding": 0, "dilation": 1}  # of convolutions, with what they are where nothing is said


def as_modules(model: Any) -> Any:
    """A TorchScript module or an exported program as modules of Python; anything else as it is."""
    if isinstance(model, torch.export.ExportedProgram):
        return _unflattened(model)
    if isinstance(model, torch.jit.ScriptModule):
        return _mirrored(model) if _can_run(model) else model
    return model


class _Part(nn.Module):
    """A module with the tensors of a part of a program."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        nn.Module.__init__(self)  # not that of the torch module that it may also be
        for name, tensor in tensors.items():
            if isinstance(tensor, nn.Parameter):
                self.register_parameter(name, tensor)
            else:
                self.register_buffer(name, tensor)
        if isinstance(self, WEIGHTED) and "bias" not in tensors:
            self.register_parameter("bias", None)

    def extra_repr(self) -> str:
        """The shape of the weights."""
        weight = getattr(self, "weight", None)
        return " x ".join(map(str, weight.shape)) if isinstance(weight, Tensor) else ""


class _Leaf(_Part):
    """Calls code that hooks do not see into."""

    def __init__(self, called: Callable[..., Any], tensors: Mapping[str, Tensor]) -> None:
        super().__init__(tensors)
        self._called = (called,)  # not a part

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As the code does."""
        return self._called[0](*args, **kwargs)


def _class_of(base: type[_Part], kind: str, home: str, weight: Tensor | None) -> type[Any]:
    """A class of modules of the name `kind`, which is one of torch's where layers are chosen by that."""
    own = getattr(nn, kind, None)
    bases = (base, own) if weight is not None and own is not None and issubclass(own, WEIGHTED) else (base,)
    return type(kind, bases, {"__module__": home if home.startswith("torch.nn") else base.__module__})


def _sized(part: _Part, call: Mapping[str, Any]) -> None:
    """Give a convolution or linear layer the sizes that torch's own have as attributes.

    call: the arguments, by their names, of torch's function that it calls.
    """
    weight = getattr(part, "weight", None)
    if not isinstance(part, WEIGHTED) or not isinstance(weight, Tensor):
        return
    outputs, inputs = weight.shape[:2]
    groups = call.get("groups", 1)
    if isinstance(part, nn.modules.conv._ConvTransposeNd):
        outputs, inputs = inputs * groups, outputs
    else:
        inputs *= groups
    names = ("out_features", "in_features") if isinstance(part, nn.Linear) else ("out_channels", "in_channels")
    sizes = {names[0]: outputs, names[1]: inputs, "kernel_size": tuple(weight.shape[2:]), "groups": groups}
    dimensions = weight.ndim - 2
    for name, usual in STEPPING.items() if dimensions else ():
        value = call.get(name, usual)
        value = [value] if isinstance(value, int) else value
        sizes[name] = value if isinstance(value, str) else tuple(value) * (dimensions // len(value))
    for name, value in sizes.items():
        setattr(part, name, value)


# TorchScript


class _Fixed:
    """Holds a scripted module, which is neither a part nor copied with its parts."""

    def __init__(self, script: Any) -> None:
        self.script = script

    def __deepcopy__(self, _: Any) -> _Fixed:
        return self


class _Interpreted(_Part):
    """Runs the graph of a scripted module step by step."""

    def __init__(self, script: Any) -> None:
        super().__init__(dict((*script.named_parameters(recurse=False), *script.named_buffers(recurse=False))))
        self._fixed = _Fixed(script)
        for name, child in script.named_children():
            self.add_module(name, _mirrored(child))
        self.training = getattr(script, "training", False)
        self._constant_layers: dict[str, str] = {}
        graph = _graph(script)
        for node in graph.nodes() if graph is not None else ():
            if kind := CONSTANTS_OF.get(node.kind()):
                self._add_constant_layer(node, kind)
        _sized(self, _call_of_script(script))

    def _add_constant_layer(self, node: Any, kind: str) -> None:
        """A layer whose weights are constants of the graph, as those of frozen modules are."""
        inputs = list(node.inputs())
        weight, bias = (value.toIValue() for value in inputs[1:3])
        if not isinstance(weight, Tensor):
            return
        number = sum(name.startswith(kind.lower()) for name in self._constant_layers.values())
        name = f"{kind.lower()}_{number}" if number else kind.lower()
        tensors = {"weight": weight} | ({} if bias is None else {"bias": bias})
        layer = _class_of(_Leaf, kind, "torch.nn", weight)(_operation(node), tensors)
        _sized(layer, _arguments(node))
        self.add_module(name, layer)
        self._constant_layers[node.output().debugName()] = name

    def forward(self, *args: Any) -> Any:
        """As the scripted module does."""
        return self._call("forward", args)

    def _call(self, method: str, args: Sequence[Any]) -> Any:
        graph = _graph(self._fixed.script, method)
        known = {value.debugName(): given for value, given in zip(graph.inputs(), (self, *args), strict=False)}
        self._run(graph.nodes(), known)
        found = [known[value.debugName()] for value in graph.outputs()]
        return found[0] if len(found) == 1 else tuple(found)

    def _run(self, nodes: Iterator[Any], known: dict[str, Any]) -> None:
        for node in nodes:
            inputs = [known.get(value.debugName()) for value in node.inputs()]
            found = self._step(node, inputs, known)
            outputs = [value.debugName() for value in node.outputs()]
            known.update(zip(outputs, found if len(outputs) != 1 else [found], strict=True))

    def _step(self, node: Any, inputs: list[Any], known: dict[str, Any]) -> Any:
        kind = node.kind()
        if kind == "prim::Constant":
            return node.output().toIValue() if node.hasAttribute("value") else None
        if kind == "prim::GetAttr":
            return _attribute(inputs[0], node.s("name"))
        if kind == "prim::CallMethod":
            name = node.s("name")
            return inputs[0](*inputs[1:]) if name == "forward" else inputs[0]._call(name, inputs[1:])
        if kind == "prim::CallFunction":
            return _function(node)(*inputs[1:])
        if kind == "prim::If":
            return self._branch(list(node.blocks())[0 if inputs[0] else 1], known)
        if kind == "prim::Loop":
            return self._loop(next(node.blocks()), inputs, known)
        if node.outputsSize() == 1 and (name := self._constant_layers.get(node.output().debugName())):
            layer = self.get_submodule(name)
            return layer(inputs[0], layer.weight, layer.bias, *inputs[3:])
        return STEPS[kind](inputs) if kind in STEPS else _operation(node)(*inputs)

    def _branch(self, block: Any, known: dict[str, Any]) -> Any:
        self._run(block.nodes(), known)
        found = [known[value.debugName()] for value in block.outputs()]
        return found[0] if len(found) == 1 else found

    def _loop(self, block: Any, inputs: list[Any], known: dict[str, Any]) -> Any:
        turns, go_on, *carried = inputs
        names = [value.debugName() for value in block.inputs()]
        turn = 0
        while turn < turns and go_on:
            known.update(zip(names, [turn, *carried], strict=True))
            self._run(block.nodes(), known)
            go_on, *carried = [known[value.debugName()] for value in block.outputs()]
            turn += 1
        return carried[0] if len(carried) == 1 else carried


def _raise(_: list[Any]) -> Any:
    raise RuntimeError("the scripted code of the model raised an error")


STEPS: dict[str, Callable[[list[Any]], Any]] = {
    "aten::_convolution": lambda inputs: torch.convolution(*inputs[:9]),  # without the settings of cuDNN
    "prim::ListConstruct": list,
    "prim::TupleConstruct": tuple,
    "prim::ListUnpack": lambda inputs: list(inputs[0]),
    "prim::TupleUnpack": lambda inputs: list(inputs[0]),
    "prim::TupleIndex": lambda inputs: inputs[0][inputs[1]],
    "prim::DictConstruct": lambda inputs: dict(zip(inputs[::2], inputs[1::2], strict=True)),
    "prim::NumToTensor": lambda inputs: torch.tensor(inputs[0]),
    "prim::unchecked_cast": lambda inputs: inputs[0],
    "prim::Uninitialized": lambda inputs: None,
    "prim::RaiseException": _raise,
    "prim::dtype": lambda inputs: inputs[0].dtype,
    "prim::device": lambda inputs: inputs[0].device,
    "aten::__is__": lambda inputs: inputs[0] is inputs[1],
    "aten::__isnot__": lambda inputs: inputs[0] is not inputs[1],
    "aten::__not__": lambda inputs: not inputs[0],
    "aten::__getitem__": lambda inputs: inputs[0][inputs[1]],
    "aten::len": lambda inputs: len(inputs[0]),
    "aten::append": lambda inputs: inputs[0].append(inputs[1]) or inputs[0],
    "aten::size": lambda inputs: inputs[0].size(*inputs[1:]),
    "aten::dim": lambda inputs: inputs[0].dim(),
    "aten::format": lambda inputs: str(inputs[0]).format(*inputs[1:]),
    "aten::warn": lambda inputs: None,
}


def _operation(node: Any) -> Callable[..., Any]:
    """What runs an operation of ATen, under torch's own name where that takes the same arguments."""
    name = node.kind().removeprefix("aten::")
    own = getattr(torch, name, None) or getattr(torch._C._nn, name, None)
    schema = node.schema()
    if callable(own) and "*" not in schema and "Tensor" in schema.partition("->")[0]:
        found: Callable[..., Any] = own
    else:
        found = torch._C._jit_get_operation(node.kind())[0]
    return found


def _function(node: Any) -> Callable[..., Any]:
    """The Python function of torch that a scripted call is a call of."""
    callee = next(node.inputs()).node()
    return getattr(nn.functional, callee.s("name"))  # type: ignore[no-any-return]


def _attribute(owner: Any, name: str) -> Any:
    if not isinstance(owner, _Interpreted):
        return getattr(owner, name)
    own = {**owner._parameters, **owner._buffers, **owner._modules, "training": owner.training}
    return own[name] if name in own else getattr(owner._fixed.script, name)


def _graph(script: Any, method: str = "forward") -> Any:
    return script._c._get_method(method).graph if script._c._has_method(method) else None


def _can_run(script: Any, method: str = "forward") -> bool:
    """Whether every step of a method of a scripted module can be run here."""
    graph = _graph(script, method)
    return graph is not None and all(_is_known(node, script) for node in _with_inner(graph.nodes()))


def _with_inner(nodes: Iterator[Any]) -> Iterator[Any]:
    for node in nodes:
        yield node
        for block in node.blocks():
            yield from _with_inner(block.nodes())


def _is_known(node: Any, script: Any) -> bool:
    kind = node.kind()
    if kind == "prim::CallMethod":
        return node.s("name") == "forward" or _can_run(script, node.s("name"))
    if kind == "prim::CallFunction":
        callee = next(node.inputs()).node()
        return callee.hasAttribute("name") and hasattr(nn.functional, callee.s("name"))
    if kind in STEPS or kind in ("prim::Constant", "prim::GetAttr", "prim::If", "prim::Loop"):
        return True
    try:
        return kind.startswith("aten::") and bool(torch._C._jit_get_operation(kind)[0])
    except RuntimeError:
        return False


def _mirrored(script: Any) -> nn.Module:
    """A scripted module, or one of its parts, as modules of Python."""
    kind = str(script.original_name)
    home = ".".join(part for part in str(script._c._type()).split(".")[1:-1] if "_torch_mangle_" not in part)
    tensors = dict((*script.named_parameters(recurse=False), *script.named_buffers(recurse=False)))
    weight = tensors.get("weight")
    if _graph(script) is None or _can_run(script):
        made: nn.Module = _class_of(_Interpreted, kind, "" if list(script.children()) else home, weight)(script)
        return made
    leaf: nn.Module = _class_of(_Leaf, kind, "", weight)(script._c._get_method("forward"), tensors)
    return leaf


def _call_of_script(script: Any) -> dict[str, Any]:
    """The numbers of a scripted convolution, which a traced one has in its graph alone."""
    own = {name: getattr(script, name) for name in (*STEPPING, "groups") if hasattr(script, name)}
    nodes = _graph(script).nodes() if _graph(script) is not None else ()
    found = next((node for node in nodes if node.kind() == "aten::_convolution"), None)
    return own if found is None else _arguments(found)


def _arguments(node: Any) -> dict[str, Any]:
    """The constant arguments of a call in a graph, by their names."""
    names = [argument.name for argument in torch._C.parse_schema(node.schema()).arguments]
    found = {name: _constant(value) for name, value in zip(names, node.inputs(), strict=False)}
    return {name: value for name, value in found.items() if value is not None}


def _constant(value: Any) -> Any:
    """The value of a constant, or of a list of constants; None for anything else."""
    if value.node().kind() != "prim::ListConstruct":
        return value.toIValue()
    parts = [part.toIValue() for part in value.node().inputs()]
    return None if None in parts else parts


# Exported programs


def _unflattened(program: torch.export.ExportedProgram) -> nn.Module:
    model: nn.Module = torch.export.unflatten(program)
    for name, module in list(model.named_modules()):
        if name and not list(module.children()) and hasattr(module, "type_name"):
            home, _, kind = (module.type_name() or type(module).__name__).rpartition(".")
            tensors = dict((*module.named_parameters(), *module.named_buffers()))
            leaf = _class_of(_Leaf, kind, home, tensors.get("weight"))(module, tensors)
            _sized(leaf, _call_of_export(module))
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, leaf)
    return model


def _call_of_export(module: Any) -> dict[str, Any]:
    """The arguments of an exported convolution, by their names."""
    nodes: Sequence[Any] = list(module.graph.nodes) if hasattr(module, "graph") else []
    found = next((node for node in nodes if "conv" in str(node.target)), None)
    schema = getattr(getattr(found, "target", None), "_schema", None)
    if found is None or schema is None:
        return {}
    names = [argument.name for argument in schema.arguments]
    return {**dict(zip(names, found.args, strict=False)), **found.kwargs}


def graphs_of(model: nn.Module) -> Iterator[Any]:
    """The graphs of exported programs and their nodes. Copies of a model share them: they hold tensors without data."""
    for module in model.modules():
        parts = [module, *(part for part in vars(module).get("_called", ()) if isinstance(part, nn.Module))]
        held = [value for part in parts for value in vars(part).values()]
        held += [value for one in held if isinstance(one, torch.fx.GraphModule) for value in vars(one).values()]
        for graph in held:
            if isinstance(graph, torch.fx.Graph):
                yield from (graph, *graph.nodes)
