"""The set-up: pyproject, environment.yml, constraints and what is installed say the same."""

import importlib
import importlib.metadata
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from cnnlib.images import PROJECT

environment: Any = importlib.import_module("tools.environment")  # which has no types
DECLARED = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
README = (PROJECT / "README.md").read_text(encoding="utf-8")
# conda-forge calls one package by another name.
CONDA_NAMES = {"torch": "pytorch"}
EXTRAS = tuple(DECLARED["optional-dependencies"])


def _wanted(*extras: str) -> list[Requirement]:
    """Return what pyproject.toml asks for: for readers, and for these extras besides."""
    lists = [
        DECLARED["dependencies"],
        *(DECLARED["optional-dependencies"][name] for name in extras),
    ]
    return [Requirement(text) for texts in lists for text in texts]


def _constraints() -> dict[str, Requirement]:
    lines = (PROJECT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(pin.name): pin for pin in pins}


def test_conda_has_what_a_reader_needs_with_the_same_bounds() -> None:
    entries = re.findall(r"^ +- ([^:\n]+)$", (PROJECT / "environment.yml").read_text("utf-8"), re.M)
    assert "--editable ." in entries
    names = [Requirement(text) for text in entries if not text.startswith("--")]
    conda = {requirement.name: requirement.specifier for requirement in names}
    assert str(conda.pop("python")) == DECLARED["requires-python"]
    del conda["pip"], conda["conda-forge"]
    assert conda == {CONDA_NAMES.get(r.name, r.name): r.specifier for r in _wanted()}


def test_constraints_pin_every_dependency_within_its_bounds() -> None:
    pins = _constraints()
    for requirement in _wanted(*EXTRAS):
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
    everything = _closure([requirement.name for requirement in _wanted(*EXTRAS)])
    ours = {name for name in everything if not re.match("nvidia-|cuda-|triton", name)}
    assert len(ours) > 50
    for name in sorted(ours):
        version = importlib.metadata.version(name).split("+")[0]  # a build tag, as in 2.14.1+cpu
        assert name in pins, f"{name} is not pinned: run make constraints"
        assert version in pins[name].specifier, f"{name} {version} is not {pins[name]}"


