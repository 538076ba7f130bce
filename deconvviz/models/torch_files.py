"""Files written by torch, read without ever running code from them.

A checkpoint is unpickled by torch under ``weights_only=True``. Numbers, paths and settings that trainers put beside the
weights are replaced by empty stand-ins, so that no code of theirs runs either. TorchScript archives, exported programs
and pickled models are recognised by what is in them and refused with the way out.
"""

from __future__ import annotations

import os
import pickletools
import re
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import torch

from deconvviz.errors import CheckpointError
from deconvviz.io.atomic import may_hang
from deconvviz.io.restoring import Restored

PICKLES = 5  # in a file as torch wrote them before 1.6

# What trainers keep beside the weights, by its name in the pickle: what follows stands in for it.
BESIDE = re.compile(
    r"numpy\.(_?core\.(multiarray|numeric)\.\w+|dtype|ndarray|dtypes\.\w+|random\.\w+(\.\w+)*)"
    r"|argparse\.Namespace|types\.SimpleNamespace|datetime\.\w+|pathlib(\._local)?\.\w+|uuid\.UUID|decimal\.Decimal"
    r"|fractions\.Fraction|omegaconf(\.\w+)+|builtins\.(slice|range|frozenset|list|tuple|dict|object)"
    r"|copyreg\._reconstructor|typing\.Any"
)
BESIDE_DICTS = re.compile(
    r"collections\.defaultdict|(\w+\.)*(AttributeDict|AttrDict|EasyDict|CfgNode|ConfigDict|Munch|Box)"
)

MODULES_NOW = {"__builtin__": "builtins", "copy_reg": "copyreg"}  # as torch reads pickles of protocol 2

# The beginning of files that are no weights for torch.
STARTS = {
    b"version https://git-lfs": "is a pointer of Git LFS, not the file itself; fetch it with git lfs pull",
    b"\x89HDF\r\n\x1a\n": "is an HDF5 file, as Keras writes; deconvviz reads safetensors files and torch checkpoints",
    b"<!DOCTYPE": "is a web page, not a file of weights; download the file that the page links to",
    b"<html": "is a web page, not a file of weights; download the file that the page links to",
}


def load_plain(path: str | os.PathLike[str]) -> object:
    """The content of a file written by `torch.save`, on the CPU, if it is only tensors and plain values.

    Numbers of numpy, paths, dates and settings of known trainers are empty stand-ins in it.

    Raises CheckpointError for everything else, including files that would run code when unpickled.
    """
    check_readable(path)
    name = repr(os.fspath(path))
    try:
        called = _checked_globals(path, name)
        with Restored(torch.serialization.safe_globals(list(_stand_ins(called)))):
            return torch.load(os.fspath(path), map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # a damaged file can make the unpickler fail in any way
        if named := re.search(r"GLOBAL ([\w.]+)", str(error)):
            raise CheckpointError(
                f"{name} holds Python objects besides weights ({named[1]}), and loading them could run any code; where "
                f"you trust it, load it with weights_only=False once and save the state dict alone "
                f"(torch.save(model.state_dict(), ...))"
            ) from error
        raise CheckpointError(f"{name} is truncated or neither a safetensors file nor a torch checkpoint") from error


def check_readable(path: str | os.PathLike[str]) -> None:
    """Raise CheckpointError for a device, pipe or socket, which could make a reader wait forever."""
    if may_hang(path):
        raise CheckpointError(f"{os.fspath(path)!r} cannot be read (it is a device, pipe or socket)")


class StandIn:
    """Stands in for an object that is no weight; whatever it is made with or told, it holds nothing."""

    def __new__(cls, *_: Any, **__: Any) -> StandIn:
        return super().__new__(cls)

    def __setstate__(self, _: Any) -> None:
        pass


class _Settings(OrderedDict[Any, Any]):
    """Creates an empty mapping in place of an object with settings, whatever the arguments."""

    def __new__(cls, *_: Any) -> Any:  # torch fills no subclass of a mapping
        return OrderedDict.__new__(OrderedDict)


def _stand_ins(called: set[str]) -> Iterator[tuple[Any, str]]:
    for word in called:
        if BESIDE.fullmatch(word):
            yield StandIn, word
        elif BESIDE_DICTS.fullmatch(word):
            yield _Settings, word


def _checked_globals(path: str | os.PathLike[str], name: str) -> set[str]:
    """The functions and classes that a checkpoint names, as torch spells them.

    Raises CheckpointError if it is another kind of file, or needs far more memory than it has bytes, and ValueError for
    garbage. torch allows a pickle to call `bytearray`, which fills as much memory as the pickle says, and unpacks what
    is compressed or listed twice; `torch.save` never writes this.
    """
    size = Path(path).stat().st_size
    with Path(path).open("rb") as file:
        start = file.read(32)
        file.seek(0)
        for beginning, what in STARTS.items():
            if start.startswith(beginning):
                raise CheckpointError(f"{name} {what}")
        if start[:4] != b"PK\x03\x04":
            called = {word for _ in range(PICKLES) for word in _globals(file)}
        else:
            with zipfile.ZipFile(file) as archive:
                parts = archive.infolist()
                _check_kind_of_archive({part.filename for part in parts}, name)
                if any(part.compress_type for part in parts) or sum(part.file_size for part in parts) > size:
                    raise CheckpointError(
                        f"{name} would unpack to more than its {size:,} bytes; torch.save packs nothing"
                    )
                inner = [part for part in parts if part.filename.endswith(".pkl")]
                called = {word for part in inner for word in _globals(archive.open(part))}
    if any(word.endswith("bytearray") for word in called):
        raise CheckpointError(f"{name} asks for memory in a way that no state dict does; it is refused")
    return called


def kind_of_file(path: str | os.PathLike[str]) -> str:
    """Which kind of a model a file is: "TorchScript", "exported", or ''; it is only listed, not loaded."""
    if may_hang(path) or not zipfile.is_zipfile(path):
        return ""
    with zipfile.ZipFile(path) as archive:
        kind = kind_of_archive(set(archive.namelist()))
    return kind if kind in ("TorchScript", "exported") else ""


def kind_of_archive(names: set[str]) -> str:
    """What a zip archive is by the names of its parts: "TorchScript", "exported", "numpy" or ''."""
    inner = {name.partition("/")[2] or name for name in names}
    if "constants.pkl" in inner or any(name.startswith("code/") for name in inner):
        return "TorchScript"
    if any(re.fullmatch(r"(serialized_exported_program|models/[^/]+)\.json", name) for name in inner | names):
        return "exported"
    return "numpy" if names and all(name.endswith(".npy") for name in names) else ""


def _check_kind_of_archive(names: set[str], name: str) -> None:
    kind = kind_of_archive(names)
    if kind == "TorchScript":
        raise CheckpointError(
            f"{name} is a TorchScript archive, a whole model and not only weights; give it as the model, "
            f"torch.jit.load({name}), or save its state dict alone"
        )
    if kind == "exported":
        raise CheckpointError(
            f"{name} is an exported program, a whole model and not only weights; give it as the model, "
            f"torch.export.load({name}).module(), or save its state dict alone"
        )
    if kind == "numpy":
        raise CheckpointError(
            f"{name} is a NumPy archive; deconvviz reads weights from safetensors files and torch checkpoints"
        )


def _globals(file: IO[bytes]) -> Iterator[str]:
    """The functions and classes that the next pickle in `file` names."""
    for code, word, _ in pickletools.genops(file):
        if code.name == "GLOBAL":
            module, _, own = str(word).partition(" ")
            yield f"{MODULES_NOW.get(module, module)}.{own}"
