"""What random networks hold beside the usual steps: complex numbers, writes, Python's decisions, functions of functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.helpers.random_networks import steps  # noqa: F401  whose kinds come first
from tests.helpers.random_networks.kinds import kind

if TYPE_CHECKING:
    from tests.helpers.random_networks.network import Draw, Value

# Complex numbers


@kind("complex")
@kind("complex")
def spectrum(d: Draw, v: Value) -> str | None:
    """To the frequencies, something there, and back."""
    x, c = v.name, v.channels
    there, back = d.choice(
        [
            (f"torch.fft.fft({x})", "torch.fft.ifft(z).real"),
            (f"torch.fft.fft2({x})" if v.rank > 1 else f"torch.fft.fft({x})", "z.real + 0.3 * z.imag"),
            (f"torch.fft.rfft({x})", f"torch.fft.irfft(z, n={v.sizes[-1]})"),
            (f"torch.complex({x}, {x}.flip(2))", "z.abs()"),
            (f"torch.complex({x}, {x}.roll(1, -1))", "z.real * z.imag"),
            (f"{x} + 1j * {x}.tanh()", "torch.view_as_real(z).sum(-1)"),
            (f"torch.polar(1 + {x}.abs(), {x})", "(z * z.conj()).real.sqrt()"),
            (f"{x}.to(torch.complex128)", "z.imag + z.real"),
        ]
    )
    middles = [
        *("z * (0.6 - 0.8j)", "1j * z", "z / (2 - 1j)", "z.conj()", "z * z.conj()", "z + z.conj() * 0.5j", "1j - z"),
        *("torch.add(z, z.flip(1), alpha=0.5j)", "z.sgn() * 0.5 + z", "z ** 2 * 0.3", "z * z.abs().softmax(-1)"),
        *("(z.conj(), z * 2)[1]", "-z.conj()", "z.conj().resolve_conj() + z", "torch.complex(z.real.tanh(), z.imag)"),
        *(
            "(z.real.mul_(2), z)[1]",
            "(z.imag.add_(0.1), z)[1]",
            "z.mul_(0.5j)",
            "z.div_(1 + 1j)",
            "torch.lerp(z, z.conj(), 0.3)",
        ),
        *(
            "torch.where(z.real > 0, z, z.conj())",
            "torch.view_as_complex(torch.view_as_real(z) * 2)",
            "z - z.mean(1, True)",
        ),
        *("z / (1 + z.norm(dim=1, keepdim=True))", "torch.cat([z[:, :1], z[:, 1:] * 1j], 1)", "z * torch.tensor(1j)"),
        f"torch.einsum('ncl,ndl->ncd', z.flatten(2), z.flatten(2).conj()).flatten(1)[:, :{c}].view(-1, {c}, *[1] "
        f"* {v.rank}) + z",
        lambda: f"{d.module(f'nn.Linear({c}, {c}, dtype=torch.complex128)')}(z.movedim(1, -1)).movedim(-1, 1)",
        lambda: f"{d.module(f'nn.Conv{v.rank}d({c}, {c}, 1, dtype=torch.complex128)')}(z)",
        lambda: f"{d.module(f'nn.ConvTranspose{v.rank}d({c}, {c}, 1, dtype=torch.complex128)')}(z)",
        lambda: f"z * torch.view_as_complex({d.constant(c, *[1] * v.rank, 2)})",
        lambda: f"z * torch.view_as_complex({d.constant(c, *[1] * v.rank, 2)}).conj()",
    ]
    lines = [f"z = {there}", *(f"z = {d.choice(middles)}" for _ in range(d.choice([1, 1, 2, 3]))), back]
    return "\n".join(lines)


@kind("complex")
def short_time(d: Draw, v: Value) -> str | None:
    if v.channels % 2 == 0 and d.coin():
        return f"parts.rotated({v.name})"
    if v.count < 40:
        return None
    around = f"n_fft=8, hop_length=4, window=torch.hann_window(8, dtype={v.name}.dtype)"
    return f"""t = {v.name}.flatten(1)