def test_constraints_name_no_address() -> None:
    assert "://" not in (PROJECT / "constraints.txt").read_text(encoding="utf-8")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return a copy of what the set-up reads."""
    for name in ("pyproject.toml", "constraints.txt", "tools/environment.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(PROJECT / name, tmp_path / name)
    return tmp_path


def _run(clone: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "tools/environment.py", *arguments],
        cwd=clone,
        env=os.environ | variables,
        encoding="utf-8",
        capture_output=True,
        timeout=300,
    )


# pip that finds nothing: builds stop at once, and no test needs the network.
NO_PACKAGES = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
NO_PACKAGES["TORCH_INDEX"] = "http://127.0.0.1:1"  # nobody listens there


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
    sign = "Bringing .venv up to date" if harm == "constraints" else "Setting up .venv"
    assert sign in result.stdout
    assert "pip could not install" in result.stderr


def test_settings_of_tools_do_not_build_again(clone: Path) -> None:
    _finish(clone)
    with (clone / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write("\n[tool.another]\nsetting = 1\n")
    assert _run(clone, "python", "-c", "print('ran')", **NO_PACKAGES).stdout == "ran\n"


def test_an_extra_is_added_once_and_what_is_there_stays(clone: Path) -> None:
    _finish(clone)
    result = _run(clone, "--with", "labs,test", "python", "-c", "print('ran')", **NO_PACKAGES)
    assert "Adding to .venv what is needed for labs and tests; this is done once." in result.stdout
    assert "pip could not install" in result.stderr
    assert next((clone / ".venv").glob("[lL]ib/**/package-1.0.dist-info"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "usage: python tools/environment.py"),
        (["--with", "labs"], "usage: python tools/environment.py"),
        (["--with", "lab", "python"], "there are the extras labs, site, test, not lab"),
        (["--torch", "gpu", "python"], "TORCH is cpu or cuda, not gpu"),
    ],
)
def test_what_cannot_be_asked_for(clone: Path, arguments: list[str], words: str) -> None:
    result = _run(clone, *arguments)
    assert result.returncode == 1
    assert words in result.stderr


def test_every_extra_is_known_and_every_target_asks_for_its_own() -> None:
    assert set(environment.EXTRAS) == set(EXTRAS)
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    asked = dict(re.findall(r"^(\w+) := \$\(READ\) --with (\S+)$", makefile, re.MULTILINE))
    assert asked == {"GRADE": "labs", "BOOK": "labs,site", "TEST": "labs,site,test"}
    used = {}
    for name, steps in re.findall(r"^([a-z-]+):.*\n((?:\t.*\n)+)", makefile, re.MULTILINE):
        if variables := set(re.findall(r"\$\((READ|GRADE|BOOK|TEST)\)", steps)):
            (used[name],) = variables
    assert used.pop("lab") == "READ"
    assert "READ" not in used.values()
    assert {used.pop(name) for name in ("release", "grade")} == {"GRADE"}
    assert {used.pop(name) for name in ("site", "slides", "pdf")} == {"BOOK"}
    assert set(used.values()) == {"TEST"}


def _commands(heading: str) -> list[str]:
    """Return the lines of commands below a heading of the README."""
    section = README.split(f"# {heading}\n")[1].split("\n#")[0]
    blocks = re.findall(r"^```\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize(
    ("job", "heading"),
    [
        ("make", "Two commands"),
        ("windows", "On Windows, without make"),
        ("conda", "With conda"),
    ],
)
def test_the_workflow_types_what_the_readme_says(job: str, heading: str) -> None:
    text = (PROJECT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8")
    section = re.split(r"^  (?=\w+:$)", text.split("\njobs:\n")[1], flags=re.MULTILINE)
    (steps,) = (part for part in section if part.startswith(f"{job}:\n"))
    typed = [re.sub(r"^- (run: )?", "", line.strip()) for line in steps.splitlines()]
    # JupyterLab would not end by itself.
    typed = [re.sub(r" (ARGS=)?--version$", "", line) for line in typed]
    commands = _commands(heading)
    assert commands
    assert [line for line in typed if line in commands] == commands


@pytest.mark.git
def test_windows_can_hold_the_project() -> None:
    git = [
        "git",
        "-c",
        f"safe.directory={PROJECT}",
        "-C",
        str(PROJECT),
        "ls-files",
        "-z",
        "--stage",
    ]
    listed = subprocess.run(git, check=True, capture_output=True, encoding="utf-8").stdout
    modes, names = zip(*(entry.split("\t") for entry in listed.split("\0")[:-1]), strict=True)
    assert not [mode for mode in modes if mode.startswith("120000")]  # a symbolic link
    assert max(map(len, names)) < 200
    assert not [name for name in names if re.search(r'[<>:"|?*\\]|[. ](/|$)', name)]
    assert len({name.casefold() for name in names}) == len(names)


def test_windows_can_type_its_commands() -> None:
    for line in _commands("On Windows, without make"):
        program, *arguments = line.split()
        assert program == "py" or re.fullmatch(r"\.venv\\Scripts\\(pip|jupyter|pytest)", program)
        # PowerShell takes a bare comma for a list; a quote in single quotes is none in cmd.
        assert not [word for word in arguments if "," in word and word[0] + word[-1] != '""']
        assert "'" not in line


BACKEND = """
import pathlib, zipfile

def get_requires_for_build_editable(settings=None):
    return []

def build_editable(folder, settings=None, metadata=None):
    text = "Metadata-Version: 2.1\\nName: course\\nVersion: 1\\nRequires-Dist: torch\\n"
    text += "Provides-Extra: labs\\nRequires-Dist: grader; extra == 'labs'\\n"
    wheel("course", "1", pathlib.Path(folder), text)
    return "course-1-py3-none-any.whl"

def wheel(name, version, folder, metadata):
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    tags = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as file:
        file.writestr(f"{name}.py", "")
        file.writestr(f"{info}/METADATA", metadata)
        file.writestr(f"{info}/WHEEL", tags)
        file.writestr(f"{info}/RECORD", "")
