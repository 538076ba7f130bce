"""Kinds of steps: rectifiers, pooling, norms, places, sums. What is rarer in networks stands in `rarities`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.helpers.random_networks import filters  # noqa: F401  whose kinds come first
from tests.helpers.random_networks.kinds import kind

if TYPE_CHECKING:
    from tests.helpers.random_networks.network import Draw, Value

# Rectifiers and gates


@kind("rectifier")
def rectifier(d: Draw, v: Value) -> str | None:
    x = v.name
    return d.choice(
        [
            *(f"F.relu({x})", f"torch.relu({x})", f"{x}.relu()", f"F.relu6({x})", f"F.leaky_relu({x}, 0.1)"),
            *(f"F.elu({x})", f"F.gelu({x})", f"F.silu({x})", f"F.hardswish({x})", f"F.softplus({x})", f"F.mish({x})"),
            *(f"F.selu({x})", f"F.celu({x}, 1.5)", f"F.hardtanh({x}, -0.5, 0.8)", f"F.threshold({x}, 0.1, -0.2)"),
            *(f"({x} * 1.0).relu_()", f"F.relu({x} + 0.1, inplace=True)", f"F.leaky_relu_({x} - 0.1, 0.2)"),
            *(f"F.gelu({x}, approximate='tanh')", f"F.rrelu({x}, 0.1, 0.3)", f"F.elu_({x} * 1.0)"),
            lambda: f"{d.module(f'nn.PReLU({d.choice([1, v.channels])})')}({x})",
            lambda: f"{d.module('nn.ReLU(inplace=True)')}({x} * 2)",
            lambda: f"{d.shared('nn.ReLU()')}({x})",
        ]
    )


@kind("gate")
def pointwise(d: Draw, v: Value) -> str | None:
    x = v.name
    halves = [f"F.glu({x}, 1)", f"F.silu({x}.chunk(2, 1)[0]) * {x}.chunk(2, 1)[1]"] if v.channels % 2 == 0 else []
    return d.choice(
        [
            *(f"torch.tanh({x})", f"{x}.sigmoid()", f"{x}.softmax(1)", f"F.log_softmax({x}, 1)", f"F.softsign({x})"),
            *(f"F.logsigmoid({x})", f"F.hardsigmoid({x})", f"{x}.abs()", f"torch.sin({x})", f"torch.exp(-{x} ** 2)"),
            *(f"({x} ** 2 + 1).sqrt()", f"{x}.clamp(-0.7, 0.9)", f"F.hardshrink({x})", f"F.tanhshrink({x})"),
            *(
                f"{x}.pow(3) * 0.3",
                f"torch.atan({x})",
                f"torch.log1p({x} ** 2)",
                f"torch.erf({x})",
                f"1 / (2 + {x}.cos())",
            ),
            *(
                f"F.softshrink({x}, 0.2)",
                f"({x} * 1.0).tanh_()",
                f"({x} * 1.0).clamp_(min=-0.2)",
                f"({x} * 1.0).pow_(2)",
            ),
            *(f"{x}.softmax(-1)", f"{x}.flatten(2).softmax(-1).unflatten(2, {v.sizes})", *halves),
        ]
    )


@kind("gate")
def squeezed(d: Draw, v: Value) -> str | None:
    return d.choice(
        [
            lambda: f"{d.module(f'parts.Gate({v.channels})')}({v.name})",
            f"{v.name} * torch.sigmoid({v.name}.mean({v.axes}, keepdim=True))",
            f"{v.name} * {v.name}.amax(1, keepdim=True)",
            f"{v.name} - {v.name}.mean(1, keepdim=True)",
            f"{v.name} / (1 + {v.name}.std({v.axes}, keepdim=True))",
            f"{v.name} * torch.logsumexp({v.name}, 1, keepdim=True).tanh()",
            f"({v.name} - {v.name}.mean({v.axes}, keepdim=True)) * torch.rsqrt({v.name}.var({v.axes}, "
            f"keepdim=True) + 0.1)",
            f"{v.name} * F.cosine_similarity({v.name}, {v.name}.flip(2), 1)[:, None]",
            f"{v.name} / (0.1 + torch.linalg.vector_norm({v.name}, dim={v.axes}, keepdim=True))",
        ]
    )


# Pooling and interpolation


@kind("pool")
def maximum(d: Draw, v: Value) -> str | None:
    size, stride = d.choice([2, 3]), d.choice([1, 2, 3])
    if min(v.sizes) < 2 * size - 1:
        return None
    options = f"padding={d.choice([0, 1])}, ceil_mode={d.coin()}, dilation={d.choice([1, 1, 2])}"
    if d.random.random() < 0.15:
        d.rough()
        return f"y, k = F.max_pool{v.rank}d({v.name}, {size}, {stride}, return_indices=True)\ny + k.to(y) * 0.01"
    if d.random.random() < 0.15:
        unpooled = f"F.max_unpool{v.rank}d(y * 0.5, k, 2, 2, output_size={v.name}.shape)"
        return f"y, k = F.max_pool{v.rank}d({v.name}, 2, 2, return_indices=True)\n{unpooled}"
    return f"F.max_pool{v.rank}d({v.name}, {size}, {stride}, {options})"


@kind("pool")
def average(d: Draw, v: Value) -> str | None:
    size, stride = d.choice([2, 3]), d.choice([1, 2])
    if min(v.sizes) < 2 * size - 1:
        return None
    counted = "" if v.rank == 1 else f", count_include_pad={d.coin()}"
    return d.choice(
        [
            f"F.avg_pool{v.rank}d({v.name}, {size}, {stride}, padding={d.choice([0, 1])}, "
            f"ceil_mode={d.coin()}{counted})",
            f"F.adaptive_avg_pool{v.rank}d({v.name}, {d.choice([2, 3])})",
            f"F.adaptive_max_pool{v.rank}d({v.name}, {d.choice([2, 3])})",
            f"F.avg_pool{v.rank}d({v.name}, 3, 1, padding=1) - {v.name}",
            f"F.unfold({v.name}, 2, stride=2).unflatten(1, ({v.channels}, 4)).amax(2)"
            if v.rank == 2
            else f"{v.name}.unfold(2, 2, 1).mean(-1)",
        ]
    )


@kind("pool")
def fractional(d: Draw, v: Value) -> str | None:
    if v.rank == 1 or min(v.sizes) < 5:
        return None
    drawn = f"({d.constant(1, 1, v.rank)}.sigmoid()).expand(len({v.name}), {v.channels}, {v.rank})"
    return f"F.fractional_max_pool{v.rank}d({v.name}, 2, output_size=3, _random_samples={drawn})"


@kind("resize")
def interpolated(d: Draw, v: Value) -> str | None:
    if max(v.sizes) > 9:
        return None
    smooth = {1: ["linear"], 2: ["bilinear", "bicubic"], 3: ["trilinear"]}[v.rank]
    mode = d.choice(["nearest", "nearest-exact", "area", *smooth, *smooth])
    options = f"mode='{mode}'"
    if mode in smooth:
        options += f", align_corners={d.coin()}"
        if v.rank == 2 and d.random.random() < 0.3:
            options += ", antialias=True"
    if d.coin() or mode == "area":
        return f"F.interpolate({v.name}, size={tuple(d.integer(3, 11 - 2 * v.rank) for _ in v.sizes)}, {options})"
    factor = d.choice([2, 3, 1.5, 0.6, 1.2] if v.rank < 3 else [2, 1.5, 0.6])
    if "antialias" in options and any(int(size * factor) in (size, 1) for size in v.sizes):
        return None  # torch's own derivative is wrong there: see test_antialiased_interpolation.py
    kept = ", recompute_scale_factor=True" if d.random.random() < 0.2 and "antialias" not in options else ""
    return f"F.interpolate({v.name}, scale_factor={factor}, {options}{kept})"


@kind("resize")
def shuffled(d: Draw, v: Value) -> str | None:
    if v.rank != 2:
        return None
    choices = [f"F.unfold({v.name}, 3, padding=1).unflatten(2, {v.sizes})[:, ::3]"]
    if v.channels % 4 == 0:
        choices.append(f"F.pixel_shuffle({v.name}, 2)")
    if v.channels % 2 == 0:
        choices.append(f"F.channel_shuffle({v.name}, 2)")
    if v.sizes[0] % 2 == 0 == v.sizes[1] % 2:
        choices += [
            f"F.pixel_unshuffle({v.name}, 2)",
            f"parts.windows_of({v.name}, lambda p: p * p.mean((2, 3), True))",
        ]
        choices.append(f"F.fold(F.unfold({v.name}, 2, stride=2).tanh(), {v.sizes}, 2, stride=2)")
    return d.choice(choices)


@kind("resize")
def sampled(d: Draw, v: Value) -> str | None:
    if v.rank != 2:
        return None
    grid = f"{d.constant(1, 4, 5, 2)}.tanh().expand(len({v.name}), 4, 5, 2)"
    mode, around = d.choice(["bilinear", "nearest", "bicubic"]), d.choice(["zeros", "border", "reflection"])
    if d.coin():
        return f"F.grid_sample({v.name}, {grid}, '{mode}', '{around}', align_corners={d.coin()})"
    return f"""t = {v.name}.mean((1, 2, 3)).tanh().view(-1, 1, 1) * 0.3 + torch.eye(2, 3).to({v.name})
