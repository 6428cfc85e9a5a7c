"""The set-up: pyproject, environment.yml, constraints and what is installed say the same."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# conda-forge calls one package by another name.
CONDA_NAMES = {"torch": "pytorch"}


def _wanted() -> list[Requirement]:
    texts = sum(PROJECT["optional-dependencies"].values(), start=PROJECT["dependencies"])
    return [Requirement(text) for text in texts]


def _constraints() -> dict[str, Requirement]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(pin.name): pin for pin in pins}


def test_conda_has_the_same_dependencies_and_bounds() -> None:
    entries = re.findall(
        r"^ +- ([^:\n]+)$", (ROOT / "environment.yml").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert "--editable ." in entries
    names = [Requirement(text) for text in entries if not text.startswith("--")]
    conda = {requirement.name: requirement.specifier for requirement in names}
    assert str(conda.pop("python")) == PROJECT["requires-python"]
    del conda["pip"], conda["conda-forge"]
    assert conda == {CONDA_NAMES.get(r.name, r.name): r.specifier for r in _wanted()}


def test_constraints_pin_every_dependency_within_its_bounds() -> None:
    pins = _constraints()
    for requirement in _wanted():
        (pin,) = pins[canonicalize_name(requirement.name)].specifier
        assert pin.operator == "=="
        assert pin.version in requirement.specifier


def _closure(names: list[str]) -> set[str]:
    """Follow what is installed from these names to everything that they need here."""
    found: set[str] = set()
    todo = [canonicalize_name(name) for name in names]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            needs = map(Requirement, importlib.metadata.requires(name) or [])
            todo += [
                canonicalize_name(need.name)
                for need in needs
                if need.marker is None or need.marker.evaluate({"extra": ""})
            ]
    return found


def test_what_is_installed_is_what_constraints_say() -> None:
    """`make constraints` was run after the last change of dependencies, and `make` after that."""
    pins = _constraints()
    # torch pins its CUDA libraries itself, and other builds of it need other ones.
    ours = {
        n for n in _closure([r.name for r in _wanted()]) if not re.match("nvidia-|cuda-|triton", n)
    }
    assert len(ours) > 50
    for name in sorted(ours):
        version = importlib.metadata.version(name).split("+")[0]  # a build tag, as in 2.14.1+cpu
        assert name in pins, f"{name} is not pinned: run make constraints"
        assert version in pins[name].specifier, f"{name} {version} is not {pins[name]}"


def test_constraints_name_no_address() -> None:
    assert "://" not in (ROOT / "constraints.txt").read_text(encoding="utf-8")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return a copy of what the set-up reads."""
    for name in ("pyproject.toml", "constraints.txt", "tools/environment.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def _run(clone: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "tools/environment.py", *command],
        cwd=clone,
        env=os.environ | variables,
        encoding="utf-8",
        capture_output=True,
        timeout=300,
    )


# pip that finds nothing: builds stop at once, and no test needs the network.
NO_PACKAGES = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}


def test_pip_that_fails_is_one_sentence_and_the_next_call_tries_again(clone: Path) -> None:
    for _ in range(2):
        result = _run(clone, "python", "-c", "print('ran')", **NO_PACKAGES)
        assert result.returncode == 1
        assert "cnnlib: pip could not install the packages" in result.stderr
        assert "Traceback" not in result.stderr
        assert "ran" not in result.stdout
        assert not (clone / ".venv/ready.json").exists()


def test_a_ready_environment_runs_the_command_and_keeps_its_status(clone: Path) -> None:
    _finish(clone)
    result = _run(
        clone, "python", "-c", "import sys; print(sys.prefix); sys.exit(7)", **NO_PACKAGES
    )
    assert result.returncode == 7
    assert Path(result.stdout.strip()) == (clone / ".venv").resolve()


@pytest.mark.parametrize("harm", ["package", "note", "python", "moved", "constraints"])
def test_what_is_damaged_or_out_of_date_is_built_again(clone: Path, harm: str) -> None:
    _finish(clone)
    if harm == "package":
        shutil.rmtree(next((clone / ".venv").glob("[lL]ib/**/package-1.0.dist-info")))
    elif harm == "note":
        (clone / ".venv/ready.json").write_text("{", encoding="utf-8")
    elif harm == "python":
        shutil.rmtree(clone / ".venv" / ("Scripts" if os.name == "nt" else "bin"))
    elif harm == "moved":
        clone = clone.rename(clone.with_name("elsewhere"))
    else:
        (clone / "constraints.txt").write_text("numpy==0\n", encoding="utf-8")
    result = _run(clone, "python", "-c", "print('ran')", **NO_PACKAGES)
    assert "Setting up .venv" in result.stdout
    assert "pip could not install" in result.stderr


def test_settings_of_tools_do_not_build_again(clone: Path) -> None:
    _finish(clone)
    with (clone / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write("\n[tool.another]\nsetting = 1\n")
    assert _run(clone, "python", "-c", "print('ran')", **NO_PACKAGES).stdout == "ran\n"


def _finish(clone: Path) -> None:
    """Make an environment without packages and note it as ready, as a build's last step does."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", clone / ".venv"], check=True)
    library = next((clone / ".venv").glob("[lL]ib/**/site-packages"))
    (library / "package-1.0.dist-info").mkdir()
    code = "import environment; environment.note_ready()"
    subprocess.run([sys.executable, "-c", code], cwd=clone / "tools", check=True)
    assert json.loads((clone / ".venv/ready.json").read_text(encoding="utf-8"))["installed"]
