"""A process that sees nothing but what a lab needs, and can take no more than its limits.

bwrap makes the sandbox: new namespaces for processes, network, files and the rest; system
libraries, the Python environment, `cnnlib`, `data` and `img` read-only; memory of limited size for
scratch files; nothing else of this machine. The process in it is forked from one that imported
torch and the like before (`forks.py`): that takes a fraction of a second instead of some. The
connection to it is a pair of sockets without a name.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cnnlib._files import PROJECT
from labs.grading.lab import Lab
from labs.grading.pipe import Data, Garbage, Gone, Late, Pipe

SYSTEM = "/usr /bin /sbin /lib /lib32 /lib64 /etc/ld.so.cache /etc/alternatives /etc/fonts"
MEGABYTE = 2**20
START = 120  # seconds that a process has to start
MARGIN = 512 * MEGABYTE  # of memory, for what was imported before
# Modules that setup cells and checks import when they run, and that take long to import.
IMPORTED = "numpy.testing, scipy.ndimage, scipy.signal, torchvision.datasets"
LOOK = 0.5  # seconds from one look at the memory to the next


class SandboxError(RuntimeError):
    """No sandbox can be had on this machine; the message says what to do."""


@dataclass(frozen=True)
class Limits:
    """What a submission may take.

    Attributes:
        cell: Seconds for one cell; a check, at which two processes work, has twice as many.
        total: Seconds for all of them.
        memory: Bytes for all processes together, beyond what imported libraries take; and for each
            of them, of address space.
        processes: Processes and threads at one time.
        scratch: Bytes of scratch files.
        output: Bytes of output from one cell; one that prints more is stopped.
        restarts: How often a process that ended is started again.
    """

    cell: float = 30
    total: float = 300
    memory: int = 4096 * MEGABYTE
    processes: int = 64
    scratch: int = 256 * MEGABYTE
    output: int = 10 * MEGABYTE
    restarts: int = 20


class Process:
    """The judge or a student's process; close it after use."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._open = contextlib.ExitStack()
        here, self._there = socket.socketpair()
        self._pipe = Pipe(here)
        self._open.callback(here.close)
        self._open.callback(self._there.close)

    def send(self, kind: bytes, message: Data | dict[str, Any], seconds: float) -> None:
        """Send a message of a kind: `S` for what judge and student say to each other, or `H`."""
        words = json.dumps(message).encode() if isinstance(message, dict) else message
        try:
            self._pipe.send(kind, words, time.monotonic() + seconds)
        except Late:
            self.kill()
            raise Gone from None

    def receive(self, until: float) -> tuple[bytes, bytearray]:
        """Return the kind of the next message, and the message.

        Raises:
            Late: It has not come in time.
            Gone: The process ended, or took more memory than it may; it has been killed.
        """
        try:
            while True:
                self._check_memory()
                end = self._pipe.end
                left = max(0.0, min(LOOK, until - time.monotonic()))
                if select.select([end], [], [], left)[0]:
                    return self._pipe.receive(max(until, time.monotonic() + 1))
                if time.monotonic() >= until:
                    raise Late
        except (Gone, Garbage):
            self.kill()
            raise Gone from None

    def _check_memory(self) -> None:
        """Raise Gone if there is too much of it."""

    def alive(self) -> bool:
        """Whether the process still runs."""
        raise NotImplementedError

    def interrupt(self) -> None:
        """Ask the process to stop what it does."""
        raise NotImplementedError

    def kill(self) -> None:
        """End the process and everything that it started."""
        raise NotImplementedError

    def close(self) -> None:
        """End the process, and the connection to it."""
        self.kill()
        self._open.close()


