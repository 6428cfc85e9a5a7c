"""What runs in the sandbox reaches nothing outside it, and takes no more than it may."""

from __future__ import annotations

import contextlib
import os
import platform
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cnnlib.images import PROJECT
from labs.grading import sandbox
from labs.grading.grade import _Run
from labs.grading.lab import Lab, read_lab
from labs.grading.sandbox import Limits, Sandboxed, SandboxError, start
from tests.labs.small import SETUP, write_lab

LIMITS = Limits(scratch=2**20, output=10**6)
pytestmark = pytest.mark.sandbox


@dataclass
class Reply:
    """How a cell ended, and what it showed."""

    ending: str
    outputs: list[Any]


class Kernel:
    """A student's process that runs cells."""

    def __init__(self, lab: Lab, limits: Limits, *, unsafe: bool = False) -> None:
        self.process = start("student", lab, limits, unsafe=unsafe)
        self._run = _Run(lab, limits, unsafe, "")

    def run(self, code: str, seconds: float) -> Reply:
        return Reply(*self._run._run(self.process, code, seconds))

    def alive(self) -> bool:
        return self.process.alive()

    def close(self) -> None:
        self.process.close()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return read_lab(write_lab(tmp_path_factory.mktemp("source")), "small")


@pytest.fixture(scope="module")
def shared(lab: Lab) -> Iterator[Kernel]:
    """A kernel for tests that leave it in order."""
    kernel = Kernel(lab, LIMITS)
    yield kernel
    kernel.close()


@pytest.fixture
def kernel(lab: Lab) -> Iterator[Kernel]:
    """A kernel of one's own."""
    kernel = Kernel(lab, LIMITS)
    yield kernel
    kernel.close()


def words(reply: Reply) -> str:
    """What a cell printed, and its error."""
    return "".join(told[2] for told in reply.outputs if told[0] in ("text", "error"))


def test_setup_cell_runs(shared: Kernel) -> None:
    assert shared.run(SETUP, 30).ending == "ok"
    assert words(shared.run("print(output_size(5, 3))", 30)) == "3\n"


def test_lectures_data_are_there(shared: Kernel) -> None:
    """By the same relative path as from the student's own folder, two below `labs`."""
    for path in ("img/cat.png", "data", "cnnlib/convolution.py"):
        reply = shared.run(f"import os; print(os.path.exists('../../../{path}'))", 30)
        assert words(reply) == "True\n"
        assert (PROJECT / path).exists()


def test_pictures_are_drawn(shared: Kernel) -> None:
    reply = shared.run("import matplotlib.pyplot as plt\nplt.plot([1, 2])", 60)
    assert any(told[0] == "data" and "image/png" in told[1] for told in reply.outputs)


@pytest.mark.parametrize(
    "path",
    [
        *[PROJECT / "labs" / name for name in ("source", "gradebook.db", "grading", "README.md")],
        *[PROJECT / name for name in ("tests", "README.md", ".git", "notebooks")],
        *[Path("/etc/passwd"), Path("/etc/hostname"), Path("/var"), Path("/sys"), Path("/home")],
    ],
)
def test_nothing_else_is_seen(shared: Kernel, path: Path) -> None:
    reply = shared.run(f"import os; print(os.path.lexists({str(path)!r}))", 30)
    assert words(reply) == "False\n"


