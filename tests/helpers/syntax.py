"""Python's own syntax trees."""

from __future__ import annotations

import ast
import gc


def tree_of(source: str) -> ast.Module:
    """The syntax tree of some source.

    Without garbage collection meanwhile: it may run a finaliser that parses, too, as the traceback of a warning does,
    and CPython 3.11 then raises SystemError ("AST constructor recursion depth mismatch") for the outer one.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(source)
    finally:
        if collecting:
            gc.enable()
