"""What lets a lecture be opened on a hosted service, made from one address."""

from __future__ import annotations

import http.server
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from nbclient.exceptions import CellExecutionError

from cnnlib.images import PROJECT
from tests.installed import copy_project, environment, execute, formats, texts
from tools import hosted

LECTURE = PROJECT / "notebooks" / "02-filters.ipynb"
ADDRESS = "https://github.com/owner/course"


@dataclass
class Host:
    """A server that has the archive of the project, as a repository on GitHub does."""

    url: str
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    root = copy_project(tmp_path / "course-main")
    archive = tmp_path / "served" / "owner" / "course" / "archive" / "main.zip"
    archive.parent.mkdir(parents=True)
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(root.rglob("*")):
            file.write(path, path.relative_to(tmp_path))
    made = Host("")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(tmp_path / "served"))

        def log_message(self, *arguments: Any) -> None:
            made.asked.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.url = f"http://127.0.0.1:{server.server_port}/owner/course"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield made
        server.shutdown()


def test_a_lecture_brings_the_package_and_runs(host: Host, tmp_path: Path) -> None:
    python = environment(tmp_path / "environment")
    folder = tmp_path / "content"
    # A clone beside the lecture is a folder of the package's name that cannot be imported.
    (folder / "cnnlib" / "notebooks").mkdir(parents=True)
    lecture = shutil.copy(LECTURE, folder)
    hosted.write_setup(Path(lecture), host.url)

    stored = list(texts(formats.read(lecture, as_version=4)))
    assert host.url in stored[0][0]
    assert list(texts(execute(Path(lecture), python, folder))) == stored
    assert host.asked == ["/owner/course/archive/main.zip"]

    setup = formats.v4.new_notebook(cells=[formats.v4.new_code_cell(stored[0][0])])
    formats.write(setup, folder / "again.ipynb")
    execute(folder / "again.ipynb", python, folder)
    assert len(host.asked) == 1, "the package was there, and was brought again"


def test_without_an_address_a_sentence_says_how_to_get_the_project(tmp_path: Path) -> None:
    python = environment(tmp_path / "environment")
    folder = tmp_path / "content"
    folder.mkdir()
    lecture = shutil.copy(LECTURE, folder)
    hosted.write_setup(Path(lecture), "")
    with pytest.raises(CellExecutionError) as caught:
        execute(Path(lecture), python, folder)
    assert caught.value.ename == "ModuleNotFoundError"
    assert re.fullmatch(r"cnnlib is not here, .*ask your teacher.*README.*", caught.value.evalue)
    assert "During handling" not in caught.value.traceback  # one error, not two


@pytest.mark.parametrize(
    "address",
    ["", ADDRESS, "https://github.com/a-longer-owner" + 2 * "/course-on-convolutional-networks"],
)
def test_the_setup_cell_is_short_and_formatted(address: str, tmp_path: Path) -> None:
    code = hosted.setup_cell(address)
    assert len(code.splitlines()) <= 12
    lecture = str(tmp_path / LECTURE.name)
    formats.write(formats.v4.new_notebook(cells=[formats.v4.new_code_cell(code)]), lecture)
    for command in ("check", "format --check"):
        arguments = [*command.split(), "--config", str(PROJECT / "pyproject.toml"), lecture]
        ruff = [sys.executable, "-m", "ruff", *arguments]
        done = subprocess.run(ruff, capture_output=True, encoding="utf-8")
        assert done.returncode == 0, done.stdout + done.stderr


def test_only_the_setup_cell_changes(tmp_path: Path) -> None:
    """Nor do two addresses, one after the other, leave anything behind."""
    lecture = Path(shutil.copy(LECTURE, tmp_path))
    before = lecture.read_bytes()
    hosted.write_setup(lecture, ADDRESS)
    assert lecture.read_bytes() != before
    after = formats.read(lecture, as_version=4)
    stored = formats.read(LECTURE, as_version=4)
    assert [a == b for a, b in zip(after.cells, stored.cells, strict=True)].count(False) == 1
    hosted.write_setup(lecture, "")
    assert lecture.read_bytes() == before


def test_a_lecture_without_the_cell_gets_it_and_counts_on(tmp_path: Path) -> None:
    lecture = Path(shutil.copy(LECTURE, tmp_path))
    before = lecture.read_bytes()
    notebook = formats.read(lecture, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if cell.id != "setup"]
    hosted._count(notebook)
    formats.write(notebook, lecture)
    hosted.write_setup(lecture, "")
    assert lecture.read_bytes() == before


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "notebooks").mkdir()
    shutil.copy(LECTURE, tmp_path / "notebooks")
    for name in ("README.md", "pyproject.toml"):
        shutil.copy(PROJECT / name, tmp_path)
    return tmp_path


def set_address(project: Path, address: str) -> None:
    path = project / "pyproject.toml"
    text = re.sub(r"\[project\.urls\]\n[^[]*", "", path.read_text(encoding="utf-8"))
    urls = f'[project.urls]\nRepository = "{address}"\n\n' if address else ""
    path.write_text(text.replace("[dependency-groups]", urls + "[dependency-groups]"), "utf-8")


def test_the_readme_has_badges_once_there_is_an_address(project: Path) -> None:
    set_address(project, "")
    hosted.main(project)
    bare = (project / "README.md").read_text(encoding="utf-8")
    assert "mybinder.org" not in bare
    set_address(project, ADDRESS)
    hosted.main(project)
    readme = (project / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"^\[!\[Open in (\w+)\]\(https://\S+\.svg\)\]\((\S+)\)$", readme, re.M)
    assert dict(links) == {
        "Binder": "https://mybinder.org/v2/gh/owner/course/main?urlpath=lab/tree/notebooks/",
        "Colab": "https://colab.research.google.com/github/owner/course",
    }
    lecture = (project / "notebooks" / LECTURE.name).read_text(encoding="utf-8")
    assert f"{ADDRESS}/archive/main.zip" in lecture
    set_address(project, "")
    hosted.main(project)
    assert (project / "README.md").read_text(encoding="utf-8") == bare


def test_the_readme_is_what_the_address_makes() -> None:
    assert hosted.badges(hosted.address(PROJECT)) in (PROJECT / "README.md").read_text("utf-8")


def test_a_lecture_has_an_address_of_its_own() -> None:
    assert hosted.services("", LECTURE.name) == {}
    links = hosted.services(ADDRESS, LECTURE.name)
    assert links["Binder"].endswith(
        "/owner/course/main?urlpath=lab/tree/notebooks/02-filters.ipynb"
    )
    assert links["Colab"].endswith("/github/owner/course/blob/main/notebooks/02-filters.ipynb")


@pytest.mark.parametrize(
    "address",
    ["github.com/a/b", "https://example.org/a/b", "https://github.com/a", f"{ADDRESS}.git"],
)
def test_an_address_of_another_kind_is_refused(address: str, project: Path) -> None:
    set_address(project, address)
    with pytest.raises(ValueError, match=r"github\.com/owner/name .* got '" + re.escape(address)):
        hosted.address(project)