F.grid_sample({v.name}, F.affine_grid(t, [len({v.name}), 1, 4, 4], align_corners=False), align_corners=False)"""


@kind("resize")
def padded(d: Draw, v: Value) -> str | None:
    if max(v.sizes) > 10 or min(v.sizes) < 4:
        return None
    mode = d.choice(["constant", "reflect", "replicate", "circular"])
    around = tuple(d.choice([0, 1, 2]) for _ in range(2 * v.rank))
    if mode == "constant":
        around = tuple(d.choice([-1, 0, 1, 2]) for _ in range(2 * v.rank))
        return f"F.pad({v.name}, {around}, value={d.choice([0.0, 0.5])})"
    return f"F.pad({v.name}, {around}, mode='{mode}')"


# Norms, in whatever layout


@kind("norm")
@kind("norm")
def norm(d: Draw, v: Value) -> str | None:
    r, c, x = v.rank, v.channels, v.name
    layout = d.choice(["", "", "channels_last", "sliced", "transposed", "tokens", "strided", "expanded"])
    if layout == "expanded":
        x = f"{x}[:, :1].expand(-1, {c}, {', '.join(['-1'] * r)})"
    elif layout:
        x = f"parts.{layout}({x})"
    if c == 1 or v.sizes[-1] == 1:
        return None  # the norm of a single number is constant, and all that goes back is rounding
    groups = d.choice([g for g in (1, 2, c) if c % g == 0])
    affine, tracked = d.coin(), d.coin()
    made = d.choice(
        [
            f"nn.BatchNorm{r}d({c}, affine={affine})",
            f"nn.InstanceNorm{r}d({c}, affine={affine}, track_running_stats={tracked})",
            f"nn.InstanceNorm{r}d({c}, affine={affine}, track_running_stats=False)",
            f"nn.GroupNorm({groups}, {c}, affine={affine})",
            f"nn.LocalResponseNorm({d.integer(1, 3)})",
            f"nn.LayerNorm({list(v.shape[1:])}, elementwise_affine={affine})",
            f"nn.LayerNorm({v.sizes[-1]})",
            f"nn.RMSNorm({v.sizes[-1]}, eps={d.choice([None, 1e-6])})",
            *(f"parts.Scaled({c})", f"parts.Response({c})", "rows", "functional", "normalize"),
        ]
    )
    axis = d.choice([1, -1])
    if made == "rows":
        if layout == "expanded":
            return None  # all channels are equal, so numbers cancel, and all that goes back is rounding
        made = d.module(d.choice([f"nn.LayerNorm({c})", f"nn.RMSNorm({c})", f"nn.BatchNorm1d({c})"]))
        if "BatchNorm" in type(d.modules[made.removeprefix("self.")]).__name__:
            found = f"{made}({x}.movedim(1, -1).flatten(0, -2)).unflatten(0, (-1, *{v.sizes})).movedim(-1, 1)"
        else:
            found = f"{made}({x}.movedim(1, -1)).movedim(-1, 1)"
    elif made == "functional":
        found = d.choice([f"F.instance_norm({x})", f"F.group_norm({x}, {groups})", f"F.layer_norm({x}, {x}.shape[2:])"])
    elif made == "normalize":
        found = f"F.normalize({x}, p={d.choice([2.0, 1.0])}, dim={axis})"
    else:
        found = f"{d.module(made)}({x})"
    if d.random.random() < 0.4:  # behind it what gives signals an awkward layout
        return f"{d.module(f'nn.Conv{r}d({c}, {d.choice([1, 2, 4])}, 1)')}({found})"
    return found


# Places


@kind("place")
def index(d: Draw, v: Value) -> str | None:
    x, c = v.name, v.channels
    chosen = [d.integer(0, c - 1) for _ in range(d.integer(1, c))]
    mask = [bool(d.coin()) for _ in range(c - 1)] + [True]
    return d.choice(
        [
            *(f"{x}[:, :, 1:]", f"{x}[..., ::2]", f"{x}[:, {chosen}]", f"{x}[:, torch.tensor({mask})]"),
            *(
                f"{x}.index_select(1, torch.tensor({chosen}))",
                f"{x}.flip(2)",
                f"{x}.roll(1, -1)",
                f"{x}.narrow(2, 0, 3)",
            ),
            *(f"{x}.gather(1, torch.zeros_like({x}, dtype=torch.long))", f"torch.cat([{x}[:, 1:], {x}[:, :1]], 1)"),
            *(
                f"{x}.take_along_dim({x}.argsort(2), 2)",
                f"{x}.sort(-1).values",
                f"{x}.topk(2, -1).values",
                f"{x}.cumsum(2)",
            ),
            *(f"{x}.cummax(2).values", f"{x}.repeat_interleave(2, 1)", f"{x}.transpose(2, -1)", f"{x}.swapaxes(1, 2)"),
            *(f"torch.stack([{x}, {x} * 2], 2).flatten(1, 2)", f"torch.cat({x}.chunk(2, 1)[::-1], 1)", f"{x}.tril()"),
            *(f"{x}.unfold(2, 2, 1)[..., 1] * 2", f"{x}.index_add(1, torch.tensor([0]), {x}[:, :1] * 0.5)"),
            *(f"{x}.scatter_add(1, torch.zeros_like({x}, dtype=torch.long), {x} * 0.1)", f"{x}.median(1, True).values"),
            *(f"torch.where({x} > 0.1, {x}, {x} * 0.3)", f"{x}.masked_fill({x} < 0, 0.25)", f"{x}.diff(dim=-1)"),
            *(f"torch.rot90({x}, 1, (2, {v.rank + 1}))", f"{x}.expand(2, *{x}.shape)[1]", f"{x}.movedim(1, -1)"),
            *(f"{x}.view({x}.shape[0], -1).view({x}.shape)", f"{x}.kthvalue(1, 1, True).values + {x} * 0.5"),
        ]
    )


@kind("place")
def reshaped(d: Draw, v: Value) -> str | None:
    """Another number of spatial axes."""
    x = v.name
    if v.rank > 1:
        return f"{x}.flatten({v.rank})"
    side = next((s for s in (3, 4, 2) if v.sizes[0] % s == 0), 0)
    return f"{x}.unflatten(2, ({side}, -1))" if side else None


# Sums and joins


@kind("sum")
@kind("sum")
def summed(d: Draw, v: Value) -> str | None:
    x, y = v.name, d.other(v)
    in_place = d.choice(["+=", "-=", "*="])
    return d.choice(
        [
            *(
                f"{x} + {y}",
                f"{x} - 0.5 * {y}",
                f"torch.add({x}, {y}, alpha=0.3)",
                f"{x} * {y}",
                f"{x} / (2 + {y} ** 2)",
            ),
            *(f"t = {x} * 1.0\nt {in_place} {y}\nt", f"torch.lerp({x}, {y}, 0.3)", f"torch.maximum({x}, {y} * 0.9)"),
            *(
                f"torch.addcmul({x}, {x}, {y}, value=0.2)",
                f"torch.where({y} > 0, {x}, -{x})",
                f"torch.hypot({x}, 1 + {y})",
            ),
            *(f"torch.stack([{x}, {y}]).sum(0)", f"torch.stack([{x}, {y}], 1).amax(1)", f"sum([{x}, {y}, {x}])"),
            *(
                f"{x} + {y}.mean(1, keepdim=True)",
                f"torch.minimum({x}, 0.7 - {y})",
                f"torch.addcdiv({x}, {y}, 1 + {x} ** 2)",
            ),
            *(
                f"torch._foreach_add([{x}], [{y}])[0]",
                f"({x} * 1.0).add_({y}, alpha=2)",
                f"{x}.clone().addcmul_({y}, {x})",
            ),
        ]
    )


@kind("sum")
def joined(d: Draw, v: Value) -> str | None:
    others = d.alike(v)
    if len(others) < 2 or v.channels > 8:
        return None
    return f"torch.cat([{v.name}, {d.choice(others)}, {v.name} * 0.5], 1)"


@kind("sum")
def scaled(d: Draw, v: Value) -> str | None:
    factor = d.constant(1, v.channels, *[1] * v.rank)
    return d.choice(
        [
            f"{v.name} * {factor} - 0.5",
            f"{v.name} / (2 + {factor} ** 2)",
            f"{factor} - {v.name}",
            lambda: f"{v.name} @ {d.square(v)}",
        ]
    )
