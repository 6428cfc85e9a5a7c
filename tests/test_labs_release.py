"""What students get works, and holds no solution and no hidden check."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from cnnlib.images import PROJECT
from labs.grading.release import ARCHIVE, PARTS, release
from tests.labs.tiny import CELLS, NAME, SECRET_LINES, write_source

formats: Any = nbformat  # whose functions have no types
SOURCES = sorted(PROJECT.glob("labs/source/*/*.ipynb"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with the tiny lab, small stand-ins for the other parts, and things to keep out."""
    source = write_source(tmp_path)
    (source.parent / "numbers.csv").write_text("1,2\n", encoding="utf-8")
    for name in (*PARTS, "labs/student.md", "tests/test.py", "data/MNIST/big", "labs/grading/x.py"):
        path = tmp_path / name if "." in name or name.isupper() else tmp_path / name / "file.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="utf-8")
    shutil.copy(PROJECT / ".gitignore", tmp_path)
    return tmp_path


def members(archive: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(archive) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def git(root: Path, *words: str) -> None:
    subprocess.run(["git", "-C", root, *words], check=True, capture_output=True)


def test_secrets_are_nowhere_in_what_is_released(root: Path) -> None:
    everything = members(release(root))
    for line in SECRET_LINES:
        for name, content in everything.items():
            assert json.dumps(line)[1:-1].encode() not in content, name
    folder = root / "labs" / "release" / NAME
    assert sorted(path.name for path in folder.iterdir()) == [f"{NAME}.ipynb", "numbers.csv"]
    assert (
        everything[f"{ARCHIVE}/labs/release/{NAME}/{NAME}.ipynb"]
        == (folder / f"{NAME}.ipynb").read_bytes()
    )


def test_a_released_lab_asks_for_answers_and_keeps_its_checks(root: Path) -> None:
    release(root)
    notebook = formats.read(root / "labs" / "release" / NAME / f"{NAME}.ipynb", as_version=4)
    cells = {cell.metadata.nbgrader.grade_id: cell for cell in notebook.cells}
    assert cells["q1"].source.endswith("raise NotImplementedError()")
    assert cells["q2"].source == "YOUR ANSWER HERE"
    assert cells["q1-example"].source == CELLS[3][2]
    assert cells["q1-more"].source == "# Tries: negative numbers."


@pytest.mark.parametrize("with_git", [False, pytest.param(True, marks=pytest.mark.git)])
def test_the_archive_holds_what_is_tracked_and_nothing_private(root: Path, with_git: bool) -> None:
    if with_git:
        git(root, "init")
        git(root, "add", "--all", "--force")
        (root / "notebooks" / "ideas-for-the-exam.txt").write_text("private", encoding="utf-8")
        git(root, "rm", "--cached", "data/MNIST/big/file.txt")
    names = {name.removeprefix(f"{ARCHIVE}/") for name in members(release(root))}
    parts = {part if (root / part).is_file() else f"{part}/file.txt" for part in PARTS}
    labs = {f"labs/release/{NAME}/{name}" for name in (f"{NAME}.ipynb", "numbers.csv")}
    assert names == parts | labs | {"README.md"}


def test_the_same_files_make_the_same_archive(root: Path) -> None:
    first = release(root).read_bytes()
    (root / "LICENSE").touch()
    assert release(root).read_bytes() == first


@pytest.mark.parametrize(
    ("text", "own", "words"),
    [
        ("##BEGIN HIDDEN-TESTS\nassert 1\n##END HIDDEN-TESTS", {"points": 1}, "would show"),
        ("### BEGIN HIDDEN TESTS\nassert 1", {"points": 1}, "cannot be released"),
        ("### BEGIN SOLUTION\n1\n### END SOLUTION", {}, "cannot be released"),
    ],
)
def test_a_wrong_marker_stops_the_release(root: Path, text: str, own: Any, words: str) -> None:
    archive = release(root)
    before = archive.read_bytes()
    shutil.rmtree(root / "labs" / "source")
    write_source(root, (*CELLS, ("q3", "code", text, own)))
    with pytest.raises(ValueError, match=words):
        release(root)
    assert archive.read_bytes() == before
    assert "q3" not in (root / "labs" / "release" / NAME / f"{NAME}.ipynb").read_text(
        encoding="utf-8"
    )


def test_what_is_left_after_nbgrader_is_searched(root: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("labs.grading.release.PUBLIC", ())  # as if nbgrader missed hidden checks
    with pytest.raises(ValueError, match="would show students"):
        release(root)


def test_a_project_without_labs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected labs in"):
        release(tmp_path)


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of this very project, unpacked."""
    folder = tmp_path_factory.mktemp("student")
    copy = folder / "project"
    for part in (*PARTS, "labs/source", "labs/student.md"):
        target = copy / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if (PROJECT / part).is_dir():
            shutil.copytree(PROJECT / part, target)
        else:
            shutil.copy(PROJECT / part, target)
    shutil.unpack_archive(release(copy), folder)
    return folder / ARCHIVE


def test_the_archive_of_this_project_holds_no_hidden_check(unpacked: Path) -> None:
    blocks = []
    for source in SOURCES:
        for cell in formats.read(source, as_version=4).cells:
            if "BEGIN HIDDEN TESTS" in cell.source:
                inside = cell.source.split("BEGIN HIDDEN TESTS")[1].split("### END")[0]
                blocks.append((source.name, json.dumps(inside.strip())[1:-1]))
    assert blocks
    for path in unpacked.rglob("*"):
        if path.suffix == ".ipynb":
            text = "".join(
                "".join(c["source"]) for c in json.loads(path.read_text(encoding="utf-8"))["cells"]
            )
            for name, block in blocks:
                assert block not in json.dumps(text), (path.name, name)
        assert path.name not in ("source", "grading", "tests", ".git")


def test_a_lab_starts_from_the_archive(unpacked: Path) -> None:
    where = subprocess.run(
        [sys.executable, "-c", "import cnnlib; print(cnnlib.__file__)"],
        cwd=unpacked,
        env=os.environ | {"PYTHONPATH": str(unpacked)},
        capture_output=True,
        check=True,
        encoding="utf-8",
    )
    assert Path(where.stdout.strip()).is_relative_to(unpacked)
    path = min(unpacked.glob("labs/release/*/*.ipynb"))
    notebook = formats.read(path, as_version=4)
    ids = [cell.metadata.get("nbgrader", {}).get("grade_id") for cell in notebook.cells]
    start = formats.v4.new_code_cell(f"import sys; sys.path.insert(0, {str(unpacked)!r})")
    check = formats.v4.new_code_cell("import cnnlib; cnnlib.__file__")
    notebook.cells = [start, *notebook.cells[: ids.index("setup") + 1], check]
    NotebookClient(notebook, resources={"metadata": {"path": path.parent}}).execute()
    assert str(unpacked) in notebook.cells[-1].outputs[0].data["text/plain"]
