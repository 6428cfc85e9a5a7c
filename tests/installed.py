"""Environments that have PyTorch and the rest but no cnnlib, as on a hosted service, and lectures
that run in them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from cnnlib.images import PROJECT

formats: Any = nbformat  # whose functions have no types
# What a wheel is made from; data/ may hold MNIST besides.
SOURCES = (
    "LICENSE",
    "README.md",
    "cnnlib",
    "data/README.md",
    "data/avatars",
    "img",
    "pyproject.toml",
)
# Of the folder where the tests run, pip and Python may see nothing.
ALONE = {
    "CNNLIB_DATA": "",
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PYTHONPATH": "",
}
# The package is built with the setuptools that is there, and everything else is there already.
OFFLINE = {"PIP_FIND_LINKS": "", "PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_INDEX": "1"}


def copy_project(folder: Path) -> Path:
    """Copy what a wheel is made from; a build leaves things behind in the folder it reads."""
    for name in SOURCES:
        source, target = PROJECT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    return folder


def build_wheel(folder: Path) -> Path:
    """Build the wheel, in a folder that is empty."""
    source, wheels = copy_project(folder / "source"), folder / "wheels"
    run(Path(sys.executable), "-m", "pip", "wheel", "--no-deps", "-w", str(wheels), str(source))
    (wheel,) = wheels.glob("*.whl")
    return wheel


def environment(folder: Path) -> Path:
    """Make an environment that sees all packages of this one but cnnlib, and return its Python.

    The paths that a .pth file adds are searched, and no .pth file in them is read: so the package
    that is installed as editable here, through such a file, is not to be seen there.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = folder.glob("[lL]ib/**/site-packages")
    # A line of code, and in ASCII: Python reads the file in the encoding of the locale.
    shared = f"import sys; sys.path.append({sysconfig.get_path('purelib')!a})\n"
    (packages / "shared.pth").write_text(shared, encoding="utf-8")
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    seen = "from importlib.util import find_spec; print(*map(bool, map(find_spec, {})))"
    assert run(python, "-c", seen.format(["torch", "cnnlib"]), cwd=folder) == "True False\n"
    return python


def run(python: Path, *arguments: str, cwd: Path | None = None, **variables: str) -> str:
    """Run a Python without a network and return what it prints; an error shows all its words."""
    done = subprocess.run(
        [python, *arguments],
        cwd=cwd,
        env=os.environ | ALONE | OFFLINE | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


class _Here(KernelSpecManager):
    """Kernels of one Python."""

    def __init__(self, python: Path) -> None:
        super().__init__()
        self.python = python

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        argv = [str(self.python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name=kernel_name, language="python")


def execute(path: Path, python: Path, folder: Path, variables: dict[str, str] = OFFLINE) -> Any:
    """Run a notebook with a Python, in a folder, and return it with its new outputs.

    Args:
        path: The notebook's file, which stays as it is.
        python: Whose kernel runs it.
        folder: The working directory.
        variables: Of the kernel's environment, besides those of this process.
    """
    notebook = formats.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.update(outputs=[], execution_count=None)
    manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=_Here(python))
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, km=manager, timeout=300, resources=resources)
    # nbclient ends what it was given only if it is told to.
    client.execute(cleanup_kc=True, env=os.environ | ALONE | variables, stderr=subprocess.DEVNULL)
    return notebook


def texts(notebook: Any) -> Iterator[tuple[str, str]]:
    """Yield what cells print, show and raise as text, with the code; pictures are left out."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            parts = [
                output.get("text", "")
                + output.get("data", {}).get("text/plain", "")
                + output.get("evalue", "")
                for output in cell.outputs
            ]
            yield cell.source, "".join(parts)
