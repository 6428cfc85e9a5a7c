"""Whatever is handed in becomes a result, and the next student is graded as usual."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labs.grading.grade import Result, grade
from labs.grading.lab import Lab, read_lab
from labs.grading.sandbox import Limits, SandboxError
from tests.labs.small import SETUP, Notebook, place, plain, submission, write_lab

pytestmark = pytest.mark.sandbox
LIMITS = Limits(cell=2, total=60, output=10**6)
FULL = {"q1-example": 1.0, "q1-more": 2.0, "q2-example": 1.0, "q2-more": 2.0, "q3": None}
RIGHT = "def twice(X):\n    return 2 * X\n"
SECRETS = ("8.5", "71.25", "142.5", "secret", "sum([largest", "[-5, -4]")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return read_lab(write_lab(tmp_path_factory.mktemp("source")), "small")


def graded(notebook: Notebook | bytes, lab: Lab, folder: Path, limits: Limits = LIMITS) -> Result:
    path = folder / "small.ipynb"
    path.write_bytes(notebook if isinstance(notebook, bytes) else json.dumps(notebook).encode())
    result = grade(path, "ann", lab, limits=limits)
    assert (result.student, result.lab) == ("ann", "small")
    assert result.points.keys() == FULL.keys()
    assert bool(result.reason) == (result.status == "needs a person")
    for words in SECRETS:  # of hidden checks nothing comes out, on any way
        assert words not in result.notebook
        assert words not in str(result.error)
    return result


@pytest.fixture
def and_next(lab: Lab, tmp_path: Path) -> Iterator[None]:
    """After the test, the next student is graded normally."""
    yield
    result = graded(submission(), lab, tmp_path, Limits())
    assert (result.status, result.reason, result.notes) == ("graded", "", ())
    assert (result.points, result.error) == (FULL, {})


def outputs(result: Result, id: str) -> list[dict[str, Any]]:
    notebook = json.loads(result.notebook)
    found: list[dict[str, Any]] = notebook["cells"][place(notebook, id)]["outputs"]
    return found


def without(*lost: str) -> dict[str, float | None]:
    return FULL | dict.fromkeys(lost, 0.0)


def test_right(lab: Lab, tmp_path: Path, and_next: None) -> None:
    notebook = submission()
    notebook["cells"].insert(3, plain("print(twice(np.float64(21)))"))
    result = graded(notebook, lab, tmp_path)
    assert (result.status, result.points, result.error) == ("graded", FULL, {})
    assert json.loads(result.notebook)["cells"][3]["outputs"][0]["text"] == "42.0\n"
    assert result.seconds > 0


def test_wrong(lab: Lab, tmp_path: Path) -> None:
    result = graded(submission(q1="def twice(X):\n    return X + 2"), lab, tmp_path)
    assert result.status == "graded"
    assert result.points == without("q1-example", "q1-more")
    assert result.error == {
        "q1-example": "AssertionError: expected [2, 4], got tensor([3., 4.])",
        "q1-more": "AssertionError: negative numbers: doubled",
    }
    [error] = outputs(result, "q1-more")
    assert error["ename"] == "AssertionError"
    assert error["traceback"] == ["AssertionError: negative numbers: doubled"]


def test_blank(lab: Lab, tmp_path: Path) -> None:
    blank = "def twice(X):\n    raise NotImplementedError()"
    result = graded(submission(q1=blank), lab, tmp_path)
    assert result.points == without("q1-example", "q1-more")
    assert result.error["q1-example"] == "NotImplementedError"


def test_students_own_names_do_not_disturb_checks(lab: Lab, tmp_path: Path) -> None:
    code = "sum = 3\nnp = None\nabs = all = torch = 1\ndef max(values): return sorted(values)[-1]\n"
    notebook = submission()
    notebook["cells"].insert(place(notebook, "q2"), plain(code))
    result = graded(notebook, lab, tmp_path)
    assert (result.status, result.points) == ("graded", FULL)


# name: code in the answer q1; the points that it loses; a part of its notes or of its reason
HOSTILE: dict[str, tuple[str, tuple[str, ...] | None, str]] = {
    "endless loop in a cell": (RIGHT + "while True: pass", (), "cell 3 was stopped: it took"),
    "endless loop in a check": (
        "def twice(X):\n    while True: pass",
        ("q1-example", "q1-more"),
        "",
    ),
    "loop that does not listen": (
        "def twice(X):\n while True:\n  try:\n   sum(range(9))\n  except BaseException: pass\n"
        "twice(1)",
        ("q1-example", "q1-more"),
        "cell 3 was stopped",
    ),
    "os._exit in a cell": (
        RIGHT + "import os; os._exit(0)",
        ("q1-example", "q1-more"),
        "cell 3 ended the process",
    ),
    "os._exit in a check": (
        "import os\ndef twice(X):\n    os._exit(0)",
        ("q1-example", "q1-more"),
        "",
    ),
    "sys.exit in a cell": (RIGHT + "import sys; sys.exit(0)", (), ""),
    "exit in a cell": (RIGHT + "exit()", (), ""),
    "sys.exit in a check": (
        "import sys\ndef twice(X):\n    sys.exit(0)",
        ("q1-example", "q1-more"),
        "",
    ),
    "kill everybody": (RIGHT + "import os\ntry: os.kill(-1, 9)\nexcept OSError: pass", (), ""),
    "fork bomb": (RIGHT + "import os\nwhile True: os.fork() or os.fork()", None, ""),
    "patient fork bomb": (
        RIGHT + "import os, time\nwhile True:\n    if not os.fork(): time.sleep(60)",
        None,
        "",
    ),
    "fork bomb in a check": (
        "import os\ndef twice(X):\n    while True:\n        try: os.fork()\n"
        "        except OSError: pass",
        ("q1-example", "q1-more"),
        "",
    ),
    "20 GB": (RIGHT + "Z = np.ones(20 * 2**27)", (), ""),
    "20 GB in a check": (
        "def twice(X):\n    return np.ones(20 * 2**27)",
        ("q1-example", "q1-more"),
        "",
    ),
    "1 GB of output": (
        RIGHT + "for n in range(1000): print('x' * 1_000_000)",
        None,
        "cell 3 was stopped: it",
    ),
    "1 GB of output in a check": (
        "def twice(X):\n    for n in range(1000): print('x' * 1_000_000)\n    return 2 * X",
        None,
        "",
    ),
    "threads": (
        RIGHT + "import threading, time\n"
        "while True: threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
        None,
        "",
    ),
    "processes that stay": (
        RIGHT + "import os\nfor n in range(20):\n    if not os.fork():\n        while True: pass",
        (),
        "",
    ),
    "a message of another kind": (
        RIGHT + "import os, struct\nos.write(3, struct.pack('<I', 3) + b'Xyz')",
        None,
        "cell 3 ended",
    ),
    "a message that is too long": (
        RIGHT + "import os, struct\nos.write(3, struct.pack('<I', 2**32 - 1) + b'Oyz')",
        None,
        "cell 3 ended",
    ),
    "a verdict of one's own": (
        'import os, struct\nverdict = b\'V{"error": ""}\'\n'
        "def twice(X):\n    os.write(3, struct.pack('<I', len(verdict)) + verdict)\n    return X",
        ("q1-example", "q1-more"),
        "",
    ),
    "an answer without an end": (
        "def twice(X):\n    x = []\n    for n in range(100_000): x = [x]\n    return x",
        ("q1-example", "q1-more"),
        "",
    ),
    "an answer of 200 MB": (
        "def twice(X):\n    return torch.zeros(50_000_000)",
        ("q1-example", "q1-more"),
        "",
    ),
    "an answer that is a cycle": (
        "def twice(X):\n    x = []\n    x.append(x)\n    return x",
        ("q1-example", "q1-more"),
        "",
    ),
    "an odd character in an error": (
        'def twice(X):\n    raise ValueError("\\ud800\\x1b[31m")',
        ("q1-example", "q1-more"),
        "",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(name: str, lab: Lab, tmp_path: Path, and_next: None) -> None:
    code, lost, words = HOSTILE[name]
    result = graded(submission(q1=code), lab, tmp_path)
    print(result)
    assert words in "; ".join((*result.notes, result.reason))
    assert result.status == "graded"
    points = {id: value for id, value in result.points.items() if id.startswith("q2")}
    assert points == {"q2-example": 1.0, "q2-more": 2.0}  # other questions lose nothing
    if lost is not None:  # else its own question is lost or not, as it happens
        assert result.points == without(*lost)


@pytest.mark.parametrize(
    "cell",
    [
        "torch.set_grad_enabled(False)",
        "torch.set_default_dtype(torch.float64)",
        "import torch._dynamo, pandas\ntorch.manual_seed(0)",
        "torch.allclose = torch.equal = None",
        "import numpy as np\nnp.seterr(all='raise')",
        "twice = twice(torch.ones(3))",
        "largest = 3\ndef max(values): return 0",
        "del twice, largest",
    ],
)
def test_what_a_later_cell_does_is_no_concern_of_an_answer(
    cell: str, lab: Lab, tmp_path: Path
) -> None:
    notebook = submission()
    notebook["cells"].append(plain(cell))
    result = graded(notebook, lab, tmp_path, Limits())
    assert (result.status, result.points, result.error) == ("graded", FULL, {})


def test_what_stands_in_an_edited_cell_works_when_graded(lab: Lab, tmp_path: Path) -> None:
    notebook = submission(q1="def twice(X):\n    return math.prod([2, X])")
    notebook["cells"][place(notebook, "setup")]["source"] = "import math\n" + SETUP
    result = graded(notebook, lab, tmp_path)
    assert (result.status, result.points) == ("graded", FULL)
    assert result.notes == ("setup was edited",)


@pytest.mark.parametrize(
    "leak",
    [
        "print(X)",
        "seen.append(str(X)); print(seen, flush=True)",
        "open('/tmp/x', 'a').write(str(X))",
        "raise ValueError(str(X))",
        "import sys; raise AssertionError(str(sys._getframe(1).f_code.co_consts))",
        "raise type(str(X), (Exception,), {})()",
        "import os; os.system(f'echo {X}')",
        "import warnings; warnings.warn(str(X))",
    ],
)
def test_hidden_checks_do_not_come_out(leak: str, lab: Lab, tmp_path: Path) -> None:
    notebook = submission(q1=f"seen = []\ndef twice(X):\n    {leak}\n    return 2 * X")
    notebook["cells"].insert(
        place(notebook, "q1-more") + 1,
        plain("print(seen)\nimport os\nprint(os.path.exists('/tmp/x') and open('/tmp/x').read())"),
    )
    result = graded(notebook, lab, tmp_path)  # looks for the secrets
    assert result.points["q2-more"] == 2


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "empty"),
        (b'{"cells": [', "not JSON"),
        (b"x" * 100_000_001, "MB"),
        (json.dumps({"cells": []}).encode(), "not small"),
    ],
)
def test_not_executed(raw: bytes, words: str, lab: Lab, tmp_path: Path, and_next: None) -> None:
    result = graded(raw, lab, tmp_path)
    assert result.status == "needs a person"
    assert words in result.reason
    assert set(result.points.values()) == {None}
    assert result.notebook == ""


def test_200_megabytes(lab: Lab, tmp_path: Path, and_next: None) -> None:
    notebook = submission()
    notebook["cells"][2]["outputs"] = [{"text": "x" * 200_000_000}]
    assert "MB" in graded(notebook, lab, tmp_path).reason


@pytest.mark.parametrize("kind", ["missing", "folder", "link", "pipe"])
def test_no_file(kind: str, lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "small.ipynb"
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to("/etc/passwd")
    elif kind == "pipe":
        os.mkfifo(path)
    result = grade(path, "ann", lab)
    assert (result.status, result.reason) == ("needs a person", "small.ipynb is no file")


def test_renamed_file(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "small (1).ipynb"
    path.write_text(json.dumps(submission()), encoding="utf-8")
    assert grade(path, "ann", lab).points == FULL


def test_edited_checks_are_the_authors_again(lab: Lab, tmp_path: Path) -> None:
    notebook = submission(q1="def twice(X): return X")
    notebook["cells"][place(notebook, "q1-more")]["source"] = "pass"
    notebook["cells"][place(notebook, "q1-example")]["cell_type"] = "markdown"
    notebook["cells"].append(notebook["cells"][place(notebook, "q2-more")])
    result = graded(notebook, lab, tmp_path)
    assert result.points == without("q1-example", "q1-more")
    assert len(result.notes) == 3


def test_stripped_metadata(lab: Lab, tmp_path: Path) -> None:
    notebook = submission()
    for made in notebook["cells"]:
        made["metadata"] = {}
    assert graded(notebook, lab, tmp_path).points == FULL


def test_kernel_that_ends_again_and_again(lab: Lab, tmp_path: Path, and_next: None) -> None:
    notebook = submission()
    for _ in range(3):
        notebook["cells"].insert(1, plain("import os; os._exit(1)"))
    limits = Limits(cell=5, restarts=2)
    result = graded(notebook, lab, tmp_path, limits)
    assert "ended 3 times" in result.reason
    assert result.points == dict.fromkeys(FULL)


def test_time_in_all(lab: Lab, tmp_path: Path) -> None:
    notebook = submission()
    for _ in range(3):
        notebook["cells"].insert(1, plain("import time; time.sleep(60)"))
    result = graded(notebook, lab, tmp_path, Limits(cell=1, total=2))
    assert "too long in all" in result.reason


def test_outputs_are_cut_and_safe(lab: Lab, tmp_path: Path) -> None:
    notebook = submission()
    code = "print('y' * 500_000)\nfrom IPython.display import HTML\nHTML('<script>1</script>')"
    notebook["cells"].insert(1, plain(code))
    notebook["cells"].insert(2, plain("1 / 0"))
    result = graded(notebook, lab, tmp_path)
    assert len(result.notebook) < 50_000
    assert "<script>" not in json.dumps(
        [c.get("outputs") for c in json.loads(result.notebook)["cells"]]
    )
    [error] = json.loads(result.notebook)["cells"][2]["outputs"]
    assert error["traceback"] == ["ZeroDivisionError: division by zero"]


def test_no_sandbox_no_grade(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SandboxError, match="install it"):
        graded(submission(), lab, tmp_path)
    path = tmp_path / "small.ipynb"
    assert grade(path, "ann", lab, unsafe=True).points == FULL
