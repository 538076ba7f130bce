"""The distributions: what is in them, what they say of themselves, and that they run away from the repository."""

from __future__ import annotations

import configparser
import email
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import deconvviz

ROOT = Path(__file__).resolve().parents[1]
DATA = {
    "py.typed",
    "data/t10k-images-idx3-ubyte.gz",
    "data/t10k-labels-idx1-ubyte.gz",
    "data/README.md",
    "models/mnist_cnn.safetensors",
    "web/demo.html",
}


def test_the_citation_names_the_software_and_the_paper():
    yaml = pytest.importorskip("yaml", reason="needs PyYAML")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)  # what the format asks for
    assert citation["license"] == "BSD-3-Clause"
    (paper,) = citation["references"]
    assert {"type", "title", "authors"} <= set(paper)
    assert paper["identifiers"][0]["value"] == "arXiv:1311.2901"


def test_all_has_what_users_need_and_no_tools():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    extras = {name: set(listed.split()) for name, listed in setup["options.extras_require"].items()}
    own = extras["all"] - {
        f"deconvviz[{','.join(sorted(extras.keys() - {'all', 'bench', 'coverage', 'dev', 'docs', 'fuzz', 'labels'}))}]"
    }
    assert own == {"timm>=1.0"}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with both distributions."""
    out = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(out), str(ROOT)], check=True, capture_output=True)
    return out


@pytest.fixture(scope="module")
def wheel(built):
    return next(built.glob("*.whl"))


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        sizes = {item.filename: item.file_size for item in archive.infolist()}
    own = {name.removeprefix("deconvviz/") for name in sizes if name.startswith("deconvviz/")}
    sources = {p.relative_to(ROOT / "deconvviz").as_posix() for p in (ROOT / "deconvviz").rglob("*.py")}
    pages = (path.name for path in (ROOT / "deconvviz/web").iterdir() if path.is_dir())
    static = {f"web/{page}/{path.name}" for page in pages for path in (ROOT / "deconvviz/web" / page).iterdir()}
    assert own == sources | static | DATA
    assert {name.split("/")[0] for name in sizes} == {"deconvviz", f"deconvviz-{deconvviz.__version__}.dist-info"}
    assert max(sizes.values()) < 2e6
    assert wheel.stat().st_size < 4e6


@pytest.mark.slow
def test_the_source_distribution_holds_no_tests(built):
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"CHANGELOG.md", "CITATION.cff", "LICENSE", "README.md", "pyproject.toml", "setup.cfg"} <= names
    assert {f"deconvviz/{name}" for name in DATA} <= names
    assert not [
        name
        for name in names
        if name.startswith(("tests", "benchmarks", "faults", "frontend", "fuzz", "docs", "out", ".ci"))
    ]


@pytest.mark.slow
def test_the_metadata_is_valid(built, wheel):
    checked = [sys.executable, "-m", "twine", "check", "--strict", *map(str, built.iterdir())]
    subprocess.run(checked, check=True, capture_output=True)
    with zipfile.ZipFile(wheel) as archive:
        said = email.message_from_bytes(archive.read(f"deconvviz-{deconvviz.__version__}.dist-info/METADATA"))
    assert said["Version"] == deconvviz.__version__
    assert said["License-Expression"] == "BSD-3-Clause"
    assert said["Requires-Python"] == ">=3.10"
    assert {"all", "bench", "coverage", "docs", "evidence"} <= set(said.get_all("Provides-Extra"))


@pytest.mark.slow
def test_the_wheel_runs_away_from_the_repository(wheel, tmp_path):
    """In an environment of its own, which sees the libraries of this one but not its copy of the project."""
    venv.create(tmp_path / "venv", with_pip=False)
    python = str(tmp_path / "venv" / "bin" / "python")

    def said(*command):
        clean = {"PATH": "/usr/bin:/bin"}  # no PYTHONPATH
        return subprocess.run(command, cwd=tmp_path, check=True, stdout=subprocess.PIPE, text=True, env=clean).stdout

    said(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", str(wheel))
    place = said(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    (Path(place) / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    assert said(python, "-c", "import deconvviz; print(deconvviz.__file__)").startswith(str(tmp_path))
    assert said(python, "-m", "deconvviz", "--version") == f"deconvviz {deconvviz.__version__}\n"
    assert (tmp_path / "venv" / "bin" / "deconvviz").is_file()
    assert "conv2" in said(python, "-m", "deconvviz", "layers", "mnist")
    said(
        python, "-m", "deconvviz", "atlas", "mnist", "mnist", "--layers", "fc2", "--no-evidence", "--batch-size", "500"
    )
    assert (tmp_path / "atlas" / "index.html").is_file()
