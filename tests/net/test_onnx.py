"""ONNX files through onnx2torch: layers have the names of the nodes, with the pictures of the network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import deconvviz as dv

onnx = pytest.importorskip("onnx")
onnx2torch = pytest.importorskip("onnx2torch")


def written(model: nn.Sequential, path: Path) -> Path:
    """The network conv, relu, pool, conv as an ONNX file, node by node."""
    helper, number = onnx.helper, onnx.TensorProto.FLOAT
    tensors = [onnx.numpy_helper.from_array(value.numpy(), name) for name, value in model.state_dict().items()]
    nodes = [
        helper.make_node("Conv", ["x", "0.weight", "0.bias"], ["a"], name="first", kernel_shape=[3, 3]),
        helper.make_node("Relu", ["a"], ["b"], name="act"),
        helper.make_node("MaxPool", ["b"], ["c"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["c", "3.weight", "3.bias"], ["y"], name="second", kernel_shape=[3, 3]),
    ]
    sizes = {"x": ["n", 3, 16, 16], "y": ["n", 5, 5, 5]}
    ends = [helper.make_tensor_value_info(name, number, shape) for name, shape in sizes.items()]
    graph = helper.make_graph(nodes, "network", ends[:1], ends[1:], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]), str(path))
    return path


@pytest.mark.filterwarnings("ignore")  # of the two packages
def test_an_onnx_file_is_projected_and_scanned_as_its_network(tmp_path: Path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3)).eval()
    x = torch.rand(2, 3, 16, 16)
    net = dv.DeconvNet(onnx2torch.convert(str(written(model, tmp_path / "net.onnx"))))
    expected = dv.DeconvNet(model).project(x, "3", channel=1).pixels
    assert torch.allclose(net.project(x, "second", channel=1).pixels, expected, atol=1e-6)
    assert dv.scan(net, x, k=1, progress=False).layers == ("first", "second")
