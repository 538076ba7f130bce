"""Files that a stranger made: one clear sentence, nothing run, no more memory than the file has bytes."""

from __future__ import annotations

import copy
import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

import deconvviz as dv
from deconvviz.errors import CheckpointError, DataError
from deconvviz.mining.progress import Runs, ScanProgress
from deconvviz.models import load_weights, mnist_cnn, read_weights, save_weights
from deconvviz.models.checkpoints import CheckpointFolder, TrainingProgress, snapshot
from deconvviz.results import LayerTable, LearningCurves, Result
from tests.helpers.untrusted_content import at_most

EIGHT = bytes(8)


def raw(header: object, data: bytes = EIGHT, length: int | None = None) -> bytes:
    """A safetensors file with this header; length: what it says of the header's size."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(shape: list, offsets: list, dtype: str = "F32") -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


NOTE = {"__metadata__": {"deconvviz": "x", "scan": "x"}}
HEADERS = {
    "more elements than bytes": raw({"a": tensor([10**15], [0, 8])}),
    "a shape that overflows": raw({"a": tensor([2**32, 2**32, 2**32], [0, 8])}),
    "no elements of an absurd shape": raw({"a": tensor([0, 2**63 - 1, 2**63 - 1], [0, 0])} | NOTE, b""),
    "offsets that overlap": raw({"a": tensor([2], [0, 8]), "b": tensor([2], [0, 8])}),
    "offsets past the end": raw({"a": tensor([2], [8, 16])}),
    "offsets backwards": raw({"a": tensor([2], [8, 0])}),
    "an unknown type": raw({"a": tensor([2], [0, 8], "PICKLE")}),
    "a negative shape": raw({"a": tensor([-2], [0, 8])}),
    "a header larger than the file": raw({}, length=2**40),
    "a header of no end": raw({}, length=2**63),
    "deep nesting": raw(b"[" * 100_000),
    "no JSON": raw(b"{'a': 1}"),
    "no text": raw(b"{\xff\xfe}"),
    "metadata that is none": raw({"__metadata__": 3}),
    "metadata of numbers": raw({"__metadata__": {"deconvviz": 1, "scan": 1}}),
    "a manifest that is no JSON": raw(NOTE, b""),
    "a manifest that is nested deeply": raw({"__metadata__": dict.fromkeys(("deconvviz", "scan"), "[" * 100_000)}, b""),
    "a manifest with a huge number": raw({"__metadata__": dict.fromkeys(("deconvviz", "scan"), "9" * 10_000)}, b""),
    "a manifest that is a list": raw({"__metadata__": dict.fromkeys(("deconvviz", "scan"), "[1]")}, b""),
    "nothing": b"",
}
READERS: dict[str, tuple[Callable[[Path], object], type[Exception]]] = {
    "result": (Result.load, DataError),
    "state of a scan": (ScanProgress.load, DataError),
    "weights": (lambda path: load_weights(nn.Linear(2, 1), path), CheckpointError),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("header", HEADERS)
def test_made_up_headers_are_refused_with_the_files_name(tmp_path: Path, header: str, reader: str):
    path = tmp_path / "made-up.safetensors"
    path.write_bytes(HEADERS[header])
    read, error = READERS[reader]
    with pytest.raises(error, match=r"made-up\.safetensors"):
        read(path)


# Results


def _results() -> dict[str, Result]:
    net = dv.DeconvNet(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sigmoid(), nn.Conv2d(2, 2, 1)))
    x = torch.randn(2, 1, 6, 6)
    return {
        "Projection": net.project(x, "2", channel=[1, 0]),
        "LayerTable": net.layers(x),
        "TopActivations": dv.scan(net, x, k=2, progress=False),
        "LearningCurves": LearningCurves(
            epochs=(1,),
            train_loss=(0.5,),
            validation_loss=(0.6,),
            train_accuracy=(0.9,),
            validation_accuracy=(0.8,),
            diagnosis="good",
            settings={"seed": 3},
        ),
    }


ODD = (
    None,
    True,
    -1,
    0.5,
    float("nan"),
    "x",
    [],
    ["x"],
    [[1]],
    {},
    {"tensor": "absent"},
    {"kind": "Unit", "fields": {}},
)


def _changed(value: object) -> Iterator[object]:
    """`value` with one thing in it taken away, doubled or replaced, all of them."""
    pairs = list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ())
    for key, held in pairs:
        for odd in (*ODD, *_changed(held)):
            other = copy.copy(value)
            other[key] = odd
            yield other
        other = copy.copy(value)
        del other[key]
        yield other
    if isinstance(value, dict):
        yield value | {"extra": 1}


@pytest.mark.parametrize("kind", ["Projection", "LayerTable", "TopActivations", "LearningCurves"])
def test_a_result_with_anything_changed_is_refused_or_has_the_right_types(tmp_path: Path, kind: str):
    path = _results()[kind].save(tmp_path / "result")
    with safe_open(path, "pt") as stored:
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        manifest = json.loads(stored.metadata()["deconvviz"])
    refused = 0
    for changed in _changed(manifest):
        save_file(tensors, path, {"deconvviz": json.dumps(changed)})
        try:
            found = Result.load(path)
        except DataError:
            refused += 1
        else:
            assert type(found).__name__ == kind, changed
            found.save(tmp_path / "again")
    assert refused > 50


def test_what_is_wrong_in_a_result_is_named(tmp_path: Path):
    table = LayerTable(
        (
            dv.results.LayerInfo(
                name="conv1", kind="Conv2d", shape=(1, 2), stride=None, offset=None, receptive_field=("3", 3)
            ),
        )
    )  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"\(LayerInfo.receptive_field is a tuple, not tuple\[int, \.\.\.\] \| None\)"):
        LayerTable.load(table.save(tmp_path / "table"))
    curves = LearningCurves(
        epochs=(1,),
        train_loss=("low",),
        validation_loss=(0.6,),
        train_accuracy=(0.9,),
        validation_accuracy=(0.8,),
        diagnosis="good",
    )  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"\(LearningCurves.train_loss\[0\] is a str, not float\)"):
        LearningCurves.load(curves.save(tmp_path / "curves"))
    save_file({}, tmp_path / "twice", {"deconvviz": '{"format": 1, "format": 1, "result": 1}'})
    with pytest.raises(DataError, match="'format' comes twice"):
        Result.load(tmp_path / "twice")


def test_tensors_of_odd_names_do_not_take_each_others_place(tmp_path: Path):
    names = {"a": {"b": torch.zeros(1)}, "a.b": torch.ones(1), "\ud800": torch.ones(2), "\\ud800": torch.zeros(2)}
    curves = LearningCurves(
        epochs=(1,),
        train_loss=(0.5,),
        validation_loss=(0.6,),
        train_accuracy=(0.9,),
        validation_accuracy=(0.8,),
        diagnosis="good",
        settings=names,
    )
    found = LearningCurves.load(curves.save(tmp_path / "curves")).settings
    assert list(found) == list(names)
    values = [found["a"]["b"], *list(found.values())[1:]]
    assert [value.tolist() for value in values] == [[0], [1], [1, 1], [0, 0]]


# The state of a scan


@pytest.fixture
def state(tmp_path: Path) -> Path:
    dv.scan(dv.DeconvNet(nn.Conv2d(1, 2, 3)), torch.rand(9, 1, 6, 6), k=2, batch_size=3, state=tmp_path, progress=False)
    return tmp_path / "rank-0.safetensors"


def _parts(path: Path) -> tuple[dict[str, torch.Tensor], dict]:
    with safe_open(path, "pt") as stored:
        return {name: stored.get_tensor(name) for name in stored.keys()}, json.loads(stored.metadata()["scan"])  # noqa: SIM118


def test_a_state_with_anything_changed_is_refused_or_has_the_right_types(state: Path):
    tensors, manifest = _parts(state)
    refused = 0
    for changed in _changed(manifest):
        save_file(tensors, state, {"scan": json.dumps(changed)})
        try:
            progress, identity = ScanProgress.load(state)
        except DataError:
            refused += 1
        else:
            assert isinstance(identity, dict)
            ScanProgress({}).merge(progress)
    assert refused > 50


def test_a_state_that_claims_all_batches_takes_no_memory(state: Path):
    tensors, manifest = _parts(state)
    save_file(tensors, state, {"scan": json.dumps(manifest | {"done": [[0, 10**15]]})})
    progress, _ = ScanProgress.load(state)
    assert len(progress.done) == 10**15 + 1
    assert progress.done.runs == [[0, 10**15]]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("values", torch.zeros(2)),
        ("values", torch.zeros(2, 2)),
        ("values", torch.zeros(2, 0, dtype=torch.float64)),
        ("images", torch.zeros(2, 3, dtype=torch.long)),
        ("sums", torch.zeros(2, 1, dtype=torch.long)),
        ("dimensions", torch.tensor(10**9)),
        ("dimensions", torch.tensor([1, 2])),
        ("histogram", None),
    ],
)
def test_a_state_with_other_tensors_is_refused(state: Path, name: str, value: torch.Tensor | None):
    tensors, manifest = _parts(state)
    tensors.pop(f"0.{name}")
    save_file(tensors | ({} if value is None else {f"0.{name}": value}), state, {"scan": json.dumps(manifest)})
    with pytest.raises(DataError, match="is not a scan state"):
        ScanProgress.load(state)


def test_runs_are_those_of_a_set():
    draw = torch.Generator().manual_seed(0)
    for _ in range(50):
        numbers = torch.randint(0, 30, (25,), generator=draw).tolist()
        one, other = Runs(), Runs()
        for number in numbers[:15]:
            one.add(number)
        for number in numbers[15:]:
            other.add(number)
        whole = one | other
        assert [number for number in range(-1, 31) if number in whole] == sorted(set(numbers))
        assert len(whole) == len(set(numbers))
        assert all(last + 1 < first for (_, last), (first, _) in zip(whole.runs, whole.runs[1:], strict=False))


# Weights and training states


def _refused(path: Path, sentence: str) -> None:
    with at_most(50e6), pytest.raises(CheckpointError, match=sentence):
        load_weights(nn.Linear(2, 1), path)


def test_a_zip_bomb_is_refused(tmp_path: Path):
    torch.save(nn.Linear(2, 1).state_dict(), tmp_path / "good.pt")
    with zipfile.ZipFile(tmp_path / "good.pt") as good, zipfile.ZipFile(tmp_path / "bomb.pt", "w") as bomb:
        for part in good.infolist():
            packed = part.filename.endswith("data/0")
            content = bytes(300_000_000) if packed else good.read(part)
            bomb.writestr(part.filename, content, zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED)
    _refused(tmp_path / "bomb.pt", r"would unpack to more than its [\d,]+ bytes")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_asks_for_memory_is_refused(tmp_path: Path, zipped: bool):
    greedy = b"\x80\x02c__builtin__\nbytearray\nJ\x00\x00\x00\x40\x85R."  # bytearray(2**30)
    if zipped:
        with zipfile.ZipFile(tmp_path / "greedy.pt", "w") as archive:
            for name, content in (("data.pkl", greedy), ("version", b"3\n"), ("byteorder", b"little")):
                archive.writestr(f"greedy/{name}", content)
    else:
        buffer = io.BytesIO()
        torch.save({}, buffer, _use_new_zipfile_serialization=False)
        start = buffer.getvalue()
        state = pickle.dumps({}, protocol=2)
        (tmp_path / "greedy.pt").write_bytes(start[: start.rindex(state)] + greedy + pickle.dumps([], protocol=2))
    _refused(tmp_path / "greedy.pt", "asks for memory in a way that no state dict does|truncated or neither")


def test_absurd_and_odd_tensors_are_named(tmp_path: Path):
    line = nn.Linear(2, 1).state_dict()
    for weight, sentence in (
        (torch.zeros(1).expand(10**7, 10**8), "weight is 10000000 x 100000000 in the file, 1 x 2 in the model"),
        (torch.tensor([[1.0, torch.nan]]), r"weight holds values that are no number \(NaN\)"),
        (torch.zeros(1, 2, dtype=torch.int8), "weight is torch.int8 in the file, torch.float32 in the model"),
        (torch.zeros(1, 2, dtype=torch.complex64), "weight is torch.complex64 in the file"),
        (torch.zeros(1, 2, device="meta"), "weight is sparse, quantised or without values"),
    ):
        torch.save(line | {"weight": weight}, tmp_path / "odd.pt")
        _refused(tmp_path / "odd.pt", sentence)
    torch.save(line | {"\x1b[2J" + "long" * 10**6: torch.zeros(1)}, tmp_path / "odd.pt")
    with pytest.raises(CheckpointError) as caught:
        load_weights(nn.Linear(2, 1), tmp_path / "odd.pt")
    assert len(str(caught.value)) < 400
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    "said", ['{"channels": [1000000, 1000000]}', '{"width": "wide"}', "[1]", "3", "[" * 10**5, '{"x": 1}']
)
def test_an_architecture_takes_memory_only_for_weights_that_are_there(tmp_path: Path, said: str):
    save_weights(mnist_cnn(), tmp_path / "w.safetensors", metadata={"architecture": said})
    with pytest.raises(CheckpointError, match=r"w\.safetensors' (describes no|does not fit) MnistCNN"):
        mnist_cnn(weights=tmp_path / "w.safetensors")


def test_nothing_in_any_reader_runs_pickled_code(tmp_path: Path):
    class Code:
        def __reduce__(self) -> tuple:
            return Path.touch, (tmp_path / "ran",)

    for name in ("state.pt", "rank-0.safetensors", "result.safetensors"):
        torch.save({"deconvviz": 1, "x": Code()}, tmp_path / name)
    for read in (Result.load, ScanProgress.load, read_weights):
        with pytest.raises((DataError, CheckpointError)):
            read(tmp_path / "result.safetensors")
    with pytest.raises(CheckpointError):
        _resumed(tmp_path)
    assert not (tmp_path / "ran").exists()


def _resumed(folder: Path, optimiser: str = "Adam", save: bool = False) -> None:
    """A training that is resumed, where there is one, and goes on for a step."""
    model = nn.Conv2d(1, 2, 3)
    options = {} if optimiser == "Adam" else {"momentum": 0.5}
    steps = getattr(torch.optim, optimiser)(model.parameters(), lr=0.1, **options)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    kept = CheckpointFolder(folder, {"setting": "1"})
    try:
        progress = kept.resume(model, steps)
    except CheckpointError:
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        raise
    model(torch.ones(1, 1, 4, 4)).sum().backward()
    steps.step()
    for curve in progress.curves.values():
        curve.append(0.5)
    assert progress.best_epoch == 1
    if save:
        kept.save(TrainingProgress(progress.curves, snapshot(model)), model, steps, {})


@pytest.mark.parametrize("optimiser", ["Adam", "SGD"])
def test_a_training_state_with_anything_changed_is_refused_or_harmless(tmp_path: Path, optimiser: str):
    _resumed(tmp_path, optimiser, save=True)
    whole = torch.load(tmp_path / "state.pt", weights_only=True)
    odd = (
        None,
        -1,
        "x",
        [],
        {},
        {"x": 1},
        {0: {}},
        {0: {"exp_avg": 1}},
        torch.zeros(3),
        torch.zeros(1).expand(10**9, 9),
        torch.tensor(-1.0),
    )
    changes = [{**whole, part: value} for part in whole for value in odd]
    for part in ("identity", "curves", "weights", "best_weights", "optimiser"):
        for key in whole[part]:
            changes += [{**whole, part: {**whole[part], key: value}} for value in odd]
            changes.append({**whole, part: {name: value for name, value in whole[part].items() if name != key}})
    states = whole["optimiser"]["state"]
    for name in states[0]:
        for value in odd:
            entries = {"state": {**states, 0: {**states[0], name: value}}}
            changes.append({**whole, "optimiser": {**whole["optimiser"], **entries}})
    refused = 0
    for changed in changes:
        torch.save(changed, tmp_path / "state.pt")
        try:
            _resumed(tmp_path, optimiser)
        except CheckpointError:
            refused += 1
    assert refused > len(changes) // 2
