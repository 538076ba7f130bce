"""Commands `explore` that cannot be done, and what is said."""

from __future__ import annotations

EXPLORE = {
    "explore mnist --host 0.0.0.0": (
        "other machines can reach host '0.0.0.0', so the explorer needs a token; give one of 16 characters or more, or "
        "leave the host out"
    ),
    "explore mnist --token short": "a token has 16 characters or more, all printable ASCII",
    "explore mnist --port 70000": "--port is a whole number from 0 to 65535, not 70000",
    "explore mnist --host no.such.host.invalid --token 0123456789abcdef": (
        "the explorer cannot listen on host 'no.such.host.invalid', port 0 (…); give another port, or 0 for a free one"
    ),
    "explore mnist --atlas no": "the folder 'no' holds no complete atlas",
    "explore mnist no": "there is no folder 'no' of images",
    "explore mnist --classes no.txt": "'no.txt' cannot be read as text: No such file or directory",
}
