"""The package starts light, its modules build on one another one way, and all is described."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cnnlib
from cnnlib.images import PROJECT

FOLDER = Path(cnnlib.__file__).parent

# A module may import those of the levels below its own. The list stands where people read it.
(LEVELS,) = re.findall(
    r"## Change the package\n.*?```text\n(.*?)```",
    (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8"),
    re.DOTALL,
)
LEVEL = {
    name: -number for number, names in enumerate(LEVELS.splitlines()) for name in names.split()
}
OFFERED = {  # by the package itself, from these modules
    "conv2d": "convolution",
    "corr2d": "convolution",
    "load_image": "images",
    "output_size": "convolution",
    "plot_conv": "plotting",
    "plot_convs": "plotting",
}
FILES = sorted(path.relative_to(FOLDER) for path in FOLDER.rglob("*.py"))


def loaded(statement: str) -> set[str]:
    """Return the modules of a fresh interpreter after a statement."""
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, encoding="utf-8"
    )
    return set(run.stdout.split())


def packages(modules: set[str]) -> set[str]:
    """Return the packages that modules belong to, but for those of Python itself."""
    return {name.partition(".")[0] for name in modules} - sys.stdlib_module_names


def test_importing_the_package_loads_nothing_else() -> None:
    added = loaded("import cnnlib") - loaded("pass")
    assert packages(added) == {"cnnlib"}
    assert {name for name in added if name.startswith("cnnlib")} == {"cnnlib"}


def test_what_the_package_offers_adds_nothing_to_torch_and_matplotlib() -> None:
    after = loaded(f"from cnnlib import {', '.join(OFFERED)}, datasets, kernels")
    added = after - loaded("import torch, numpy, matplotlib.pyplot")
    assert packages(added) == {"cnnlib"}
    heavy = {"torchvision", "ipywidgets", "skimage", "scipy", "torchsummary", "IPython", "pandas"}
    assert not after & heavy


MODULES = {path.parts[0].removesuffix(".py") for path in FILES if not path.parts[0].startswith("_")}


def test_the_package_offers_its_modules_and_some_functions() -> None:
    assert set(cnnlib.__all__) == MODULES | OFFERED.keys()
    assert set(cnnlib.__all__) <= set(dir(cnnlib))
    for name in MODULES:
        assert getattr(cnnlib, name) is importlib.import_module(f"cnnlib.{name}")
    for name, module in OFFERED.items():
        assert getattr(cnnlib, name) is vars(importlib.import_module(f"cnnlib.{module}"))[name]


def test_the_package_describes_every_module_and_what_it_offers() -> None:
    described = re.findall(r"`(\w+)`", cnnlib.__doc__ or "")
    assert sorted(described) == sorted(MODULES)
    (line,) = re.findall(r"`from cnnlib import (.+)`", cnnlib.__doc__ or "")
    assert sorted(line.split(", ")) == sorted(OFFERED)


def test_the_package_refuses_what_it_does_not_have() -> None:
    with pytest.raises(AttributeError, match="module 'cnnlib' has no attribute 'corr3d'"):
        cnnlib.corr3d  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'corr3d' from 'cnnlib'"):
        from cnnlib import corr3d  # type: ignore[attr-defined]  # noqa: F401


def test_type_checkers_are_told_what_the_package_offers() -> None:
    (block,) = (
        node
        for node in ast.parse((FOLDER / "__init__.py").read_text(encoding="utf-8")).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    told = {
        alias.name: str(node.module)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert told == dict.fromkeys(MODULES, "cnnlib") | {
        name: f"cnnlib.{module}" for name, module in OFFERED.items()
    }


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
    if name != "__init__":  # which imports when it is asked
        below = {other for other in LEVEL if LEVEL[other] < LEVEL[name]}
        assert set(imported(module)) <= below | ({name} if len(module.parts) > 1 else set())


def lectures() -> tuple[dict[tuple[str, str], int], dict[str, int]]:
    """Return which lecture is the first to import a name from a module, and to define a name."""
    used: dict[tuple[str, str], int] = {}
    defined: dict[str, int] = {}
    for path in sorted(PROJECT.glob("notebooks/*.ipynb")):
        number = int(path.name[:2])
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for node in ast.parse("".join(cell["source"]) * (cell["cell_type"] == "code")).body:
                if isinstance(node, ast.ImportFrom):
                    for alias in node.names:
                        used.setdefault((str(node.module), alias.name), number)
                elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                    defined.setdefault(node.name, number)
    return used, defined


def test_what_lectures_use_names_the_lecture() -> None:
    used, defined = lectures()
    helpers = 0
    for (module, name), number in used.items():
        helper = getattr(importlib.import_module(module), name)
        if module.startswith("cnnlib.") and (inspect.isfunction(helper) or inspect.isclass(helper)):
            words = f"Written out in lecture {defined.get(name)}."
            words = words if name in defined else f"First used in lecture {number}."
            lines = [line.strip() for line in (helper.__doc__ or "").splitlines()]
            assert words in lines, f"the docstring of {module}.{name} needs the line: {words}"
            helpers += 1
    assert helpers > 30


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
