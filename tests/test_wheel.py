"""The wheel: it carries what lectures load, and works where there is no project's folder."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from cnnlib.images import PROJECT
from tests.installed import build_wheel, environment, execute, formats, run, texts

LECTURE = PROJECT / "notebooks" / "02-filters.ipynb"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Python that has the wheel and lies outside of the project's folder."""
    made = environment(tmp_path_factory.mktemp("installed") / "environment")
    run(made, "-m", "pip", "install", str(wheel))
    return made


def files_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    return {name for name in names if not re.match(r"cnnlib-[^/]+\.dist-info/", name)}


def test_it_carries_the_package_and_what_lectures_load(wheel: Path) -> None:
    package = {
        path.relative_to(PROJECT).as_posix()
        for path in (PROJECT / "cnnlib").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    faces = {
        f"cnnlib/{path.relative_to(PROJECT).as_posix()}"
        for path in (PROJECT / "data" / "avatars").rglob("*.png")
    }
    loaded = set[str]()
    for folder in ("notebooks", "labs/source"):
        for path in (PROJECT / folder).rglob("*.ipynb"):
            for cell in formats.read(path, as_version=4).cells:
                loaded.update(re.findall(r"(?:load|find)_image\(\s*[\"']([^\"']+)", cell.source))
    assert len(faces) == 1100
    assert len(loaded) > 1
    assert files_in(wheel) == package | faces | {f"cnnlib/{name}" for name in loaded}
    assert wheel.stat().st_size < 9e6


def test_its_files_are_found_from_an_empty_folder(python: Path, tmp_path: Path) -> None:
    code = """
import cnnlib
import matplotlib.pyplot as plt
from cnnlib import conv2d, corr2d, load_image, output_size, plot_conv, plot_convs
from cnnlib.datasets import avatars
from cnnlib.explorers import KernelExplorer
from cnnlib.images import find_image

plt.style.use("cnnlib.course")
KernelExplorer(load_image("img/cat.png"))
print(cnnlib.__file__)
print(find_image("img/bricks.png"))
print(tuple(load_image("img/cat.png").shape), *(len(part.labels) for part in avatars()))
"""
    package, bricks, shapes = run(python, "-c", code, cwd=tmp_path).splitlines()
    folder = Path(package).parent
    assert folder.is_relative_to(python.parents[1])
    assert Path(bricks) == folder / "img" / "bricks.png"
    assert shapes == "(3, 100, 100) 800 300"


def test_a_lecture_runs_from_an_empty_folder(python: Path, tmp_path: Path) -> None:
    fresh = execute(LECTURE, python, tmp_path)
    assert list(texts(fresh)) == list(texts(formats.read(LECTURE, as_version=4)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.network
def test_a_lecture_runs_beside_the_oldest_pytorch(wheel: Path, tmp_path: Path) -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    oldest = []
    for requirement in map(Requirement, project["dependencies"]):
        if requirement.name in ("torch", "torchvision"):
            (bound,) = requirement.specifier
            assert bound.operator == ">="
            oldest.append(f"{requirement.name}=={bound.version}.*")
    assert len(oldest) == 2
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or "uv"
    made = tmp_path / "environment"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, made], check=True)
    python = next(path for path in made.glob("[bS]*/python*") if path.stem == "python")
    install = [uv, "pip", "install", "--quiet", "--python", str(python), str(wheel), *oldest]
    subprocess.run(install, check=True)
    versions = run(python, "-c", "import torch, torchvision; print(torch.__version__)")
    assert re.match(oldest[0].removeprefix("torch==").removesuffix(".*") + r"\.", versions)

    folder = tmp_path / "empty"
    folder.mkdir()
    fresh = execute(LECTURE, python, folder, {})
    assert list(texts(fresh)) == list(texts(formats.read(LECTURE, as_version=4)))