class Sandboxed(Process):
    """A process in a sandbox."""

    def __init__(self, role: str, lab: Lab, limits: Limits) -> None:
        super().__init__(limits)
        self._pidfd: int | None = None
        self._looked = 0.0
        folder = PROJECT / "labs" / "scratch" / lab.name
        # `cat` holds the sandbox open, says when it is ready, and the sandbox ends with it. The
        # environment is empty: all processes of a sandbox can read that of the first one.
        read, write = os.pipe()
        self._holder = self._open.enter_context(
            subprocess.Popen(
                [*_bwrap(folder, limits), "--info-fd", str(write), "cat"],
                env={},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                pass_fds=[write],
            )
        )
        os.close(write)
        try:
            with open(read, encoding="utf-8") as pipe:
                information = pipe.read()
            stdin, stdout, stderr = self._holder.stdin, self._holder.stdout, self._holder.stderr
            assert stdin
            assert stdout
            assert stderr
            with contextlib.suppress(BrokenPipeError):
                stdin.write(b"\n")
            if not stdout.readline():
                raise SandboxError(_no_sandbox(stderr.read().decode(errors="replace")))
            first = json.loads(information)["child-pid"]
            self.namespace = os.readlink(f"/proc/{first}/ns/pid")
            job = {
                "role": role,
                "sandbox": first,
                # A user that no other process has, so that the limit counts these alone.
                "user": 2**30 + secrets.randbelow(2**30) if os.getuid() == 0 else 0,
                "folder": str(folder),
                "imports": f"{lab.imports}\nimport {IMPORTED}",
            }
            pid = _fork(job | asdict(limits), self._there)
            self._pidfd = os.pidfd_open(pid)
            self._open.callback(os.close, self._pidfd)
        except BaseException:
            self.close()
            raise

    def _check_memory(self) -> None:
        if time.monotonic() < self._looked + LOOK:
            return
        most = self._limits.memory + MARGIN
        inside = [entry for entry in os.listdir("/proc") if entry.isdecimal()]
        inside = [entry for entry in inside if _namespace(entry) == self.namespace]
        # First count what a process shares with others for each of them: that is quick to read.
        if sum(map(_resident, inside)) > most and sum(map(_memory, inside)) > most:
            raise Gone
        self._looked = time.monotonic()

    def alive(self) -> bool:  # noqa: D102
        return self._pidfd is not None and not select.select([self._pidfd], [], [], 0)[0]

    def interrupt(self) -> None:  # noqa: D102
        assert self._pidfd is not None
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGINT)

    def kill(self) -> None:  # noqa: D102
        # With the first process of the sandbox, the system ends all others in it.
        self._holder.kill()
        self._holder.wait()
        if self._pidfd is not None:
            select.select([self._pidfd], [], [], START)


def _namespace(process: str) -> str:
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{process}/ns/pid")
    return ""


def _resident(process: str) -> int:
    """Return the bytes of memory that a process uses, alone or with others."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        words = Path(f"/proc/{process}/statm").read_text("utf-8").split()
        return int(words[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _memory(process: str) -> int:
    """Return the bytes that a process has for itself; what several share is divided among them."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = Path(f"/proc/{process}/smaps_rollup").read_text("utf-8").splitlines()
        parts = ("Pss_Anon:", "Pss_Shmem:")
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(parts))
    return 0


def _bwrap(folder: Path, limits: Limits) -> list[str]:
    """Return the command that makes a sandbox, up to what runs in it."""
    memory = ["--size", str(limits.scratch), "--perms", "1777", "--tmpfs"]
    command = [shutil.which("bwrap") or "bwrap", "--die-with-parent", "--unshare-ipc"]
    command += ["--unshare-pid", "--unshare-net"]
    command += ["--unshare-uts", "--unshare-cgroup-try", "--clearenv"]
    if os.getuid() != 0:  # root needs none, and becomes another user in the sandbox
        command.append("--unshare-user")
    command += ["--setenv", "PATH", "/usr/bin:/bin", *memory, "/tmp"]
    for path in map(Path, SYSTEM.split()):
        if path.is_symlink() and not path.readlink().is_absolute():
            command += ["--symlink", str(path.readlink()), str(path)]
        else:
            command += ["--ro-bind-try", str(path), str(path)]
    python = {sys.prefix, sys.base_prefix, *(p for p in sys.path if p.endswith("-packages"))}
    data = os.environ.get("CNNLIB_DATA", "")
    ours = [str(PROJECT / name) for name in ("cnnlib", "data", "img")]
    for part in [*sorted(python), *ours, data]:
        if part:
            for parent in reversed(Path(part).parents[:-1]):  # else bwrap hides them from others
                command += ["--dir", str(parent)]
            command += ["--ro-bind-try", part, part]
    command += ["--proc", "/proc", "--dev", "/dev", *memory, "/dev/shm"]
    command += ["--tmpfs", str(PROJECT / "labs"), *memory, str(folder)]
    return [
        *command,
        "--remount-ro",
        str(PROJECT / "labs"),
        "--remount-ro",
        "/dev",
        "--remount-ro",
        "/",
    ]


