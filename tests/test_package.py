"""The house: imports, floors, what an import costs, what the field's reviewers would grep for."""

import ast
import pathlib
import re
import subprocess
import sys

import pytest

import jaxdl

ROOT = pathlib.Path(__file__).parent.parent
SOURCES = sorted((ROOT / "jaxdl").rglob("*.py"))
FLOORS = [
    ("core",), ("functional",), ("losses", "metrics", "penalties"), ("layers",), ("combine",), ("models",), ("data",),
    ("sharding",), ("train",), ("inspect",), ("interop",), ("launch",),
]  # fmt: skip
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
MAY = {"data": {"core", "functional"}, "sharding": {"core"}}
NEVER = {"train": {"layers", "combine", "models"}}


def imported_rooms(path):
    """The rooms of jaxdl that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "jaxdl":
                assert len(parts) > 1, f"{path}: import what is needed from its room"
                yield parts[1]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_import_goes_upward(path):
    home = path.relative_to(ROOT / "jaxdl").parts[0].removesuffix(".py")
    if home == "__init__":
        return
    for room in imported_rooms(path):
        assert room == home or FLOOR[room] < FLOOR[home], f"{path} (floor of {home}) imports {room}"
        assert room == home or room in MAY.get(home, FLOOR), f"{home} imports {room}"
        assert room not in NEVER.get(home, ()), f"{home} imports {room}"


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout


def test_import_touches_no_device_and_brings_nothing_but_the_core_dependencies():
    code = """
import sys
import jax, optax, flax
before = set(sys.modules)
import jaxdl
from jax._src import xla_bridge
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(xla_bridge.backends_are_initialized(), sorted(new - {"jaxdl"} - sys.stdlib_module_names))
"""
    assert python(code).split("\n")[0] == "False []"


def test_a_name_that_is_misspelt_brings_the_likely_one():
    with pytest.raises(AttributeError, match=r"module 'jaxdl' has no attribute 'sequentail'") as caught:
        jaxdl.sequentail  # noqa: B018
    # From these Python makes its "Did you mean: 'sequential'?" where the error is printed.
    assert (caught.value.name, caught.value.obj) == ("sequentail", jaxdl)


def test_nothing_of_jax_is_wrapped_and_nothing_is_asserted_or_hidden():
    for path in SOURCES:
        text = path.read_text()
        assert not re.search(r"^\s*def (jit|vmap|scan|grad|cond|eval_shape)\b", text, re.M), path
        assert not re.search(r"^\s*assert\b", text, re.M), path
        assert "pickle" not in text, path


def public_functions():
    modules = [jaxdl, jaxdl.core, jaxdl.functional, jaxdl.layers, jaxdl.combine, jaxdl.models]
    modules += [jaxdl.losses, jaxdl.metrics, jaxdl.penalties, jaxdl.data, jaxdl.train, jaxdl.inspect, jaxdl.interop]
    for module in modules:
        package = hasattr(module, "__path__")  # what a package names is public; a module names its imports as well
        for name, value in vars(module).items():
            home = getattr(value, "__module__", "")
            ours = home.startswith("jaxdl" if package else module.__name__)
            if ours and callable(value) and not name.startswith("_"):
                yield f"{module.__name__}.{name}", value


@pytest.mark.parametrize(
    ("name", "value"), public_functions(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_public_names_are_documented(name, value):
    assert value.__doc__, name
    shown = ("functional", "layers", "combine", "models", "losses", "metrics", "penalties", "inspect")
    if name.split(".")[1] in shown and not isinstance(value, type):
        assert ">>>" in value.__doc__, f"{name} has no example"


def test_files_and_functions_stay_small():
    for path in SOURCES:
        text = path.read_text()
        assert text.count("\n") <= 300, f"{path} is two things"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                doc = (ast.get_docstring(node, clean=False) or "").count("\n")
                assert node.end_lineno - node.lineno + 1 - doc <= 70, f"{path}:{node.lineno} {node.name}"
