"""Write docs/cli.md: what `--help` says of every command.

python docs/commands.py
"""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import patch

from deconvviz.cli import COMMANDS, build_parser

PAGE = Path(__file__).with_name("cli.md")
START = """# The command line

<!-- Written by `python docs/commands.py`; edit the help of the commands, not this. -->

Each command is a thin call of the Python function of the same purpose. It exits with 0, with 2 and one sentence where
something is wrong (`--debug` shows where), with 130 after Ctrl-C. What was found goes to standard output, as JSON with
`--json`; remarks and progress go to standard error, and progress is shown on a terminal only.

A file that is there already is replaced only where `--out` names it, deconvviz wrote it, and nobody has changed it
since; any other file only with `--force`. Under a default name nothing is replaced. What a command reads is never
written over, nor is anything put where the next run would read it ([robustness](robustness.md)).

For a shell to complete commands and options, put one of these lines into its start-up file:

```sh
eval "$(deconvviz completion bash)"
eval "$(deconvviz completion zsh)"
```
"""


def page() -> str:
    """The page as it should be."""
    with patch.dict(os.environ, COLUMNS="88", NO_COLOR="1"):
        parser = build_parser(*COMMANDS)
        commands = next(action for action in parser._actions if action.dest == "COMMAND" or action.choices).choices
        parts = [START, _shown("deconvviz", build_parser().format_help())]
        parts += [_shown(f"deconvviz {name}", command.format_help()) for name, command in (commands or {}).items()]
    return "\n".join(parts)


def _shown(name: str, text: str) -> str:
    return f"## {name}\n\n```text\n{text}```\n"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
