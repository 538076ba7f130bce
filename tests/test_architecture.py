"""The floors that the documents show are those of the contract, files and functions stay small, and names are clear.

What is too large today is listed here by name. A new one fails, and so does a name that is no longer needed: the lists
only shrink.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.helpers.syntax import tree_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "deconvviz"
NO_ROOMS = {"__init__", "__main__", "__pycache__", "web"}  # the entry points, and the files of the web pages

FILE_LINES, FUNCTION_LINES, POSITIONAL = 400, 60, 5

LONG_FILES = """
"""

LONG_FUNCTIONS = """
"""

MANY_POSITIONAL = """
cli/__init__.py _show
"""

# Classes and constants of several modules. They mean the same in each.
SHARED_NAMES = """
IMAGES_SHOWN
INCHES
P
R
T
TILE_PIXELS
aten
"""


def contract() -> list[set[str]]:
    """The rooms of each floor in the contract of import-linter, the lowest floor first."""
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    (floors,) = configuration["tool"]["importlinter"]["contracts"]
    return [{room.strip().removeprefix("deconvviz.") for room in floor.split("|")} for floor in floors["layers"][::-1]]


def sources() -> Iterator[tuple[str, str]]:
    """Each file of the package: its path in it, and what it holds."""
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).as_posix(), path.read_text("utf-8")


def functions(tree: ast.AST, scope: str = "", in_class: bool = False) -> Iterator[tuple[str, ast.FunctionDef, bool]]:
    """Each function under a node with its name in the file, and whether it stands in a class."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef):
            yield scope + node.name, node, in_class
        named = isinstance(node, (ast.FunctionDef, ast.ClassDef))
        yield from functions(node, f"{scope}{node.name}." if named else scope, isinstance(node, ast.ClassDef))


def lines_of_code(function: ast.FunctionDef) -> int:
    """From `def` to the end, without the docstring, which public functions need long."""
    first, lines = function.body[0], function.end_lineno - function.lineno + 1
    return lines if ast.get_docstring(function) is None else lines - (first.end_lineno - first.lineno + 1)


def positional(function: ast.FunctionDef, in_class: bool) -> int:
    """How many arguments may be given by position, without `self` or `cls`."""
    static = any(isinstance(node, ast.Name) and node.id == "staticmethod" for node in function.decorator_list)
    return len(function.args.posonlyargs + function.args.args) - (in_class and not static)


def positional_fields(node: ast.ClassDef) -> list[str]:
    """The fields that a dataclass's constructor takes by position; none for another class."""
    options = [ast.unparse(decorator) for decorator in node.decorator_list]
    if not any("dataclass" in option and "kw_only=True" not in option for option in options):
        return []
    fields = [line for line in node.body if isinstance(line, ast.AnnAssign)]
    kinds = [ast.unparse(line.annotation) for line in fields]
    until = next((number for number, kind in enumerate(kinds) if kind.endswith("KW_ONLY")), len(kinds))
    return [
        ast.unparse(line.target) for line, kind in zip(fields[:until], kinds, strict=False) if "ClassVar" not in kind
    ]


def defined(tree: ast.Module) -> Iterator[str]:
    """The names of a module's classes and constants."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield node.name
        for target in node.targets if isinstance(node, ast.Assign) else ():
            yield from (name.id for name in ast.walk(target) if isinstance(name, ast.Name))
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id


def agree(found: set[str], listed: str, what: str) -> None:
    names = set(listed.split("\n")) - {""}
    assert not found - names, f"{what}: {', '.join(sorted(found - names))}"
    assert not names - found, f"take these out of the list, they are small now: {', '.join(sorted(names - found))}"


def test_the_floors_in_the_document_are_those_of_the_contract():
    """docs/architecture.md has a table `| floor | rooms | job |`, with packages as `name/` and modules as `name`."""
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \|", page, re.MULTILINE)
    shown = {int(floor): set(re.findall(r"`([\w/]+)`", rooms)) for floor, rooms in rows}
    assert len(shown) == len(rows), "a floor stands twice in the table"
    floors = [{f"{room}/" if (PACKAGE / room).is_dir() else room for room in floor} for floor in contract()]
    assert shown == dict(enumerate(floors))


def test_each_room_stands_in_the_contract_once():
    rooms = [room for floor in contract() for room in floor]
    assert sorted(rooms) == sorted({path.stem for path in PACKAGE.iterdir()} - NO_ROOMS - {"py"})


def test_no_file_is_long():
    found = {name for name, text in sources() if len(text.splitlines()) > FILE_LINES}
    agree(found, LONG_FILES, f"above {FILE_LINES} lines")


def test_no_function_is_long():
    found = {
        f"{path} {name}"
        for path, text in sources()
        for name, function, _ in functions(tree_of(text))
        if lines_of_code(function) > FUNCTION_LINES
    }
    agree(found, LONG_FUNCTIONS, f"above {FUNCTION_LINES} lines without the docstring")


def test_no_function_takes_many_arguments_by_position():
    found = {
        f"{path} {name}"
        for path, text in sources()
        for name, function, in_class in functions(tree_of(text))
        if positional(function, in_class) > POSITIONAL
    }
    agree(found, MANY_POSITIONAL, f"more than {POSITIONAL} arguments by position; what follows * is given by name")


def test_no_constructor_takes_many_arguments_by_position():
    found = {
        f"{path} {node.name}"
        for path, text in sources()
        for node in ast.walk(tree_of(text))
        if isinstance(node, ast.ClassDef) and len(positional_fields(node)) > POSITIONAL
    }
    agree(found, "", f"more than {POSITIONAL} fields by position; kw_only=True has them given by name")


def test_a_name_has_one_meaning():
    modules: dict[str, set[str]] = {}
    for path, text in sources():
        for name in defined(tree_of(text)):
            modules.setdefault(name, set()).add(path)
    found = {name for name, paths in modules.items() if len(paths) > 1 and not name.startswith("__")}
    agree(found, SHARED_NAMES, "several modules define these names; say in each what it is")


def test_names_and_fields_are_counted_right():
    text = """
one: int = 1
two, (three, *four) = [zero for zero in range(2)]

@dataclass(frozen=True)
class Some:
    a: int
    b: ClassVar[int] = 0
    _: KW_ONLY
    c: int

@dataclass(kw_only=True)
class All:
    a: int

def public(five):
    six = 6

def _private(): ...
"""
    tree = tree_of(text)
    assert set(defined(tree)) == {"one", "two", "three", "four", "Some", "All"}
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    assert [positional_fields(node) for node in classes] == [["a"], []]


def test_lengths_and_arguments_are_counted_right():
    text = '''
class Thing:
    def method(self, a, b, /, c, *, d):
        """Two lines
        of words."""
        def inner(e): return e
        return 1

    @staticmethod
    def static(a): ...
'''
    found = {
        name: (lines_of_code(function), positional(function, in_class))
        for name, function, in_class in functions(tree_of(text))
    }
    assert found == {"Thing.method": (3, 3), "Thing.method.inner": (1, 1), "Thing.static": (1, 1)}
