"""Check the links and pictures of README.md as somebody sees them who has not cloned the repository.

    python docs/readme_links.py --at https://HOST/OWNER/deconvviz/blob/main

Asks for every link to another site, and for every file of the repository at the address where it is published. Prints
what does not answer, and ends with 1 then. Without `--at`, only other sites are asked, and it says how many links lead
to files of the repository, which mean nothing elsewhere, as on the page of a package index.
"""

from __future__ import annotations

import argparse
import re
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 20  # to wait for an answer
AT_ONCE = 8


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--at", metavar="URL", help="where the files of the repository are published")
    parser.add_argument("documents", nargs="*", type=Path, default=[ROOT / "README.md"], help="(README.md)")
    given = parser.parse_args(arguments)
    targets = {target: None for document in given.documents for target in links(document.read_text("utf-8"))}
    outside = [target for target in targets if target.startswith(("http:", "https:"))]
    inside = [target for target in targets if target not in outside]
    if given.at:
        outside += [f"{given.at.rstrip('/')}/{target}" for target in inside]
    with ThreadPoolExecutor(AT_ONCE) as several:
        answers = dict(zip(outside, several.map(answer, outside), strict=True))
    wrong = {address: said for address, said in answers.items() if said != "200"}
    for address, said in wrong.items():
        print(f"{address}: {said}")
    left = "" if given.at else f"; {len(inside)} links to files of the repository were not asked for, give --at"
    print(f"{len(answers) - len(wrong)} of {len(answers)} links answer{left}")
    return int(bool(wrong))


def links(text: str) -> list[str]:
    """What the links and pictures of a document lead to, without the place in it; places in the document are left out.

    >>> links("[a](docs/a.md#b), ![c](c.png) and [d](#e)")
    ['docs/a.md', 'c.png']
    """
    return [target for target in (found.partition("#")[0] for found in re.findall(r"\]\(([^)\s]+)\)", text)) if target]


def answer(address: str) -> str:
    """The status with which an address answers, or what went wrong."""
    try:
        asked = urllib.request.Request(address, headers={"User-Agent": "deconvviz-readme-links"})
        with urllib.request.urlopen(asked, timeout=SECONDS) as found:
            return str(found.status)
    except urllib.error.HTTPError as error:
        return str(error.code)
    except OSError as error:
        return str(getattr(error, "reason", error))


if __name__ == "__main__":
    sys.exit(main())
