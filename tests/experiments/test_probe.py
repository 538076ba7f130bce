"""Probes: features that a line separates, labels that are noise, a transcription in memory, and what is left behind."""

from __future__ import annotations

import importlib
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import deconvviz as dv
from deconvviz import cli
from deconvviz.data import mnist_test
from deconvviz.errors import DataError, DependencyError, InputError, UnknownLayerError
from deconvviz.experiments import probe
from deconvviz.images import Preprocess
from deconvviz.models import mnist_cnn
from deconvviz.results import Probe
from tests.helpers.autograd_reference import untouched

probing = importlib.import_module("deconvviz.experiments.probe")  # the module, not its function
sklearn = pytest.importorskip("sklearn", reason="needs scikit-learn: deconvviz[experiments]")


def identity():
    """A network whose hidden layer is its input (N, 1, H, W)."""
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Flatten(), nn.LazyLinear(2))
    nn.init.ones_(model[0].weight)
    nn.init.zeros_(model[0].bias)
    return model


def network(images):
    model = identity()
    model(images)
    return dv.DeconvNet(model)


def two_kinds(count=60):
    """Images whose left or right half is brighter."""
    images, labels = torch.rand(count, 1, 4, 4), torch.arange(count) % 2
    images[labels == 0, :, :, :2] += 2
    images[labels == 1, :, :, 2:] += 2
    return images, labels


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder in which temporary files are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_classes_that_a_line_separates_are_told_apart():
    images, labels = two_kinds()
    found = probe(network(images), (images, labels), layers="0", progress=False)
    assert found.accuracy.tolist() == [[1.0] * 5]
    assert found.chance == 0.5
    assert found.features == (16,)
    assert found.classes == ("0", "1")
    assert found.verdict == "A linear classifier is right on 1.000 of the images from 0; chance is 0.500."


def test_what_no_line_separates_is_chance():
    """Classes by the parity of two bits: no linear classifier is better than chance, though a network could be."""
    bits = torch.randint(0, 2, (400, 2))
    images = bits[:, None, None].float() + 0.1 * torch.rand(400, 1, 1, 2)
    found = probe(network(images), (images, bits.sum(1) % 2), layers="0", progress=False)
    assert float(found.accuracy.mean()) < 0.65


def test_labels_that_are_noise_are_chance():
    images, labels = torch.rand(600, 1, 4, 4), torch.randint(0, 3, (600,))
    found = probe(network(images), (images, labels), layers=["0", "1"], progress=False)
    error = (found.chance * (1 - found.chance) / 600) ** 0.5
    assert float((found.accuracy.mean(1) - found.chance).abs().max()) < 3 * error
    assert found.verdict.startswith("No layer predicts the classes: the best is ")


def in_memory(features, labels, folds, epochs, seed):
    """The same on arrays: the features of all images at once."""
    from sklearn.linear_model import SGDClassifier
    from sklearn.model_selection import StratifiedKFold
    from sklearn.preprocessing import StandardScaler

    accuracy = []
    for train, test in StratifiedKFold(folds, shuffle=True, random_state=seed).split(features, labels):
        scaler = StandardScaler().fit(features[train])
        scaled = scaler.transform(features) / np.float32(features.shape[1] ** 0.5)
        model = SGDClassifier(loss="log_loss", alpha=1e-4, shuffle=False, random_state=seed)
        order = np.random.default_rng(seed)
        for _ in range(epochs):
            rows = order.permutation(train)
            model.partial_fit(scaled[rows], labels[rows], classes=np.unique(labels))
        accuracy.append(float((model.predict(scaled[test]) == labels[test]).mean()))
    return accuracy


def test_reading_a_few_rows_at_a_time_gives_the_numbers_of_all_in_memory(monkeypatch):
    images, labels = (one[:240] for one in mnist_test())
    net = dv.DeconvNet(mnist_cnn(pretrained=False))
    with torch.no_grad():
        maps = torch.relu(net.model.conv1(images))
        features = nn.functional.adaptive_avg_pool2d(maps, 4).flatten(1).numpy()
    expected = in_memory(features, labels.numpy(), folds=4, epochs=6, seed=3)
    assert len(set(expected)) > 1
    options = {"pool": 4, "folds": 4, "epochs": 6, "random_state": 3, "progress": False}
    for read in (2**22, 50 * 384):  # all rows, fifty of them
        monkeypatch.setattr(probing, "READ", read)
        found = probe(net, (images, labels), layers="relu1", batch_size=50, **options)
        assert found.features == (384,)
        assert found.accuracy[0].tolist() == expected


