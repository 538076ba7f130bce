"""Models as people have them: wrapped, scripted, compiled, pruned, in low precision, with any inputs and outputs."""

from __future__ import annotations

import dataclasses
import os

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from torch.utils.checkpoint import checkpoint

import deconvviz as dv
from deconvviz.errors import InputError, ModelError, UnsupportedOperation
from tests.helpers.autograd_reference import randomised, reference, relative_error
from tests.helpers.small_networks import Around, SmallResidual


@pytest.fixture
def plain():
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 4, 3), nn.ReLU()).eval()


@pytest.fixture
def x():
    return torch.randn(2, 3, 16, 14)


def project(model, x, layer="output"):
    return dv.DeconvNet(model).project(x, layer, channel=[0, 2]).pixels


# Wrappers and other forms of the same network


def autocast(inner, x):
    with torch.autocast("cpu", torch.bfloat16):
        return inner(x).float()


def without_gradient(inner, x):
    with torch.no_grad():
        return inner(x)


FORMS = {
    "DataParallel": nn.DataParallel,
    "compiled": lambda model: torch.compile(model),
    "a compiled part": lambda model: Around(torch.compile(model), lambda inner, x: inner(x)),
    "scripted": torch.jit.script,
    "a scripted part": lambda model: Around(torch.jit.script(model), lambda inner, x: inner(x)),
    "traced": lambda model: torch.jit.trace(model, torch.zeros(1, 3, 16, 14)),
    "an FX graph": torch.fx.symbolic_trace,
    "checkpointed": lambda model: Around(model, lambda inner, x: checkpoint(inner, x, use_reentrant=False)),
    "checkpointed, reentrant": lambda model: Around(model, lambda inner, x: checkpoint(inner, x, use_reentrant=True)),
    "checkpointed in parts": lambda model: Around(
        model, lambda inner, x: torch.utils.checkpoint.checkpoint_sequential(inner, 2, x, use_reentrant=False)
    ),
    "without gradient": lambda model: Around(model, without_gradient),
    "channels last": lambda model: model.to(memory_format=torch.channels_last),
    "exported": lambda model: torch.export.export(model, (torch.zeros(2, 3, 16, 14),)).module(),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("name", FORMS)
def test_other_forms_of_a_network_give_the_same(name, plain, x):
    expected = project(plain, x, "4")
    found = project(FORMS[name](plain), x)
    assert relative_error(found, expected) < 1e-5


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_distributed_data_parallel(plain, x, tmp_path):
    expected = project(plain, x, "4")
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(plain)
        assert torch.equal(project(wrapped, x, "4"), expected)
        assert [row.name for row in dv.DeconvNet(wrapped).layers(x)] == ["0", "1", "2", "3", "4", "output"]
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_scripted_modules_are_layers_and_so_are_operations_of_scripted_parts(plain, x):
    expected = project(plain, x, "3")
    for form in ("scripted", "traced"):
        net = dv.DeconvNet(FORMS[form](plain))
        names = [row.name for row in net.layers(x)]
        assert names == ["0", "1", "2", "3", "4", "output"]
        assert relative_error(net.project(x, "3", channel=[0, 2]).pixels, expected) < 1e-5
    part = dv.DeconvNet(FORMS["a scripted part"](plain))
    assert relative_error(part.project(x, "inner.convolution_1", channel=[0, 2]).pixels, expected) < 1e-5


def test_compiled_parts_keep_the_names_of_what_they_compile(plain, x):
    names = [row.name for row in dv.DeconvNet(FORMS["a compiled part"](plain)).layers(x)]
    assert names == ["inner.0", "inner.1", "inner.2", "inner.3", "inner.4", "inner", "output"]


@pytest.mark.parametrize(
    "change",
    [
        lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
        parametrizations.weight_norm,
        parametrizations.spectral_norm,
        parametrizations.orthogonal,
        nn.utils.spectral_norm,
    ],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_pruned_and_parametrised_weights(change, x):
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3)).double().eval()
    change(model[0])
    x = x.double()
    projection = dv.DeconvNet(model).project(x, "2", channel=[1, 3])
    _, expected = reference(model, x, "2", [(u.sample, u.channel, *u.position) for u in projection.units])
    assert relative_error(projection.pixels, expected) < 1e-10
    assert projection.provenance.linearised == ()