z = torch.stft(t, {around}, return_complex=True)
z = z * z.abs().sigmoid()
torch.istft(z, {around}, length=t.shape[-1]).view({v.name}.shape)"""


# Writes


@kind("write")
@kind("write")
def written(d: Draw, v: Value) -> str | None:
    x, y, c = v.name, d.other(v), v.channels
    last = v.sizes[-1] - 1
    return d.choice(
        [
            f"t = {x} * 1.0\nt[:, 0] = t[:, -1] * 0.5\nt[:, :, 1].add_(0.3)\nt",
            f"t = {x}.clone()\nt[..., {last}] = {y}[..., 0].tanh()\nt",
            f"t = torch.zeros_like({x})\nt[:, :, 1:] = {x}[:, :, :-1]\nt + {x}",
            f"t = {x} * 1.0\nu = t[:, ::2]\nu *= 2\nt[:, 0].tanh_()\nt + u.sum(1, keepdim=True)",
            f"t = {x} * 1.0\nu = t.flatten(1)\nu[:, 3:7] = 0\nt",
            f"t = {x} * 1.0\nt[t > 0.5] = 0.5\nt",
            f"t = {x} * 1.0\nt[:, {c - 1}] += {y}[:, 0] * t[:, 0]\nt",
            # No index twice: which of two writes wins is left open, and autograd counts both.
            f"t = {x}.clone()\nt[:, {[0, c - 1][:c]}] = {y}[:, {[c - 1, 0][:c]}]\nt",
            f"t = {x} * 1.0\nt.index_fill_(1, torch.tensor([0]), 0.1)\nt",
            f"t = {x} * 1.0\nt.index_copy_(1, torch.tensor([0]), {y}[:, -1:])\nt",
            f"t = {x} * 1.0\nt.masked_fill_({y} < -0.3, -0.3)\nt",
            f"t = {x}.new_empty({x}.shape)\nt.copy_({y})\nt.mul_({x})\nt",
            f"t = {x} * 1.0\nfor i in range({c}):\n    t[:, i] = t[:, i - 1] * 0.4 + {x}[:, i]\nt",
            f"t = {x} * 1.0\nt.transpose(1, 2)[:, 0] = 0.2\nt.narrow(1, 0, 1).sigmoid_()\nt",
            f"t = {x} * 1.0\nt[:, 0].copy_({y}[:, -1])\nt.diagonal(0, 1, 2).mul_(0.5)\nt",
            f"t = {x} * 1.0\nt.scatter_(1, torch.zeros_like({x}[:, :1], dtype=torch.long), {y}[:, :1])\nt",
            f"t = {x} * 1.0\nt %= 1.5\nt",
            f"t = {x} * 1.0\nt **= 2\nt.lerp_({y}, 0.3)\nt.clamp_(min=torch.tensor(0.05, dtype=t.dtype))",
            f"t = {x} * 1.0\nt.select(1, 0).unsqueeze_(1).add_({y}[:, -1:])\nt",
            f"parts.scan_rows({x})",
            f"parts.filled({x})",
        ]
    )


# Straight-through estimators, detached parts


@kind("detached")
@kind("detached")
def detached(d: Draw, v: Value) -> str | None:
    x, c = v.name, v.channels
    d.rough()
    return d.choice(
        [
            *(
                f"parts.straight_through({x})",
                f"parts.hard_gumbel({x})",
                lambda: f"parts.nearest_code({x}, {d.constant(5, c)})",
            ),
            *(
                f"{x} / (1 + {x}.detach().abs())",
                f"{x} * {x}.amax({v.axes}, keepdim=True).detach()",
                f"{x}.detach() + {x} * 0.5",
            ),
            *(
                f"torch.cat([{x}.detach().tanh(), {x}], 1)",
                f"{x} + ({x}.sign() - {x}).detach()",
                f"({x} > 0).to({x}) * {x}",
            ),
            *(f"{x} - {x}.detach() + {x}.round()", f"torch.where({x}.detach() > 0, {x}, 0.2 * {x})"),
            f"t = {x} * 1.0\nu = t.detach()\nt[:, 0] = 0.5\nt + u",
            *(f"torch.relu({x}.detach()) * {x}", f"{x} + {x}.mean({v.axes}, keepdim=True).detach().round()"),
        ]
    )


@kind("detached")
def cut_off(d: Draw, v: Value) -> str | None:
    """A frozen part: nothing else of it reaches what comes after."""
    d.rough()
    return f"({v.name} * 1.0).detach() * 0.7"


# Decisions that Python makes


@kind("decision")
@kind("decision")
def decided(d: Draw, v: Value) -> str | None:
    x = v.name
    d.rough()
    value = d.choice(
        [
            *("t.abs().max().item()", "max(t.flatten().tolist())", "float(t.detach().numpy().max())", "float(t.std())"),
            *(
                "1.0 + int(t.detach().flatten(1).numpy().argmax())",
                "1.0 + (t > 0.5).nonzero().shape[0]",
                "t[t > 0].numel()",
            ),
            *(
                "torch.unique(t.round()).numel()",
                "1.0 + len(torch.argwhere(t > 0.2))",
                "1.0 + torch.where(t > 0)[0].numel()",
            ),
            *(
                "float(np.asarray(t.detach()).std())",
                "2.0 if t.mean() > 0 else -1.0",
                "1.0 if bool((t > 1).any()) else 0.5",
            ),
            *(
                "float(np.from_dlpack(t.detach()).mean())",
                "1.0 + int(t.flatten(1).argmax())",
                "float(np.percentile(t.detach().numpy(), 90))",
            ),
            *("torch.from_numpy(t.detach().abs().amax((2,), keepdim=True).numpy().copy())", "t.amax().tolist()"),
            *(
                "t.count_nonzero().item()",
                "round(float(t.sum()), 1)",
                "next(i for i, k in enumerate(sorted(t.flatten().tolist())) if k > -9)",
            ),
        ]
    )
    step = d.choice([f"t * (0.2 * ({value}))", f"t + 0.1 * ({value})", f"torch.tanh(t) / (1.5 + abs({value}))"])
    if d.alone():
        return f"t = {x}\n{step}"
    return f"parts.per_sample({x}, lambda t: {step})"


@kind("decision")
def branched(d: Draw, v: Value) -> str | None:
    x = v.name
    d.rough()
    test = d.choice(
        [f"{x}.mean() > 0", f"{x}.max() > 1.0", f"{x}[0, 0].sum().item() > 0", f"{x}.flatten()[0].tolist() < 0.1"]
    )
    if not d.alone():
        return None
    body = d.choice([f"{x}.tanh()", f"{x} * 2", f"torch.relu({x})", f"{x}.flip(1)"])
    if d.coin():
        return f"t = {x}\nif {test}:\n    t = {body}\nt"
    return f"t = {x}\nfor _ in range(1 + int({test})):\n    t = t + 0.3 * torch.sin(t)\nt"


# Types


@kind("type")
@kind("type")
def converted(d: Draw, v: Value) -> str | None:
    x = v.name
    d.rough()
    return d.choice(
        [
            *(
                f"{x}.float().double()",
                f"{x}.to(torch.bfloat16).to({x}.dtype)",
                f"({x}.half() * 2).to({x})",
                f"{x} + {x}.float().tanh()",
            ),
            *(
                f"({x} > 0).int() * {x}",
                f"{x} * ({x} > 0.2)",
                f"{x} + ({x} * 2).long() * 0.3",
                f"{x} * ({x} > 0).logical_not()",
            ),
            *(f"{x} + F.one_hot({x}.argmax(1), {v.channels}).movedim(-1, 1).to({x}) * {x}", f"{x} * ({x} < 0).byte()"),
            lambda: f"{d.module(f'nn.Embedding({v.channels}, {v.channels})')}({x}.argmax(1)).movedim(-1, 1) + {x}",
            f"{x}.float().matmul({x}.float().mT).double() @ {x}"
            if v.rank > 1
            else f"{x}.type(torch.float32).type_as({x})",
            f"(({x} > 0) & ({x} < 1)).double() + {x} * 0.5",
            f"{x}.bfloat16().float().double() * {x}",
        ]
    )


@kind("type")
def loss(d: Draw, v: Value) -> str | None:
    """An output without axes, beside the one that goes on."""
    d.lost(
        d.choice([f"{v.name}.pow(2).mean()", f"{v.name}.sum()", f"F.mse_loss({v.name}, torch.zeros_like({v.name}))"])
    )
    return f"{v.name} * 0.9"


# Functions of functions


@kind("function")
@kind("function")
def function(d: Draw, v: Value) -> str | None:
    x = v.name
    layer = "#"
    energy = "torch.func.grad(lambda t: (t.pow(2) / 2 - t.sin()).sum())"
    rough = [
        *(
            f"parts.Rounded.apply({x})",
            f"parts.Signed.apply({x})",
            f"parts.Reversed.apply({x})",
            f"parts.ByClass.apply({x})",
        ),
        *(f"parts.Given.apply(torch.tanh, {x})", f"parts.made_inside({x})", f"parts.Base.apply({x}) * {x}"),
    ]
    smooth = [
        *(f"parts.Swish.apply({x}, 1.5)", f"parts.Doubled.apply({x} * 1.0)", f"sum(parts.Halves.apply({x}))"),
        *(f"parts.Halves.apply({x})[1] * {x}", f"checkpoint({layer}, {x}, use_reentrant=False)"),
        *(f"checkpoint(lambda t: torch.tanh({layer}(t)) * t, {x}, use_reentrant=True)", f"torch.vmap(torch.tanh)({x})"),
        *(
            f"torch.vmap(lambda t: t / (1 + t.norm()))({x})",
            f"torch.vmap(lambda t, k: t * k.sum(), (1, 1), 1)({x}, {x})",
        ),
        *(
            f"torch.func.jvp(torch.sin, ({x},), (torch.ones_like({x}),))[1]",
            f"{energy}({x})",
            f"{x} - 0.1 * {energy}({x})",
        ),
        *(
            f"torch.func.functional_call({layer}, dict({layer}.named_parameters()), ({x},))",
            f"torch.func.vjp(torch.sin, {x})[1]({x})[0]",
        ),
        lambda: f"{d.module(f'parts.Inner({v.channels})', wrap='parts.scripted')}({x})",
        lambda: f"{d.module(f'parts.Merged({v.channels})')}({x})",
        lambda: f"{d.hooked(f'nn.Conv{v.rank}d({v.channels}, {v.channels}, 1)')}({x})",
        lambda: f"{d.hooked('nn.Tanh()')}({x})",
        lambda: f"{d.module('nn.Dropout(0.4)')}({x}) * 1.5",
        lambda: f"{d.module('nn.Identity()')}({x}) * {x}",
        f"torch.func.jacrev(lambda t: t.pow(3).sum())({x}) * 0.1",
        f"torch.utils._pytree.tree_map(torch.sin, {{'a': {x}, 'b': [{x}]}})['a']",
    ]
    if d.random.random() < 0.35:
        d.rough()
        return d.choice(rough)
    text = d.choice(smooth)
    if "#" in text:
        text = text.replace("#", d.module(f"nn.Conv{v.rank}d({v.channels}, {v.channels}, 3, padding=1)"))
    return text


# Attention and recurrent cells


@kind("sequence")
def attention(d: Draw, v: Value) -> str | None:
    if v.count // v.channels > 80:
        return None
    x, c = v.name, v.channels
    heads = 2 if c % 2 == 0 else 1
    start, end = f"t = {x}.flatten(2).transpose(1, 2)", f"t.transpose(1, 2).unflatten(2, {v.sizes})"
    module = f"nn.MultiheadAttention({c}, {heads}, batch_first=True)"
    options = f"{c}, {heads}, 8, 0.1, 'gelu', batch_first=True, norm_first={d.coin()}"
    q = f"t.unflatten(2, ({heads}, -1)).transpose(1, 2)"
    middle = d.choice(
        [
            lambda: f"t = {d.module(module)}(t, t * 0.5, t, need_weights={d.coin()})[0]",
            lambda: f"t = {d.module(f'nn.TransformerEncoderLayer({options})')}(t)",
            f"q = {q}\nt = F.scaled_dot_product_attention(q, q * 0.7, q, is_causal={d.coin()}).transpose(1, "
            f"2).flatten(2)",
            f"q = {q}\nm = torch.ones(t.shape[1], t.shape[1], dtype=torch.bool).tril()\nt = "
            f"F.scaled_dot_product_attention(q, q, q, attn_mask=m).transpose(1, 2).flatten(2)",
            f"t = (t @ t.mT / {c} ** 0.5).softmax(-1) @ t",
            "k = (t @ t.mT).masked_fill(torch.ones(t.shape[1], t.shape[1], dtype=torch.bool).triu(1), "
            "-torch.inf)\nt = k.softmax(-1) @ t + t",
            "q, k, u = t, t.roll(1, 1), t * 0.5\nt = (q.softmax(-1) @ (k.softmax(1).mT @ u))",
        ]
    )
    return f"{start}\n{middle}\n{end}"


@kind("sequence")
def recurrent(d: Draw, v: Value) -> str | None:
    x, c, hidden = v.name, v.channels, d.integer(2, 4)
    start, end = (
        f"t = {x}.flatten(2).transpose(1, 2)[:, :4]",
        f"t.transpose(1, 2)[..., None].expand(-1, -1, -1, 3){'[..., 0]' if v.rank == 1 else ''}",
    )
    cell = d.choice(["nn.LSTM", "nn.GRU", "nn.RNN"])
    both = d.coin()
    options = f"{c}, {hidden}, batch_first=True, bidirectional={both}, num_layers={d.choice([1, 2])}"
    loop = "k = []\nfor s in t.unbind(1):"
    middle = d.choice(
        [
            lambda: f"t = {d.module(f'{cell}({options})')}(t)[0]",
            lambda: f"t = {d.module(f'{cell}({c}, {hidden})')}(t.transpose(0, 1))[0].transpose(0, 1)",
            lambda: (
                f"h = t.new_zeros(len(t), {hidden})\n{loop}\n    h = {d.module(f'nn.GRUCell({c}, {hidden})')}(s, "
                f"h)\n    k.append(h)\nt = torch.stack(k, 1)"
            ),
            lambda: (
                f"h = None\n{loop}\n    h = {d.module(f'nn.LSTMCell({c}, {hidden})')}(s, h)\n    "
                f"k.append(h[0])\nt = torch.stack(k, 1)"
            ),
        ]
    )
    return f"{start}\n{middle}\n{end}"