def test_the_scaler_sees_the_images_of_training_only(monkeypatch):
    from sklearn.preprocessing import StandardScaler

    images, labels = torch.rand(30, 1, 2, 2), torch.arange(30) % 2
    images[:, 0, 0, 0] = torch.arange(30)  # which image it is
    seen, fit, apply = [], StandardScaler.partial_fit, StandardScaler.transform

    def fitted(self, rows, *arguments):
        seen.append(("fit", set(rows[:, 0].tolist())))
        return fit(self, rows, *arguments)

    def transformed(self, rows, *arguments):
        seen.append(("apply", set(rows[:, 0].tolist())))
        return apply(self, rows, *arguments)

    monkeypatch.setattr(StandardScaler, "partial_fit", fitted)
    monkeypatch.setattr(StandardScaler, "transform", transformed)
    probe(network(images), (images, labels), layers="0", folds=3, epochs=1, progress=False)
    tested = set()
    for fold in range(3):
        (_, training), _, (_, test) = seen[3 * fold : 3 * fold + 3]
        assert [what for what, _ in seen[3 * fold : 3 * fold + 3]] == ["fit", "apply", "apply"]
        assert (len(training), len(test)) == (20, 10)
        assert not training & test
        tested |= test
    assert tested == set(map(float, range(30)))


def test_it_is_as_good_as_logistic_regression():
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    images, labels = (one[:300] for one in mnist_test())
    net = dv.DeconvNet(mnist_cnn(pretrained=False))
    found = probe(net, (images, labels), layers=["pool1", "fc1"], pool=7, folds=3, progress=False)
    for row, layer in enumerate(("pool1", "fc1")):
        maps = net.trace(images, layer).activations[layer]
        features = (nn.functional.avg_pool2d(maps, 2) if maps.ndim == 4 else maps).flatten(1).numpy()
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
        expected = cross_val_score(model, features, labels.numpy(), cv=3).mean()
        assert float(found.accuracy[row].mean()) == pytest.approx(expected, abs=0.04)


def test_depth_makes_digits_easier_where_the_network_was_trained():
    images, labels = (one[:300] for one in mnist_test())
    trained, random = (
        probe(dv.DeconvNet(mnist_cnn(pretrained)), (images, labels), folds=3, epochs=8, progress=False)
        for pretrained in (True, False)
    )
    assert trained.layers == ("relu1", "relu2", "relu3")
    assert trained.features == (24 * 36, 48 * 36, 128)
    assert float(trained.accuracy[2].mean()) > 0.97
    assert trained.verdict.startswith("Accuracy rises with depth")
    assert float(random.accuracy[2].mean()) < float(random.accuracy[0].mean())
    assert random.verdict.startswith("Accuracy falls with depth")


def test_the_same_seed_gives_the_same_and_another_one_other_folds():
    images, labels = (one[:150] for one in mnist_test())
    net = dv.DeconvNet(mnist_cnn(pretrained=False).train())
    with untouched(net.model):
        first, again, other = (
            probe(net, (images, labels), layers="fc1", folds=3, epochs=3, random_state=seed, progress=False)
            for seed in (0, 0, 1)
        )
    assert torch.equal(first.accuracy, again.accuracy)
    assert not torch.equal(first.accuracy, other.accuracy)


def test_nothing_is_left_in_the_temporary_folder(temporary):
    images, labels = two_kinds()
    seen = []
    net = network(images)

    class Watched(list):
        def __getitem__(self, index):
            if index == 50:
                seen.extend(sorted(path.name for path in temporary.glob("*/*")))
            return super().__getitem__(index)

    probe(net, Watched(zip(images, labels.tolist(), strict=True)), layers=["0", "1"], progress=False)
    assert seen == ["0.float32", "1.float32"]
    assert not list(temporary.iterdir())
    images[55] = torch.finfo().max
    net.model[0].weight.data.fill_(10.0)
    with pytest.raises(InputError, match="layer '0' holds 16 values that are NaN or infinite"):
        probe(net, (images, labels), layers="0", progress=False)
    assert not list(temporary.iterdir())


@pytest.fixture
def folder(tmp_path):
    """A folder with two kinds of photographs, and a file that is none."""
    for kind, colour in (("bright", 230), ("dark", 20)):
        (tmp_path / "photos" / kind).mkdir(parents=True)
        for n in range(6):
            Image.new("L", (12, 12), colour + n).save(tmp_path / "photos" / kind / f"{n}.png")
    (tmp_path / "photos" / "dark" / "x.png").write_bytes(b"no image")
    return tmp_path / "photos"


def test_a_folder_an_iterable_and_mappings(folder):
    model = identity()
    preprocess = Preprocess(4, (0.0,), (1.0,))
    model(torch.zeros(1, 1, 4, 4))
    net = dv.DeconvNet(model, preprocess=preprocess)
    found = probe(net, folder, layers="0", folds=3, progress=False)
    assert found.classes == ("bright", "dark")
    assert found.images == 12
    assert [one.name for one in found.broken] == ["dark/x.png"]
    assert float(found.accuracy.mean()) == 1
    images, labels = two_kinds()
    pairs = list(zip(images, labels.tolist(), strict=True))
    given = [(images, labels), pairs, iter(pairs), [{"image": image, "label": label} for image, label in pairs]]
    accuracies = [probe(network(images), data, layers="0", folds=3, progress=False).accuracy for data in given]
    assert all(torch.equal(one, accuracies[0]) for one in accuracies)