# Precision


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 4e-3), (torch.bfloat16, 3e-2)])
def test_low_precision_is_as_right_as_its_rounding(plain, x, dtype, tolerance):
    rounded = [parameter.to(dtype).float() for parameter in plain.parameters()]
    low = project(plain.to(dtype), x.to(dtype), "4")
    assert low.dtype == torch.float32  # what arrives can be larger than a half holds
    for parameter, value in zip(plain.float().parameters(), rounded, strict=True):
        parameter.data.copy_(value)
    assert relative_error(low.float(), project(plain, x.to(dtype).float(), "4")) < tolerance


def test_autocast_inside_and_around_a_model(plain, x):
    expected = project(plain, x, "4")
    inside = dv.DeconvNet(Around(plain, autocast)).project(x, "inner.4", channel=[0, 2])
    with torch.autocast("cpu", torch.bfloat16):
        around = dv.DeconvNet(plain).project(x, "4", channel=[0, 2])
    for found in (inside, around):
        assert found.pixels.dtype == torch.float32
        assert 0 < relative_error(found.pixels, expected) < 0.05


def test_a_projection_is_not_rounded_by_an_active_autocast(plain, x):
    net = dv.DeconvNet(plain)
    trace = net.trace(x, "4")
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(net.project(trace, "4").pixels, net.project(x.clone(), "4").pixels) is False
        found = net.project(trace, "4", channel=[0, 2]).pixels
    assert torch.equal(found, project(plain, x, "4"))


def test_layers_of_a_model_without_numbers():
    with torch.device("meta"):
        model = torchvision.models.vit_h_14(weights=None)
        table = dv.DeconvNet(model).layers(torch.zeros(1, 3, 224, 224))
    assert table["conv_proj"].shape == (1, 1280, 16, 16)
    assert table["conv_proj"].stride == (14.0, 14.0)


