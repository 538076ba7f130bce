"""Run the notebooks of the documentation, and keep what they show in them.

    python docs/notebooks.py --photos FOLDER

Needs nbclient and a folder with a hundred photographs or more. Each notebook runs in a folder of its own, in which the
photographs are called `photos`; only the pictures and the text that it shows are kept.
"""

from __future__ import annotations

import argparse
import base64
import io
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

NOTEBOOKS = Path(__file__).with_name("notebooks")


def run(source: Path, folder: Path) -> Any:
    """A notebook with what it shows when it is run in a folder."""
    import nbformat  # noqa: PLC0415  of the tests' packages
    from nbclient import NotebookClient  # noqa: PLC0415

    notebook = nbformat.read(source, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=1800,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
    )
    client.execute()
    return notebook


def smaller(png: str) -> str:
    """A picture in base64 with 256 colours, which takes a third of the space."""
    picture, out = Image.open(io.BytesIO(base64.b64decode(png))), io.BytesIO()
    picture.convert("RGB").quantize(256).save(out, "PNG", optimize=True)
    return base64.b64encode(out.getvalue()).decode()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("names", nargs="*", default=[path.stem for path in sorted(NOTEBOOKS.glob("*.ipynb"))])
    given = parser.parse_args()
    import nbformat  # noqa: PLC0415

    for name in given.names:
        source = NOTEBOOKS / f"{name}.ipynb"
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "photos").symlink_to(given.photos.absolute())
            notebook = run(source, Path(folder))
        for cell in notebook.cells:
            for output in cell.get("outputs", []):
                if picture := output.get("data", {}).get("image/png"):
                    output["data"]["image/png"] = smaller(picture)
        nbformat.write(notebook, source)
        print(source)
    return 0


if __name__ == "__main__":
    sys.exit(main())