def _no_sandbox(reason: str) -> str:
    return (
        f"bwrap cannot make a sandbox here ({reason.strip()}): allow unprivileged user namespaces "
        f"(on Ubuntu, sysctl kernel.apparmor_restrict_unprivileged_userns=0), grade on another "
        f"machine, or, if you trust every submission, grade with --unsafe"
    )


# Outputs are pictures, and every kernel has one thread: submissions are graded side by side.
FIXED = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
}
KEPT = ("PATH", "HOME", "LANG", "SYSTEMROOT", "CNNLIB_DATA")
_forking = threading.Lock()


def _environment() -> dict[str, str]:
    """Return what a kernel gets of the environment variables: no passwords, no tokens."""
    return {name: os.environ[name] for name in KEPT if name in os.environ} | FIXED


@cache
def _parent() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start the process that others are forked from, once."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    parent = subprocess.Popen(
        [sys.executable, "-P", "-m", "labs.grading.forks", str(there.fileno())],
        cwd=PROJECT,
        env=_environment() | {"PYTHONPATH": str(PROJECT)},
        pass_fds=[there.fileno()],
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C in a terminal is for the grader, and this ends with it
    )
    there.close()

    @atexit.register
    def end() -> None:
        here.close()
        with parent:
            parent.kill()

    return parent, here


def _fork(job: dict[str, Any], end: socket.socket) -> int:
    """Return the process id of a new process that has this end of a connection."""
    with _forking, end:
        _, control = _parent()
        words = b""
        with contextlib.suppress(OSError):
            socket.send_fds(control, [json.dumps(job).encode()], [end.fileno()])
            words = control.recv(2**16)
        answer = json.loads(words or b'{"error": "its parent ended"}')
        if "error" in answer:
            _parent.cache_clear()
            raise SandboxError(f"a process did not start: {answer['error'].strip()}")
    return int(answer["pid"])


class Unsafe(Process):
    """A process that can do whatever you can do; only time and output are limited."""

    def __init__(self, role: str, lab: Lab, limits: Limits) -> None:
        super().__init__(limits)
        (PROJECT / "build").mkdir(exist_ok=True)
        scratch = self._open.enter_context(tempfile.TemporaryDirectory(dir=PROJECT / "build"))
        folder = Path(scratch) / lab.name
        folder.mkdir()
        end = self._there.fileno()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "labs.grading.forks", role, str(end)],
            cwd=folder,
            env=_environment() | {"PYTHONPATH": str(PROJECT), "IPYTHONDIR": scratch},
            pass_fds=[end],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._there.close()

    def alive(self) -> bool:  # noqa: D102
        return self._process.poll() is None

    def interrupt(self) -> None:  # noqa: D102
        self._process.send_signal(signal.SIGINT)

    def kill(self) -> None:  # noqa: D102
        self._process.kill()
        self._process.wait()


def start(role: str, lab: Lab, limits: Limits, *, unsafe: bool = False) -> Process:
    """Start a "judge" or a "student" for a lab, in a sandbox unless that is waived.

    Raises:
        SandboxError: There is no sandbox on this machine.
    """
    if unsafe:
        return Unsafe(role, lab, limits)
    if shutil.which("bwrap") is None:
        raise SandboxError(
            "grading runs submissions in a sandbox, which needs Linux and bubblewrap: install it "
            "(on Debian and Ubuntu, `sudo apt install bubblewrap`), or, if you trust every "
            "submission, grade with --unsafe"
        )
    return Sandboxed(role, lab, limits)
