"""Generate docs/cli.md from the `--help` of every command.

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

Each command is a thin wrapper around the corresponding Python function. It exits with status 0, prints one sentence and
exits with status 2 on an error (`--debug` shows the traceback), and exits with status 130 after Ctrl-C. Results go to
standard output, as JSON with `--json`. Notes and progress go to standard error:
a bar on a terminal, elsewhere a line after five seconds and then every half minute.

A command replaces an existing file only if you name it with `--out`, deconvviz wrote it, and nobody has changed it
since; with `--force` it replaces any file. Under its default name it replaces nothing. A command never overwrites a
file that it reads, and never writes where the next run would read ([robustness](robustness.md)).

To complete commands and options in your shell, add one of these lines to its start-up file:

```sh
eval "$(deconvviz completion bash)"
eval "$(deconvviz completion zsh)"
```
"""


def page() -> str:
    """The expected content of the page."""
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