def test_bad_input_is_one_sentence(monkeypatch):
    images, labels = two_kinds()
    net = network(images)

    def refused(message, data=(images, labels), kind=InputError, **options):
        with pytest.raises(kind, match=message):
            probe(net, data, **{"layers": "0", **options}, progress=False)

    refused("item 0 has no label; give \\(images, labels\\)", images)
    refused("item 0 has no label", (images, -torch.ones(60, dtype=torch.long)))
    refused("the label of item 0 is 'cat', and labels are numbers of classes, from 0", [(images[0], "cat")] * 60)
    refused("the label of item 0 is 0.5, and labels are numbers", (images, torch.full((60,), 0.5)))
    refused("class 7 has 1 image, fewer than the 2 folds", (images, torch.tensor([7] + [3] * 59)), folds=2)
    refused(
        "all 60 images are of one class, 1; a classifier needs at least two", (images, torch.ones(60, dtype=torch.long))
    )
    refused("class 7 has 2 images, fewer than the 5 folds", (images, torch.tensor([7] * 2 + [3] * 58)))
    refused("no layer 'conv9'", layers=["conv9"], kind=UnknownLayerError)
    refused("no layer to look at", layers=[])
    refused("folds must be a whole number of at least 2, not 1", folds=1)
    refused("pool must be a whole number of at least 1, not 0", pool=0)
    refused("epochs must be a whole number of at least 1, not 0", epochs=0)
    refused("batch_size must be a whole number of at least 1, not 0", batch_size=0)
    refused("the dataset is empty", [], kind=DataError)
    refused("none of the 60 items could be read", (images * torch.nan, labels), kind=DataError)
    sizes = [(torch.rand(1, 4 + n % 2, 4), n % 2) for n in range(20)]
    refused("16 features of some images and 20 of others", sizes, batch_size=1, pool=None)

    def without(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(probing.importlib, "import_module", without)
    refused("scikit-learn.*pip install scikit-learn", kind=DependencyError)


def test_the_result_is_kept_drawn_and_told(tmp_path):
    images, labels = two_kinds()
    found = probe(network(images), (images, labels), layers=["0", "1"], progress=False, pool=2)
    again = Probe.load(found.save(tmp_path / "found.safetensors"))
    assert again.table() == found.table()
    assert again.table()[0] == {"layer": "0", "features": 4, "accuracy": 1.0, "±": 0.0, "chance": 0.5}
    axes = found.figure().axes[0]
    assert axes.lines[0].get_ydata().tolist() == [1.0, 1.0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1"]
    assert "neither rises nor falls clearly" in str(found)


def test_the_command(tmp_path, capsys, folder):
    out = tmp_path / "found"
    model = ["mnist", str(folder)]
    options = ["--layers", "relu1", "relu3", "--folds", "3", "--epochs", "4", "--pool", "2", "--out", str(out)]
    assert cli.main(["probe", *model, *options]) == 0
    printed, said = capsys.readouterr()
    assert printed.startswith("layer")
    assert "left out: dark/x.png" in said
    assert Probe.load(out / "probe.safetensors").features == (96, 128)
    with Image.open(out / "probe.png") as picture:
        assert picture.width > 400
    single = tmp_path / "single"
    (single / "one").mkdir(parents=True)
    Image.new("L", (28, 28)).save(single / "one" / "a.png")
    Image.new("L", (28, 28)).save(single / "b.png")
    for wrong, sentence in (
        ([*model, "--folds", "7"], "class bright has 6 images, fewer than the 7 folds"),
        ([*model, "--layers", "conv9"], "no layer 'conv9'"),
        (["mnist", str(single)], "item b.png has no label"),
        (["mnist", str(single / "one")], "item a.png has no label"),
        (["mnist", str(tmp_path / "nowhere")], "there is no folder"),
    ):
        assert cli.main(["probe", *wrong, "--out", str(out)]) == 2
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("deconvviz:")]
        assert len(errors) == 1
        assert sentence in errors[0]


def test_photographs_through_squeezenet(assets: Path):
    from deconvviz.models.by_name import load_model

    loaded = load_model("torchvision:squeezenet1_1", assets / "models" / "squeezenet1_1-imagenet.safetensors")
    net = dv.DeconvNet(loaded.model, preprocess=loaded.preprocess)
    found = probe(net, assets / "photos", layers=["features.1", "output"], pool=3, folds=3, epochs=10, progress=False)
    assert found.images == 127
    first, last = (float(one.mean()) for one in found.accuracy)
    assert last > first > found.chance + 0.05