"""


@pytest.fixture
def index(tmp_path: Path) -> Iterator[str]:
    """Serve two indexes, as PyPI and PyTorch do: pypi has torch and grader, cpu the CPU build."""
    backend: dict[str, Any] = {}
    exec(BACKEND, backend)
    folder = tmp_path / "index"
    for name, version, place in (
        ("torch", "1.0", "pypi"), ("torch", "1.0+cpu", "cpu"), ("grader", "1.0", "pypi"),
    ):  # fmt: skip
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        backend["wheel"](name, version, folder / place / name, metadata)
    with serving(folder) as address:
        yield address


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine and return its address."""

    class Silent(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    handler = partial(Silent, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@pytest.fixture
def course(clone: Path) -> Path:
    """Return a project like ours, with a torch and a grader that are there in no time."""
    (clone / "backend.py").write_text(BACKEND, encoding="utf-8")
    (clone / "pyproject.toml").write_text(
        "[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n",
        encoding="utf-8",
    )
    (clone / "constraints.txt").write_text("torch==1.0\n", encoding="utf-8")
    return clone


linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems have one build alone")


@linux
def test_the_small_build_is_found_kept_and_changed_on_demand(course: Path, index: str) -> None:
    variables = {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_FIND_LINKS": "",
        "PIP_INDEX_URL": f"{index}/pypi",
        "TORCH_INDEX": f"{index}/cpu",
        "PATH": str(course),  # where no nvidia-smi is
    }
    which = ["python", "-c", "from importlib.metadata import *; print(version('torch'))"]

    def run(*arguments: str) -> list[str]:
        result = _run(course, *arguments, *which, **variables)
        assert result.returncode == 0, result.stderr
        return result.stdout.splitlines()

    first = run()
    assert "PyTorch for the CPU (there is no NVIDIA GPU; TORCH=cuda takes the other" in first[0]
    assert first[-1] == "1.0+cpu"
    assert run() == ["1.0+cpu"]
    added = run("--with", "labs")
    assert added[0] == "Adding to .venv what is needed for labs; this is done once."
    assert added[-1] == "1.0+cpu"
    assert run("--with", "labs", "--torch", "cpu") == ["1.0+cpu"]
    changed = run("--torch", "cuda")
    assert "PyTorch for CUDA (as you chose)" in changed[0]
    assert changed[-1] == "1.0"
    assert run() == run("--with", "labs") == ["1.0"]  # what was asked for once stays


@linux
def test_a_build_that_the_index_lacks_is_not_replaced_in_silence(course: Path, index: str) -> None:
    variables = {"PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": ""}
    variables |= {"PIP_INDEX_URL": f"{index}/pypi", "TORCH_INDEX": f"{index}/cpu"}
    (course / "constraints.txt").write_text("torch!=1.0+cpu\n", encoding="utf-8")
    result = _run(course, "--torch", "cpu", "python", "-c", "print('ran')", **variables)
    assert result.returncode == 1
    assert "has no build of this version of PyTorch" in result.stderr
    assert not (course / ".venv/ready.json").exists()


@linux
def test_which_build_is_chosen(
    index: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # where no nvidia-smi is
    monkeypatch.setattr(environment, "CPU_INDEX", f"{index}/cpu")
    assert environment.choose(None, fresh=True)[0] == "cpu"
    assert environment.choose("cuda", fresh=True) == ("cuda", "as you chose")
    smi = tmp_path / "nvidia-smi"
    smi.touch(mode=0o755)
    assert environment.choose(None, fresh=True)[0] == "cuda"
    assert environment.choose("cpu", fresh=True) == ("cpu", "as you chose")
    smi.unlink()
    monkeypatch.setattr(environment, "CPU_INDEX", f"{index}/nothing")
    assert environment.choose(None, fresh=True)[0] == "cuda"


@linux
def test_an_index_that_keeps_silent_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(environment, "PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes calls, and says nothing
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr(environment, "CPU_INDEX", address)
        assert environment.choose(None, fresh=True)[0] == "cuda"
        with pytest.raises(SystemExit, match="does not answer"):
            environment.choose("cpu", fresh=True)


def test_elsewhere_there_is_one_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "LINUX", False)
    assert environment.choose(None, fresh=True)[0] == "cpu"
    with pytest.raises(SystemExit, match="for Linux alone"):
        environment.choose("cuda", fresh=True)


def _finish(clone: Path) -> None:
    """Make an environment without packages and note it as ready, as a build's last step does."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", clone / ".venv"], check=True)
    library = next((clone / ".venv").glob("[lL]ib/**/site-packages"))
    (library / "package-1.0.dist-info").mkdir()
    code = "import environment; environment.write_note([])"
    subprocess.run([sys.executable, "-c", code], cwd=clone / "tools", check=True)
    assert json.loads((clone / ".venv/ready.json").read_text(encoding="utf-8"))["installed"]