@pytest.mark.parametrize("place", [0, 2])
def test_weights_without_numbers_are_refused(place):
    """torch's convolution of them on the CPU returns whatever lies in memory."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
    model[place].to_empty(device="meta")
    net, x = dv.DeconvNet(model), torch.rand(2, 3, 8, 8)
    said = f"'{place}.weight' of the model is on the device meta, which has no numbers; load its weights"
    for wrong in (net.layers, net.trace, lambda x: net.project(x, "2"), lambda x: dv.scan(net, x, progress=False)):
        with pytest.raises(InputError, match=said):
            wrong(x)
    model[place].to_empty(device="cpu")
    nn.init.ones_(model[place].weight)
    assert len(dv.DeconvNet(model).project(x, "2").units) == 4


# Several inputs and outputs


class TwoInputs(nn.Module):
    """An image and a mask; the mask scales the features."""

    def __init__(self):
        super().__init__()
        self.image, self.mask, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(1, 4, 3), nn.Conv2d(4, 2, 1)

    def forward(self, image, mask, scale=1.0):
        return {"all": [self.last(torch.relu(self.image(image)) + self.mask(mask) * scale)]}


def test_several_inputs_by_place_and_by_name(x):
    model, mask = TwoInputs().double(), torch.randn(2, 1, 16, 14, dtype=torch.float64)
    x = x.double()
    net = dv.DeconvNet(model)
    by_place = net.project((x, mask, 2.0), "output[all][0]", channel=1, seed="one")
    by_name = net.project({"mask": mask, "image": x, "scale": 2.0}, "output[all][0]", channel=1, seed="one")
    leaf = mask.clone().requires_grad_()
    made = model(x, leaf, 2.0)["all"][0]
    for unit in by_place.units:
        (expected,) = torch.autograd.grad(made[(unit.sample, 1, *unit.position)], leaf, retain_graph=True)
        assert relative_error(by_place.others["[1]"][unit.sample][None], expected[unit.sample][None]) < 1e-10
    assert torch.equal(by_place.pixels, by_name.others["[image]"])
    assert torch.equal(by_place.others["[1]"], by_name.pixels)
    assert set(net.reconstruct((x, mask), "last").others) == {"[1]"}
    with pytest.raises(InputError, match=r"argument \[1\] holds 1 value that is NaN or infinite, of 448"):
        net.project((x, torch.where(mask == mask.max(), torch.nan, mask)), "last", channel=0)
    with pytest.raises(InputError, match="no floating-point tensor among the arguments"):
        net.project((3, "a"), "last", channel=0)


@dataclasses.dataclass
class Found:
    scores: Tensor
    features: tuple[Tensor, ...]


def test_outputs_in_dataclasses_and_named_tuples(plain, x):
    made = Around(plain, lambda inner, x: Found(inner(x).mean((2, 3)), (inner(x),)))
    net = dv.DeconvNet(made)
    assert [row.name for row in net.layers(x)][-2:] == ["output[scores]", "output[features][0]"]
    assert torch.equal(net.project(x, "output[features][0]", channel=[0, 2]).pixels, project(plain, x, "4"))


def test_outputs_of_transformers_models(x):
    transformers = pytest.importorskip("transformers")
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    model = randomised(transformers.ResNetModel(config)).eval()
    net = dv.DeconvNet(model)
    projection = net.project({"pixel_values": x}, "output[last_hidden_state]", channel=[0, 7])
    _, expected = reference(
        model, x, "encoder.stages.1", [(u.sample, u.channel, *u.position) for u in projection.units]
    )
    assert relative_error(projection.pixels, expected) < 1e-5


def test_a_detector_takes_a_list_of_images():
    model = torchvision.models.detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None)
    randomised(model)
    images = [torch.rand(3, 40, 50), torch.rand(3, 60, 30)]
    net = dv.DeconvNet(model)
    projection = net.project((images,), "backbone.features.0.0.0", channel=[0, 3], position=(1, 4, 5))
    assert projection.pixels.shape == (2, 3, 40, 50)
    assert float(projection.pixels.abs().max()) == 0  # the unit is one of the second image, row 1 of the batch
    assert projection.others["[0][1]"].shape == (2, 3, 60, 30)
    assert float(projection.others["[0][1]"].abs().max()) > 0


# What is refused


class Quantised(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        return torch.quantize_per_tensor(self.linear(x), 0.1, 0, torch.quint8).dequantize()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_what_cannot_be_followed_is_refused_with_what_to_do_instead():
    x = torch.rand(2, 4)
    dynamic = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(4, 4)), {nn.Linear})
    with pytest.raises(ModelError, match=r"Sequential is quantised, .* project the floating-point model"):
        dv.DeconvNet(dynamic)
    with pytest.raises(UnsupportedOperation, match=r"quantize_per_tensor in .* project the floating-point model"):
        dv.DeconvNet(Quantised()).layers(x)
    sparse = Around(nn.Linear(4, 4), lambda inner, x: torch.sparse.mm(inner(x).to_sparse(), torch.eye(4)))
    with pytest.raises(
        UnsupportedOperation, match=r"makes a sparse_coo tensor, .* give the model dense, padded tensors"
    ):
        dv.DeconvNet(sparse).layers(x)
    nested = Around(
        nn.Linear(4, 4),
        lambda inner, x: torch.nested.to_padded_tensor(torch.nested.as_nested_tensor(list(inner(x))), 0.0),
    )
    with pytest.raises(UnsupportedOperation, match=r"makes a nested tensor, .* give the model dense, padded tensors"):
        dv.DeconvNet(nested).layers(x)


@pytest.mark.cuda
def test_on_another_device(x):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    model = randomised(SmallResidual()).double().eval()  # in single precision, near-ties flip
    images = torch.randn(2, 3, 33, 29, dtype=torch.float64)
    expected = {layer: dv.DeconvNet(model).project(images, layer).pixels for layer in ("wide", "fc")}
    model, images = model.cuda(), images.cuda()
    for layer, pixels in expected.items():
        projection = dv.DeconvNet(model).project(images, layer)
        assert projection.pixels.device.type == "cuda"
        assert relative_error(projection.pixels.cpu(), pixels) < 1e-10
    assert os.environ.get("CUDA_LAUNCH_BLOCKING") is None