def test_home_and_other_temporary_files_are_not_seen(shared: Kernel, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("42", encoding="utf-8")
    assert "No such file" in words(shared.run(f"open({str(tmp_path / 'secret')!r})", 30))
    made = PROJECT / "build" / "not-seen"  # below build/, the environment itself may be
    made.mkdir(parents=True, exist_ok=True)
    assert "No such file" in words(shared.run(f"import os; os.listdir({str(made)!r})", 30))
    made.rmdir()
    reply = shared.run(
        f"print([file for folder, _, files in os.walk({str(Path.home())!r}) for file in files\n"
        f"       if not folder.startswith({(sys.prefix, sys.base_prefix, str(PROJECT))!r})])",
        60,
    )
    assert words(reply) == "[]\n"


@pytest.mark.parametrize(
    "path",
    [
        *[
            PROJECT / name
            for name in ("cnnlib/_checks.py", "cnnlib/new", "data/new", "new", "labs/new")
        ],
        *[Path(folder, "new") for folder in (sys.prefix, "/", "/usr", "/dev", "/etc")],
    ],
)
def test_nothing_outside_can_be_written(shared: Kernel, path: Path) -> None:
    before = path.read_bytes() if path.exists() else None
    assert shared.run(f"open({str(path)!r}, 'w').write('mine')", 30).ending == "error"
    assert (path.read_bytes() if path.exists() else None) == before


@pytest.mark.parametrize("folder", [".", "/tmp", "/dev/shm"])
def test_scratch_files_are_limited(shared: Kernel, folder: str) -> None:
    code = f"with open('{folder}/x', 'wb') as file: file.write(bytes({{}}))"
    reply = shared.run(code.format(1000), 30)
    assert reply.ending == "ok", words(reply)
    assert shared.run(code.format(2_000_000), 30).ending == "error"
    many = f"for n in range(9): open(f'{folder}/{{n}}', 'wb').write(bytes(500_000))"
    assert "No space left" in words(shared.run(many, 30))
    reply = shared.run(f"import glob\nfor n in glob.glob('{folder}/[x0-9]'): os.remove(n)", 30)
    assert reply.ending == "ok", words(reply)


def test_no_network(shared: Kernel) -> None:
    code = "import socket; socket.create_connection(('{}', {}), timeout=5)"
    assert "unreachable" in words(shared.run(code.format("192.0.2.1", 80), 30))
    server = socket.create_server(("127.0.0.1", 0))
    with server:
        reply = shared.run(code.format("127.0.0.1", server.getsockname()[1]), 30)
    assert "refused" in words(reply)


def test_no_other_process_is_seen(shared: Kernel) -> None:
    reply = shared.run("import os; print(len([n for n in os.listdir('/proc') if n.isdigit()]))", 30)
    assert int(words(reply)) <= 4
    assert "No such process" in words(shared.run(f"os.kill({os.getpid()}, 9)", 30))


def test_no_rights(shared: Kernel) -> None:
    reply = shared.run(
        "import re; print(re.findall('CapEff.*|NoNew.*', open('/proc/self/status').read()))", 30
    )
    assert "CapEff:\\t0000000000000000" in words(reply)
    assert "NoNewPrivs:\\t1" in words(reply)
    assert (
        shared.run(
            "import ctypes; assert ctypes.CDLL(None).mount(b'/', b'/tmp', 0, 4096, 0) == 0", 30
        ).ending
        == "error"
    )


def test_no_variables_of_the_environment(monkeypatch: pytest.MonkeyPatch, lab: Lab) -> None:
    monkeypatch.setenv("GRADEBOOK_PASSWORD", "swordfish")
    sandbox._parent.cache_clear()  # it takes its own when it starts
    kernel = Kernel(lab, LIMITS)
    code = "import os; print(dict(os.environ))"
    assert "swordfish" not in words(kernel.run(code, 30))
    code = "print([line for line in open('/proc/self/environ', errors='replace')])"
    assert "swordfish" not in words(kernel.run(code, 30))
    kernel.close()


def test_endless_loop_is_interrupted(shared: Kernel) -> None:
    assert shared.run("while True: pass", 1).ending == "slow"
    assert shared.alive()
    assert shared.run("1", 30).ending == "ok"


def test_loop_that_does_not_listen_is_ended(kernel: Kernel) -> None:
    code = "while True:\n try:\n  while True: sum(range(1000))\n except BaseException: pass"
    assert kernel.run(code, 1).ending == "slow"
    assert not kernel.alive()
    assert kernel.run("1", 30).ending == "died"


def test_exit_of_the_process(kernel: Kernel) -> None:
    assert kernel.run("import os; os._exit(0)", 30).ending == "died"
    assert not kernel.alive()


def test_signals_to_everybody(kernel: Kernel) -> None:
    code = "import os\nfor pid in (1, 2, -1): \n try: os.kill(pid, 9)\n except OSError: pass"
    kernel.run(code, 30)
    assert os.getpid() > 1  # we are still here


def test_memory(shared: Kernel) -> None:
    assert shared.run("import numpy as np; np.ones(20 * 2**27)", 30).ending == "error"
    assert shared.run("import mmap; mmap.mmap(-1, 20 * 2**30)", 30).ending == "error"
    assert shared.run("import torch; torch.ones(20 * 2**28)", 30).ending == "error"
    assert shared.run("np.ones(2**25).sum()", 30).ending == "ok"


def test_fork_bomb(kernel: Kernel) -> None:
    code = """
import os, time
count = 0
while True:
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
    count += 1
"""
    reply = kernel.run(code, 30)
    assert "Resource temporarily unavailable" in words(reply)
    assert 10 < int(words(kernel.run("print(count)", 30))) < LIMITS.processes


def test_fork_bomb_of_children_too(lab: Lab) -> None:
    kernel = Kernel(lab, LIMITS)
    kernel.run("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass", 2)
    assert isinstance(kernel.process, Sandboxed)
    assert running(kernel.process.namespace) <= LIMITS.processes + 3
    kernel.close()
    assert gone(kernel.process.namespace)


def running(namespace: str) -> int:
    """How many processes there are in a sandbox, seen from outside."""
    number = 0
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            number += entry.name.isdecimal() and os.readlink(entry / "ns/pid") == namespace
    return number


def gone(namespace: str) -> bool:
    """Wait for the last process of a sandbox to end."""
    end = time.monotonic() + 30
    while running(namespace) and time.monotonic() < end:
        time.sleep(0.05)
    return not running(namespace)


@pytest.mark.parametrize(
    "code",
    [
        "for n in range(1000): print('x' * 1_000_000)",
        "print('x' * 200_000_000)",
        "import sys\nwhile True: sys.stderr.write('x' * 1000)",
    ],
)
def test_output_is_limited(kernel: Kernel, code: str) -> None:
    reply = kernel.run(code, 60)
    assert reply.ending == "loud"
    assert len(words(reply)) <= LIMITS.output
    if kernel.alive():
        assert kernel.run("1", 30).ending == "ok"


def test_garbage_instead_of_answers(kernel: Kernel) -> None:
    code = "import os; os.write(3, b'\\x05\\x00\\x00\\x00Oabcd')"
    assert kernel.run(code, 20).ending == "died"
    assert not kernel.alive()


# What each would do, as C sees it; numbers of system calls on x86-64.
REFUSED = {
    "io_uring": "libc.syscall(425, 8, ctypes.create_string_buffer(120))",
    "ptrace": "libc.ptrace(16, 1, 0, 0)",
    "keyctl": "libc.syscall(250, 0, -3, 0)",
    "userfaultfd": "libc.syscall(323, 0)",
    "bpf": "libc.syscall(321, 0, 0, 0)",
    "perf": "libc.syscall(298, ctypes.create_string_buffer(128), 0, -1, -1, 0)",
    "memory that no limit counts": "libc.memfd_create(b'x', 0)",
    "shared memory of the old kind": "libc.shmget(0, 4096, 0o1600)",
    "a namespace": "libc.unshare(0x10000000)",
    "a process in a namespace": "libc.syscall(56, 0x10000011, 0, 0, 0, 0)",
    "AF_VSOCK": "libc.socket(40, 1, 0)",
    "AF_NETLINK": "libc.socket(16, 3, 0)",
    "AF_PACKET": "libc.socket(17, 3, 0)",
    "AF_ALG": "libc.socket(38, 5, 0)",
}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers of its system calls")
@pytest.mark.parametrize("name", REFUSED)
def test_doors_to_the_kernel_are_shut(shared: Kernel, name: str) -> None:
    code = (
        f"import ctypes; libc = ctypes.CDLL(None, use_errno=True); came = {REFUSED[name]}\n"
        f"print(came, ctypes.get_errno() in (1, 97))"
    )
    assert words(shared.run(code, 30)) == "-1 True\n"


def test_processes_and_threads_can_be_started(shared: Kernel) -> None:
    code = (
        "import subprocess, threading\nthreading.Thread(target=print).start()\n"
        "print(subprocess.run(['echo', '1'], capture_output=True).stdout)"
    )
    assert words(shared.run(code, 30)).strip() == "b'1\\n'"


def test_memory_of_all_processes_together(lab: Lab) -> None:
    kernel = Kernel(lab, Limits(memory=600 * 2**20))
    code = (
        "import os, time\nfor n in range(5):\n    if not os.fork():\n"
        "        mine = bytearray(os.urandom(2**20)) * 400\n        time.sleep(60)\n"
        "time.sleep(60)"
    )
    assert kernel.run(code, 50).ending == "died"
    kernel.close()


def test_the_first_process_tells_nothing(monkeypatch: pytest.MonkeyPatch, lab: Lab) -> None:
    monkeypatch.setenv("GRADEBOOK_PASSWORD", "swordfish")
    kernel = Kernel(lab, LIMITS)
    code = (
        "import glob\nfor name in glob.glob('/proc/[0-9]*/environ'):\n"
        "    try: print(open(name).read())\n    except OSError: pass"
    )
    assert "swordfish" not in words(kernel.run(code, 30))
    kernel.close()


ORDINARY = """
import sys
from labs.grading.grade import _Run
from labs.grading.sandbox import *
lab, limits = Lab("small", ()), Limits()
process = start("student", lab, limits)
print(os.getuid())
print(_Run(lab, limits, False, "")._run(process, sys.argv[1], 30))
process.close()
"""
INSIDE = """
import glob
for name in glob.glob("/proc/[0-9]*/environ"):
    try: print(open(name).read())
    except OSError: pass
try: print(open("/proc/1/mem", "rb").read(1))
except OSError: print("no memory")
"""


def test_an_ordinary_user_has_walls_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADEBOOK_PASSWORD", "swordfish")
    # Root becomes user 1000 of a namespace, and may still read this environment's files.
    user = ["unshare", "--user", "--map-user=1000", "--map-group=1000"] if os.getuid() == 0 else []
    command = [*user, sys.executable, "-c", ORDINARY, INSIDE]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, check=False, encoding="utf-8")
    assert "('ok'" in done.stdout, done.stderr
    assert not done.stdout.startswith("0")
    assert "swordfish" not in done.stdout
    assert "no memory" in done.stdout


