"""The package starts light, its modules build on one another one way, and all is described."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import cnnlib

FOLDER = Path(cnnlib.__file__).parent
# A module may import those of the levels below its own.
LEVELS = (
    {"_checks"},
    {"convolution", "datasets", "images", "kernels", "parallel"},
    {"_batches", "_checkpoint", "models", "receptive_field"},
    {"training"},
    {"plotting"},
    {"results"},
    {"diagrams", "train_digits"},
    {"explorers"},
)
LEVEL = {name: number for number, names in enumerate(LEVELS) for name in names}
SHOWN = {"convolution", "datasets", "images", "kernels", "plotting"}  # by `import cnnlib`
FILES = sorted(path.relative_to(FOLDER) for path in FOLDER.rglob("*.py"))


def loaded(statement: str) -> set[str]:
    """Return the modules of a fresh interpreter after a statement."""
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, encoding="utf-8"
    )
    return set(run.stdout.split())


def test_importing_adds_nothing_to_torch_and_matplotlib() -> None:
    after = loaded("import cnnlib")
    added = after - loaded("import torch, numpy, matplotlib.pyplot")
    packages = {name.partition(".")[0] for name in added} - sys.stdlib_module_names
    assert packages == {"cnnlib"}
    heavy = {"torchvision", "ipywidgets", "skimage", "scipy", "torchsummary", "IPython", "pandas"}
    assert not after & heavy
    assert "cnnlib.diagrams" not in after


def test_the_package_names_its_modules() -> None:
    assert set(cnnlib.__all__) == SHOWN
    assert all(isinstance(getattr(cnnlib, name), ModuleType) for name in cnnlib.__all__)


def imported(module: Path) -> Iterator[str]:
    """Yield the modules of the package that a module imports, wherever in its text."""
    for node in ast.walk(ast.parse((FOLDER / module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            whole = node.module == "cnnlib"
            names = (
                [f"cnnlib.{alias.name}" for alias in node.names] if whole else [str(node.module)]
            )
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("cnnlib."))


@pytest.mark.parametrize("module", FILES, ids=str)
def test_imports_run_one_way(module: Path) -> None:
    name = module.parts[0].removesuffix(".py")
    if name == "__init__":
        assert set(imported(module)) == SHOWN
    else:
        below = {other for other in LEVEL if LEVEL[other] < LEVEL[name]}
        assert set(imported(module)) <= below | ({name} if len(module.parts) > 1 else set())


def public(module: str) -> Iterator[tuple[str, Any]]:
    """Yield what a module defines for its users: functions, classes and their methods."""
    namespace = vars(importlib.import_module(f"cnnlib.{module}"))
    for name, thing in namespace.items():
        if name.startswith("_") or getattr(thing, "__module__", "") != f"cnnlib.{module}":
            continue
        if inspect.isfunction(thing):
            yield f"{module}.{name}", thing
        elif inspect.isclass(thing):
            yield f"{module}.{name}", thing
            for method, function in vars(thing).items():
                if inspect.isfunction(function) and not method.startswith("_"):
                    yield f"{module}.{name}.{method}", function


PUBLIC = [".".join(path.with_suffix("").parts) for path in FILES if not path.name.startswith("_")]
NAMES = [pytest.param(thing, id=name) for module in PUBLIC for name, thing in public(module)]


def test_there_is_something_public_in_every_module() -> None:
    assert all(any(public(module)) for module in PUBLIC)


@pytest.mark.parametrize("thing", NAMES)
def test_everything_public_is_described(thing: Any) -> None:
    text = inspect.cleandoc(thing.__doc__ or "")
    first, _, rest = text.partition("\n")
    assert first.endswith(".")
    returns = inspect.isfunction(thing) and thing.__annotations__["return"] != "None"
    if returns and rest:  # what is described at length says what comes out
        assert re.search(r"^Returns:|^Return |\bresult\b", text, re.MULTILINE)
    if inspect.isfunction(thing):
        parameters = [name for name in inspect.signature(thing).parameters if name != "self"]
        if re.search(r"^Args:", text, re.MULTILINE):
            assert re.findall(r"^    (\w+):", text.split("Args:")[1].split("\n\n")[0], re.M) == (
                parameters
            )
