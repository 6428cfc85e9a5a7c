"""A batch grades everybody once and loses nothing, whatever is handed in and whatever is killed."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import psutil
import pytest

from cnnlib.images import PROJECT
from labs.grading import batch
from labs.grading.batch import alone
from labs.grading.collect import LONGEST, collect
from labs.grading.command import main
from tests.labs.tiny import hand_in, write_course

pytestmark = pytest.mark.sandbox

GOOD = "def double(x):\n    return 2 * x"
SQUARE = "def double(x):\n    return x ** 2 + 1"  # right for 1 alone
SLOW = f"import time; time.sleep(1)\n{GOOD}"
# Kills every process above its own, as far as they belong to the grader: its workers.
KILLER = """
import os, psutil, signal
for above in psutil.Process().parents():
    if "spawn_main" in " ".join(above.cmdline()):
        os.kill(above.pid, signal.SIGKILL)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_course(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Where a scheduler and two workers are that stand in another folder, as an option."""
    folder = tmp_path_factory.mktemp("elsewhere")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    scheduler = ["scheduler", "--host", address, "--no-dashboard", "--no-show"]
    worker = ["worker", address, "--nworkers", "2", "--nthreads", "1", "--no-dashboard"]
    with ExitStack() as stack:
        for part in (scheduler, [*worker, "--memory-limit", "0"]):
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *part],
                cwd=folder,
                env=os.environ | {"PYTHONPATH": str(PROJECT)},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(process.wait)
            stack.callback(process.terminate)
        yield "--scheduler", address


def words(root: Path, *arguments: str) -> list[str]:
    folder = str(root / "submitted")
    return ["grade", folder, "--lab", "lab1", "--root", str(root), *arguments]


def command(root: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "labs.grading", *words(root, *arguments)]


def run(root: Path, *arguments: str) -> str:
    """Return what the command prints, which has nothing to complain about."""
    with redirect_stdout(io.StringIO()) as printed, redirect_stderr(io.StringIO()) as complaints:
        main(words(root, *arguments))
    assert not complaints.getvalue()
    return printed.getvalue()


def refused(root: Path, *arguments: str) -> str:
    """Return the sentence that the command ends with, which then is no success."""
    with pytest.raises(SystemExit) as ended:
        main(words(root, *arguments))
    assert isinstance(ended.value.code, str)
    return ended.value.code


@contextmanager
def started(root: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start the command; whatever happens, it has ended after this."""
    with subprocess.Popen(
        command(root, *arguments),
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        encoding="utf-8",
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    below = psutil.Process(process.pid).children()
    return [child for child in below if "spawn_main" in " ".join(child.cmdline())]


def results(root: Path) -> dict[str, bytes]:
    folder = root / "build" / "grades" / "lab1" / "results"
    return {path.stem: path.read_bytes() for path in folder.glob("[!.]*.json")}


def test_everything_that_is_handed_in_is_reported_by_name(root: Path) -> None:
    hand_in(root, "anna", q1=GOOD, q2="Because.")
    hand_in(root, "ben", q1=SQUARE)
    submitted = root / "submitted"
    (submitted / "carla").mkdir()
    (submitted / "dora.ipynb").write_text("{", encoding="utf-8")
    (submitted / "eva.pdf").write_text("a scan", encoding="utf-8")
    done = subprocess.run(
        command(root), cwd=PROJECT, capture_output=True, check=False, encoding="utf-8"
    )
    assert (done.returncode, done.stderr) == (0, "")
    printed = done.stdout
    assert "anna   3 of 7 points, q2 still by hand" in printed
    assert "carla  needs a person: nothing was handed in for lab1" in printed
    assert "dora   needs a person: the file is no notebook" in printed
    assert "eva    needs a person: there is no notebook, only eva.pdf" in printed
    assert "lab1: 2 graded, 3 need a person." in printed
    grades = root / "build" / "grades" / "lab1"
    assert "anna,graded,3,,3,7,q2,\n" in (grades / "grades.csv").read_text(encoding="utf-8")
    assert sorted(page.name for page in grades.glob("feedback/*")) == ["anna.html", "ben.html"]
    assert (grades / "summary.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_handed_in_anew_alone_is_graded(root: Path, elsewhere: tuple[str, str]) -> None:
    hand_in(root, "anna", q1=GOOD)
    hand_in(root, "ben", q1=SQUARE)
    (root / "submitted" / "dora.ipynb").write_text("{", encoding="utf-8")
    run(root, *elsewhere)
    before = results(root)
    hand_in(root, "ben", q1=GOOD)
    printed = run(root, *elsewhere)
    assert printed.count("(from before)") == 2, "anna and dora handed in the same as before"
    after = results(root)
    assert {name for name in after if after[name] != before[name]} == {"ben"}

    printed = run(root, "--again", "anna", *elsewhere)
    assert printed.count("(from before)") == 2
    assert results(root)["ben"] == after["ben"]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_worker_and_a_killed_command_lose_nothing(
    root: Path, elsewhere: tuple[str, str], how: int
) -> None:
    students = [f"student{number}" for number in range(2 * (os.cpu_count() or 1) + 2)]
    for student in students:
        hand_in(root, student, q1=SLOW)
    with started(root) as process:
        assert process.stdout is not None
        assert (line := process.stdout.readline()).startswith(f"[1/{len(students)}]"), line
        workers(process)[0].kill()
        assert (line := process.stdout.readline()).startswith(f"[2/{len(students)}]"), line
        below = psutil.Process(process.pid).children(recursive=True)
        if how == signal.SIGKILL:
            process.kill()
        else:
            os.killpg(process.pid, how)  # as a terminal does
        rest = process.stdout.read()
        assert process.wait() == (-signal.SIGKILL if how == signal.SIGKILL else 130), rest
        assert how == signal.SIGKILL or "The same command goes on from there." in rest
        assert how == signal.SIGKILL or "Traceback" not in rest, rest
    _, alive = psutil.wait_procs(below, timeout=30)
    assert not alive, f"still running: {[child.cmdline() for child in alive]}"

    before = results(root)
    assert 2 <= len(before) < len(students)
    printed = run(root, *elsewhere)
    assert printed.count("(from before)") == len(before)
    assert f"lab1: {len(students)} graded." in printed
    assert before.items() <= results(root).items()
    for kept in results(root).values():
        assert json.loads(kept)["result"]["points"] == {"q1-example": 1, "q1-more": 2, "q2": None}


def test_a_submission_that_kills_its_workers_needs_a_person(
    root: Path, elsewhere: tuple[str, str]
) -> None:
    hand_in(root, "anna", q1=GOOD)
    hand_in(root, "ben", q1=KILLER)
    hand_in(root, "carla", q1=GOOD)
    printed = run(root, "--unsafe")
    assert "ben    needs a person: each of 3 workers that graded it died" in printed
    assert "lab1: 2 graded, 1 need a person." in printed
    assert run(root, "--unsafe", *elsewhere).count("(from before)") == 3


def test_workers_elsewhere_need_no_file_of_this_machine(
    root: Path, elsewhere: tuple[str, str]
) -> None:
    hand_in(root, "anna", q1=GOOD)
    assert "lab1: 1 graded." in run(root, *elsewhere)


def test_errors_are_sentences(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.run(
        command(root), cwd=PROJECT, capture_output=True, check=False, encoding="utf-8"
    )
    assert done.returncode == 1
    assert done.stderr.startswith("expected a folder of submissions"), done.stderr
    hand_in(root, "anna")
    assert "expected after --again students" in refused(root, "--again", "ben")
    monkeypatch.setattr(batch, "CONNECT", 1)
    nowhere = "tcp://127.0.0.1:9"
    assert f"expected a Dask scheduler with workers at {nowhere}" in refused(
        root, "--scheduler", nowhere
    )
    (root / "labs" / "source" / "lab1" / "lab1.ipynb").write_text("{", encoding="utf-8")
    assert "lab1" in refused(root)


def change(root: Path, old: str, new: str) -> None:
    """Change some words of the lab."""
    path = root / "labs" / "source" / "lab1" / "lab1.ipynb"
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("import math", "import math; open('/no/data')", "the setup cell of lab1 fails"),
        ("== -14", "== -15", "the solution of the lab itself gets 0.0 of 2 points"),
        ("double(1) == 2", "True", "a lab that was left empty gets 1.0 of 1 points"),
    ],
)
def test_a_lab_that_cannot_be_graded_stops_before_the_first_student(
    root: Path, elsewhere: tuple[str, str], old: str, new: str, complaint: str
) -> None:
    change(root, old, new)
    hand_in(root, "anna", q1=GOOD)
    assert complaint in refused(root, *elsewhere)
    assert complaint in refused(root, "--check", *elsewhere)
    assert not results(root)


def test_the_check_of_a_lab_needs_no_submission(root: Path, elsewhere: tuple[str, str]) -> None:
    assert "gets all points, and an empty lab none" in run(root, "--check", *elsewhere)


def test_only_what_a_verdict_depends_on_grades_everybody_again(
    root: Path, elsewhere: tuple[str, str]
) -> None:
    hand_in(root, "anna", q1=GOOD)
    run(root, *elsewhere)
    change(root, "Double $x$", "Return twice $x$")
    assert "(from before)" in run(root, *elsewhere)
    change(root, "negative numbers", "negative values")
    assert "(from before)" not in run(root, *elsewhere)


def test_a_folder_of_results_takes_one_run_at_a_time(tmp_path: Path) -> None:
    first = alone(tmp_path)
    with first, pytest.raises(ValueError, match="another run grades into"), alone(tmp_path):
        pass
    with alone(tmp_path):
        pass


def test_all_layouts_are_collected(tmp_path: Path) -> None:
    for name in (
        "anna/lab1/lab1.ipynb",
        "anna/lab2/lab2.ipynb",
        "ben/homework.ipynb",
        "ben/.ipynb_checkpoints/homework.ipynb",
        "carla.ipynb",
        "dora/draft.ipynb",
        "dora/lab1.ipynb",
        "eva/a.ipynb",
        "eva/b.ipynb",
        "frank/lab2/lab2.ipynb",
        "gus/lab1.pdf",
        "hugo/lab1.ipynb/file",
        "ida.ipynb",
        "ida/lab1/ida.ipynb",
        ".DS_Store",
        "__MACOSX/anna/lab1.ipynb",
        f"{'x' * (LONGEST + 1)}.ipynb",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "jim").mkdir()
    (tmp_path / "jim" / "lab1.ipynb").symlink_to(tmp_path / "carla.ipynb")
    (tmp_path / "kim").mkdir()
    (tmp_path / "kim" / "lab1").symlink_to(tmp_path / "anna" / "lab1")
    (tmp_path / "lea").symlink_to(tmp_path / "anna")
    (tmp_path / "max.ipynb").hardlink_to(tmp_path / "ben" / "homework.ipynb")
    (tmp_path / "ben" / "homework.ipynb").unlink()
    (tmp_path / "ned.ipynb").hardlink_to(tmp_path / "max.ipynb")
    (tmp_path / "ben" / "homework.ipynb").touch()
    (tmp_path / "=o\x1b[31m").mkdir()
    (tmp_path / "=o\x1b[31m" / "p\x1b[2J.pdf").touch()
    found = {hand_in.student: hand_in for hand_in in collect(tmp_path, "lab1")}
    assert {name: str(h.path.relative_to(tmp_path)) for name, h in found.items() if h.path} == {
        "anna": "anna/lab1/lab1.ipynb",
        "ben": "ben/homework.ipynb",
        "carla": "carla.ipynb",
        "dora": "dora/lab1.ipynb",
    }
    assert found["dora"].note == "lab1.ipynb was graded, and not draft.ipynb beside it"
    assert not found["anna"].note
    assert {name: hand_in.problem for name, hand_in in found.items() if not hand_in.path} == {
        "eva": "there are 2 notebooks (a.ipynb, b.ipynb): leave the one that counts",
        "frank": "there is no notebook, only lab2",
        "gus": "there is no notebook, only lab1.pdf",
        "hugo": "lab1.ipynb is not a plain file",
        "ida": "there are 2 notebooks (ida.ipynb, ida.ipynb): leave the one that counts",
        "jim": "lab1.ipynb is a link to another place, and links are not followed",
        "kim": "lab1 is a link to another place, and links are not followed",
        "lea": "lea is a link to another place, and links are not followed",
        "max": "max.ipynb is a link to another place, and links are not followed",
        "ned": "ned.ipynb is a link to another place, and links are not followed",
        "_=o\ufffd[31m": "there is no notebook, only p\ufffd[2J.pdf",
        "x" * (LONGEST + 1): "the name has more than 200 bytes: give the folder or file a "
        "shorter one",
    }


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected one folder or one file per student"):
        collect(tmp_path, "lab1")