def test_kernels_do_not_see_each_other(shared: Kernel, kernel: Kernel) -> None:
    assert kernel.run("open('/tmp/mine', 'w').write('42')", 30).ending == "ok"
    assert "No such file" in words(shared.run("open('/tmp/mine')", 30))


def test_without_bubblewrap(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SandboxError, match=r"install it .*or, .* grade with --unsafe"):
        start("student", lab, LIMITS)
    kernel = Kernel(lab, LIMITS, unsafe=True)
    assert words(kernel.run("print(1)", 60)) == "1\n"
    kernel.close()
    assert not kernel.alive()


def test_bubblewrap_that_is_not_allowed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sandbox, "_bwrap", lambda *_: ["bwrap", "--unshare-pid", "--no-such-option"]
    )
    with pytest.raises(SandboxError, match=r"bwrap cannot make a sandbox .*no-such-option"):
        start("student", lab, LIMITS)


def test_sandbox_is_to_be_had(lab: Lab) -> None:
    assert shutil.which("bwrap"), "install bubblewrap: `sudo apt install bubblewrap`"
    start("student", lab, LIMITS).close()


def test_a_grader_that_goes_without_an_answer_leaves_no_words() -> None:
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "labs.grading.forks", str(there.fileno())],
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        pass_fds=[there.fileno()],
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as parent:
        there.close()
        with here, open(os.devnull, "rb") as end:
            socket.send_fds(here, [b'{"imports": ""}'], [end.fileno()])  # a job that fails
            assert select.select([here], [], [], 60)[0]
        assert parent.stderr
        assert (parent.stderr.read(), parent.wait()) == ("", 0)


def test_ends_with_the_grader(tmp_path: Path) -> None:
    """Also if it is killed."""
    code = (
        "import os, time\n"
        "from labs.grading.sandbox import *\n"
        "kernel = start('student', Lab('small', ()), Limits())\n"
        "print(kernel.namespace, flush=True)\n"
        "time.sleep(60)\n"
    )
    grader = subprocess.Popen(
        [sys.executable, "-c", code], cwd=PROJECT, stdout=subprocess.PIPE, encoding="utf-8"
    )
    with grader:
        assert grader.stdout
        namespace = grader.stdout.readline().strip()
        assert namespace.startswith("pid:")
        grader.kill()
    assert gone(namespace)
