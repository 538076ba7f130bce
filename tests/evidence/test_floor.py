"""The floor of a similarity, against pictures written out by hand; claims are about the distance from it."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.data import mnist_test
from deconvviz.evidence import clarity, randomisation, selectivity
from deconvviz.evidence.floor import Controls
from deconvviz.evidence.randomisation import randomise
from deconvviz.intervals import difference_from_draws
from deconvviz.models import mnist_cnn
from deconvviz.results import Randomisation, Selectivity


def images(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 1, 10, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def network() -> dv.DeconvNet:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 3, 4, bias=False)]
    return dv.DeconvNet(nn.Sequential(*layers).double())


def gradient(net: dv.DeconvNet, image: torch.Tensor, channel: int) -> torch.Tensor:
    image = image[None].clone().requires_grad_()
    net.model(image)[0, channel].sum().backward()
    return image.grad.flatten()


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a, b, dim=0))


def test_the_controls_are_other_units_and_other_images():
    net, x = network(), images(9)
    found = randomisation(net, x, "3", methods=["gradient"], progress=False)
    scores = net.model(x)[:, :, 0, 0]
    first, second = scores.topk(2).indices.T.tolist()
    pairs = {"other_unit": [], "other_image": [], "both": []}
    for n in range(9):
        following = (n + 1) % 9
        own = gradient(net, x[n], first[n])
        pairs["other_unit"].append(cosine(own, gradient(net, x[n], second[n])))
        pairs["other_image"].append(cosine(own, gradient(net, x[following], first[n])))
        pairs["both"].append(cosine(own, gradient(net, x[following], second[n])))
    for name, values in pairs.items():
        assert getattr(found.floors["gradient"], name).mean == pytest.approx(sum(values) / 9, abs=1e-9), name
    trained = [gradient(net, x[n], first[n]) for n in range(9)]
    old = {name: value.clone() for name, value in net.model.state_dict().items()}
    for seed in range(3):
        randomise(net.model, ["3"], 1000 * seed)
        kept = [cosine(gradient(net, x[n], first[n]), trained[n]) for n in range(9)]
        assert found.cosine["gradient"][seed, 0].tolist() == pytest.approx(kept, abs=1e-9)
        net.model.load_state_dict(old)


def test_absolute_ranks_say_kept_where_the_signed_picture_changed_completely():
    """A picture that marks the same pixels with other signs each time."""

    def shuffled_signs(model, x, layer, places):
        seed = int(next(model.parameters()).double().sum().abs() * 1e6) % 2**31 + int(x.double().sum().abs() * 1e6)
        signs = torch.randint(0, 2, x.shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1
        return signs * (torch.arange(100).view(1, 1, 10, 10) + 1.0)

    found = randomisation(network(), images(12), "3", methods={"signs": shuffled_signs}, progress=False)
    # Of two layers, the unit's is random first; the method reads the weights of the other.
    assert float(found.spearman["signs"][-1].mean()) == pytest.approx(1)
    assert abs(float(found.cosine["signs"][:, -1].mean())) < 0.1
    alike = selectivity(network(), images(12), "3", count=3, methods={"signs": shuffled_signs}, progress=False)
    assert alike.spearman["signs"].mean == pytest.approx(1)
    assert abs(alike.floors["signs"].both.mean) < 0.1


def test_one_image_and_one_channel_have_no_floor():
    torch.manual_seed(0)
    net = dv.DeconvNet(nn.Sequential(nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 3)).double())
    found = randomisation(net, images(1), "1", methods=["gradient"], progress=False)
    assert str(found.floors["gradient"].both) == "none"
    assert "1 image is too few to say; use at least 8" in found.verdict
    assert found.figure().axes
    many = randomisation(net, images(9), "1", methods=["gradient"], progress=False)
    assert many.floors["gradient"].other_image.images == 9
    assert many.floors["gradient"].other_unit.images == 0


@pytest.mark.parametrize(
    ("spread", "said"),
    [(0.1, "it depends on these layers."), (0.5, "how much it depends on these layers is not shown.")],
)
def test_what_may_be_kept_is_not_said_to_be_gone(spread, said):
    """Neither cosine is surely above the floor; with the wide one, more than half of the picture may be kept."""
    noise = torch.tensor([-1.2, 1.0, 0.3, -0.6, 1.1, -1.0, 0.8, -0.4], dtype=torch.float64)
    verdict = inspect.unwrap(randomisation).__globals__["_verdict"]
    kept = 0.1 + spread * (noise + 0.5)
    floor = torch.full((8,), 0.1, dtype=torch.float64)
    assert verdict({"mine": kept.expand(3, 8)}, {"mine": floor}, "cascading").endswith(said)


def test_a_verdict_says_what_all_seeds_say():
    """The first draw leaves the picture as it is, the others replace it."""
    calls = iter(range(100))

    def by_draw(model, x, layer, places):
        seed = next(calls)  # 0: the trained picture; 1 and 2: the layers of the first draw; ... ; 7 to 9: the controls
        return x if seed <= 2 or seed >= 7 else torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))

    found = randomisation(network(), images(12), "3", methods={"mine": by_draw}, progress=False)
    assert "depending on the seed of the weights" in found.verdict


def test_older_files_are_shown(tmp_path):
    """Results without cosines, as versions before wrote them."""
    net, x = dv.DeconvNet(mnist_cnn()), mnist_test()[0][:9]
    found = randomisation(net, x, "conv2", methods=["gradient"], progress=False)
    old = Randomisation(
        units=found.units,
        mode=found.mode,
        layers=found.layers,
        spearman=found.spearman,
        ssim=found.ssim,
        kept=found.kept,
        verdict="The picture keeps a rank correlation.",
    )
    loaded = Randomisation.load(old.save(tmp_path / "old.safetensors"))
    assert loaded.figure().axes
    assert list(loaded.table()[0]) == ["layer", "gradient", "gradient, SSIM"]
    chosen = selectivity(net, x, "conv2", methods=["gradient"], progress=False)
    plain = Selectivity(units=chosen.units, spearman=chosen.spearman, ssim=chosen.ssim, verdict="They differ.")
    shown = Selectivity.load(plain.save(tmp_path / "plain.safetensors"))
    assert shown.figure().axes
    assert list(shown.table()[0]) == ["method", "rank correlation", "SSIM", "pairs", "with a blank picture"]
    full = Randomisation.load(found.save(tmp_path / "new.safetensors"))
    assert full.floors == found.floors
    assert str(full) == str(found)


def test_an_untrained_network_shows_no_more_and_no_less_than_random_weights():
    """One draw against five more: a verdict on this is wrong in 5 % of the cases at most."""
    x, wrong = mnist_test()[0][:9], 0
    for seed in range(12):
        torch.manual_seed(seed)
        net = dv.DeconvNet(nn.Sequential(nn.Conv2d(1, 4, 5), nn.ReLU(), nn.Conv2d(4, 4, 5)))
        verdict = clarity(net, x, random_state=100 * seed, progress=False).verdict
        wrong += "shows no more of the image" not in verdict
    assert wrong <= 2  # 1 - binomial(12, 0.05): three or more happen in 2 % of the runs


def test_a_trained_network_that_hardly_differs_from_random_weights_is_no_finding():
    """A difference at p = 0.043 would be one if the verdict had one question."""
    drawn = torch.tensor([0.50, 0.52, 0.54, 0.56, 0.58]).double()[:, None, None].expand(5, 1, 9)
    verdict = inspect.unwrap(clarity).__globals__["_verdict"]
    near, far = (torch.full((1, 9), value, dtype=torch.float64) for value in (0.64, 0.72))
    assert 0.02 < difference_from_draws(0.64, drawn[:, 0, 0]).p < 0.05
    assert "shows no more of the image" in verdict(["conv2"], near, drawn)
    assert difference_from_draws(0.72, drawn[:, 0, 0]).p < 0.02
    assert "shows more of the image" in verdict(["conv2"], far, drawn)


@pytest.mark.parametrize(
    ("image", "unit", "said"),
    [
        (0.0, 0.0, "is not shown to have more of the image or of the unit than chance"),
        (0.1, 0.0, "shows a little of the image, and is not shown to have anything of the unit"),
        (0.1, 0.2, "is specific to the unit"),
        (0.5, 0.0, "is partly specific to the unit"),
        (0.8, 0.2, "shows the image more than the unit"),
        (-0.2, -0.2, "is not shown to have more of the image or of the unit than chance"),
    ],
)
def test_what_is_said_of_shared_images_and_units(image, unit, said):
    noise = torch.tensor([-0.04, 0.03, 0.01, -0.02, 0.04, -0.03, 0.02, -0.01], dtype=torch.float64)
    floor = 0.1 + noise
    cosines = Controls(floor + image + noise.flip(0), floor + unit + noise.roll(3), floor)
    verdict = inspect.unwrap(selectivity).__globals__["_verdict"]({"mine": cosines}, {"mine": 0}, 15, 0)
    assert verdict.endswith(f"the picture {said}.")
