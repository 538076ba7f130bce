"""Kinds of steps: filters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.helpers.random_networks.kinds import kind

if TYPE_CHECKING:
    from tests.helpers.random_networks.network import Draw, Value


@kind("filter")
def convolution(d: Draw, v: Value) -> str | None:
    size, dilation = d.choice([1, 2, 3, 3]), d.choice([1, 1, 2])
    groups = d.choice([g for g in (1, 1, 2, v.channels) if v.channels % g == 0])
    out = groups * d.integer(1, 3 if groups > 1 else 6)
    padding = d.choice(["0", "1", "2", "'same'", "'valid'", f"({', '.join(['1'] * v.rank)},)"])
    stride = d.choice(["1", "1", "2", "(2,)"]) if padding != "'same'" else "1"
    around = {"0": 0, "'valid'": 0, "2": 2}.get(padding, 1 if padding != "'same'" else dilation * (size - 1) // 2)
    if min(v.sizes) + 2 * around < dilation * (size - 1) + 1:
        size, padding, around = 1, "0", 0
    mode = d.choice(["zeros", "zeros", "zeros", "reflect", "circular", "replicate"])
    if min(v.sizes) <= around + 1 or padding == "'valid'":
        mode = "zeros"
    options = f"stride={stride}, padding={padding}, dilation={dilation}, groups={groups}, bias={d.coin()}"
    layer = f"nn.Conv{v.rank}d({v.channels}, {out}, {size}, {options}, padding_mode='{mode}')"
    return f"{d.module(layer)}({v.name})"


@kind("filter")
def plain_convolution(d: Draw, v: Value) -> str | None:
    return f"{d.module(f'nn.Conv{v.rank}d({v.channels}, {d.integer(2, 8)}, 3, padding=1)')}({v.name})"


@kind("filter")
def normalised_convolution(d: Draw, v: Value) -> str | None:
    layer = d.module(f"nn.Conv{v.rank}d({v.channels}, 4, {d.choice([2, 3])}, padding=1)")
    return f"{d.module(f'nn.BatchNorm{v.rank}d(4, affine={d.coin()})')}({layer}({v.name}))"


@kind("filter")
def thin_convolution(d: Draw, v: Value) -> str | None:
    """1 x 1, or through one channel: signals and maps get strides that are dense in two ways."""
    through = d.choice([1, 2, 4])
    one = d.module(f"nn.Conv{v.rank}d({v.channels}, {through}, 1)")
    if d.coin():
        return f"{one}({v.name})"
    return (
        f"{d.module(f'nn.Conv{v.rank}d({through}, {d.integer(2, 6)}, {d.choice([1, 3])}, padding=1)')}({one}({v.name}))"
    )


@kind("filter")
def transposed_convolution(d: Draw, v: Value) -> str | None:
    if max(v.sizes) > 9:
        return None
    stride = d.choice([1, 2, 3])
    groups = d.choice([g for g in (1, 2) if v.channels % g == 0])
    options = f"stride={stride}, padding={d.choice([0, 1])}, output_padding={stride - 1}, groups={groups}"
    return f"{d.module(f'nn.ConvTranspose{v.rank}d({v.channels}, {groups * d.integer(1, 3)}, 3, {options})')}({v.name})"


@kind("filter")
def again(d: Draw, v: Value) -> str | None:
    """A module that ran before runs once more."""
    fitting = [name for name, module in d.modules.items() if getattr(module, "in_channels", 0) == v.channels]
    fitting = [name for name in fitting if f"Conv{v.rank}d" in type(d.modules[name]).__name__]
    return f"self.{d.choice(fitting)}({v.name})" if fitting else None


@kind("filter")
def twice(d: Draw, v: Value) -> str | None:
    layer = d.module(f"nn.Conv{v.rank}d({v.channels}, {v.channels}, 3, padding=1)")
    return f"{layer}(torch.tanh({layer}({v.name})))"


@kind("filter")
def reparametrised(d: Draw, v: Value) -> str | None:
    inner = f"nn.Conv{v.rank}d({v.channels}, {d.integer(1, 5)}, {d.choice([1, 3])}, padding=1)"
    norm = d.choice(["weight_norm", "spectral_norm"])
    return f"{d.module(f'nn.utils.parametrizations.{norm}({inner})')}({v.name})"


@kind("filter")
def odd_filter(d: Draw, v: Value) -> str | None:
    if v.rank != 2:
        return None
    layer = d.choice(["parts.MaxNorm", "parts.Standardised"])
    return f"{d.module(f'{layer}({v.channels}, {d.integer(2, 5)}, 3, padding=1)')}({v.name})"


@kind("filter")
def linear(d: Draw, v: Value) -> str | None:
    if d.coin():
        return f"{d.module(f'nn.Linear({v.channels}, {d.integer(1, 6)})')}({v.name}.movedim(1, -1)).movedim(-1, 1)"
    return f"{d.module(f'nn.Linear({v.sizes[-1]}, {d.integer(3, 8)})')}({v.name})"


@kind("filter")
def matrix(d: Draw, v: Value) -> str | None:
    weight = d.constant(d.integer(2, 5), v.channels)
    return d.choice(
        [
            f"torch.einsum('oc,nc...->no...', {weight}, {v.name})",
            f"torch.matmul({weight}, {v.name}.flatten(2)).unflatten(2, {v.sizes})",
            f"F.linear({v.name}.movedim(1, -1), {weight}).movedim(-1, 1)",
            f"torch.tensordot({v.name}, {weight}, ([1], [1])).movedim(-1, 1)",
        ]
    )


@kind("filter")
def dynamic_convolution(d: Draw, v: Value) -> str | None:
    """Kernels made from the image, one for each sample, by groups."""
    if v.rank != 2 or min(v.sizes) < 4:
        return None
    return f"""n, c, h, w = {v.name}.shape
k = F.adaptive_avg_pool2d({v.name}, 3).reshape(n * c, 1, 3, 3)
F.conv2d({v.name}.reshape(1, n * c, h, w), k, padding=1, groups=n * c).view(n, c, h, w)"""
