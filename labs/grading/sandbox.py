"""A kernel that sees nothing but what a lab needs, and can take no more than its limits.

bwrap makes the sandbox: new namespaces for processes, network, files and the rest; system
libraries, the Python environment, `cnnlib`, `data` and `img` read-only; memory of limited size for
scratch files; nothing else of this machine. The kernel in it is forked from a process that imported
torch and the like before (`kernel.py`): that takes a fraction of a second instead of some. It talks
over Unix sockets in the sandbox's /tmp, which are reached from outside through /proc.
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
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import zmq
from jupyter_client.client import KernelClient
from jupyter_client.manager import KernelManager

from labs.grading.lab import Lab

ROOT = Path(__file__).resolve().parents[2]
SYSTEM = "/usr /bin /sbin /lib /lib32 /lib64 /etc/ld.so.cache /etc/alternatives /etc/fonts"
MEGABYTE = 2**20
STOPPED = ("slow", "loud")
GRACE = 5.0  # seconds that a kernel has to obey, or to say that it is done
LARGEST_MESSAGE = 64 * 2**20  # a longer one ends the connection
START = 120  # seconds that a kernel has to start


class SandboxError(RuntimeError):
    """No sandbox can be had on this machine; the message says what to do."""


@dataclass(frozen=True)
class Limits:
    """What a submission may take.

    Attributes:
        cell: Seconds for one cell or check.
        total: Seconds for all of them.
        memory: Bytes of address space for each process, beyond what imported libraries take.
        processes: Processes and threads at one time; a kernel itself has about ten threads.
        scratch: Bytes of scratch files.
        output: Bytes of output from one cell; one that prints more is stopped.
        restarts: How often a kernel that died is started again.
    """

    cell: float = 30
    total: float = 300
    memory: int = 4096 * MEGABYTE
    processes: int = 64
    scratch: int = 256 * MEGABYTE
    output: int = 10 * MEGABYTE
    restarts: int = 3


@dataclass
class Reply:
    """What came of a cell.

    Attributes:
        ending: "ok", "error", "slow" (it was stopped), "loud" (so it was) or "died".
        outputs: The kernel's messages that carry output.
        value: The value of the expression that was asked for, as Python writes it, or "".
    """

    ending: str = "ok"
    outputs: list[dict[str, Any]] = field(default_factory=list)
    value: str = ""


class Kernel:
    """A running kernel; close it after use."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._open = contextlib.ExitStack()

    def _connect(self, connection: Any) -> None:
        context = zmq.Context()
        context.setsockopt(zmq.MAXMSGSIZE, LARGEST_MESSAGE)
        context.setsockopt(zmq.RECONNECT_IVL, 10)
        self._open.callback(context.destroy, linger=0)
        client = KernelClient(context=context)
        client.load_connection_info(connection)
        self._session = client.session
        self._shell, self._iopub = client.connect_shell(), client.connect_iopub()
        self._monitor = self._iopub.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._poller = zmq.Poller()
        self._poller.register(self._monitor, zmq.POLLIN)
        self._poller.register(self._shell, zmq.POLLIN)
        self._poller.register(self._iopub, zmq.POLLIN)
        end = time.monotonic() + START
        while not self._iopub.poll(50):  # until it is known that outputs arrive here
            if time.monotonic() > end or not self.alive():
                raise SandboxError(
                    f"a kernel ended while it started, or said nothing for {START} s"
                )
            self._session.send(self._shell, "kernel_info_request")

    def alive(self) -> bool:
        """Whether the kernel still runs."""
        raise NotImplementedError

    def interrupt(self) -> None:
        """Ask the kernel to stop what it does."""
        raise NotImplementedError

    def kill(self) -> None:
        """End the kernel and everything that it started."""
        raise NotImplementedError

    def close(self) -> None:
        """End the kernel, and the talk with it."""
        self.kill()
        self._open.close()

    def run(self, code: str, seconds: float, *, ask: str = "") -> Reply:
        """Run code, then ask for the value of an expression; stop what is too slow or too loud.

        Args:
            code: A cell, as a student writes it.
            seconds: When to stop it.
            ask: An expression, evaluated after the code; with one, history keeps nothing of this.
        """
        reply = Reply()
        try:
            self._talk(reply, code, seconds, ask)
        except Exception:  # a student's code can put any bytes where an answer is expected
            reply.ending = "died"
        if reply.ending == "died":
            self.kill()
        return reply

    def _talk(self, reply: Reply, code: str, seconds: float, ask: str) -> None:
        content = {
            "code": code,
            "silent": bool(ask),
            "store_history": not ask,
            "user_expressions": {"value": ask} if ask else {},
            "allow_stdin": False,
            "stop_on_error": False,
        }
        request = self._session.send(self._shell, "execute_request", content)["msg_id"]
        end, read, idle, answer = time.monotonic() + seconds, 0, False, None
        while not (idle and answer):
            left = end - time.monotonic()
            if left <= 0 and reply.ending in STOPPED:
                self.kill()  # it does not listen
                return
            if left <= 0:
                reply.ending, end = "slow", time.monotonic() + GRACE
                self.interrupt()
            events = self._poller.poll(100 if left > 0.1 else 10)
            if not events and not self.alive():
                reply.ending = reply.ending if reply.ending in STOPPED else "died"
                return
            if any(socket is self._monitor for socket, _ in events):
                # The kernel ended, or sent a message that is too large to be let in.
                gone = time.monotonic() + 0.5
                while self.alive() and time.monotonic() < gone:
                    time.sleep(0.01)
                reply.ending = "loud" if self.alive() else "died"
                self.kill()
                return
            for socket, _ in events:
                frames = socket.recv_multipart(zmq.NOBLOCK)
                message = self._session.deserialize(self._session.feed_identities(frames)[1])
                kind, content = message["msg_type"], message["content"]
                if message["parent_header"].get("msg_id") != request:
                    continue
                if kind == "execute_reply":
                    answer = content
                elif kind == "status":
                    idle = content["execution_state"] == "idle"
                elif (read := read + sum(map(len, frames))) <= self._limits.output:
                    reply.outputs.append(message)
                elif reply.ending not in STOPPED:
                    reply.ending, end = "loud", time.monotonic() + GRACE
                    self.interrupt()
        if reply.ending not in STOPPED:
            reply.ending = "ok" if answer["status"] == "ok" else "error"
        if ask and answer["status"] == "ok":
            reply.value = str(answer["user_expressions"]["value"]["data"]["text/plain"])


class Sandboxed(Kernel):
    """A kernel in a sandbox."""

    def __init__(self, lab: Lab, limits: Limits) -> None:
        super().__init__(limits)
        self._pidfd: int | None = None
        folder = ROOT / "labs" / "scratch" / lab.name
        # `cat` holds the sandbox open, says when it is ready, and the sandbox ends with it.
        read, write = os.pipe()
        self._holder = self._open.enter_context(
            subprocess.Popen(
                [*_bwrap(folder, limits), "--info-fd", str(write), "cat"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                pass_fds=[write],
            )
        )
        os.close(write)
        try:
            with open(read) as pipe:
                information = pipe.read()
            stdin, stdout, stderr = self._holder.stdin, self._holder.stdout, self._holder.stderr
            assert stdin
            assert stdout
            assert stderr
            with contextlib.suppress(BrokenPipeError):
                stdin.write(b"\n")
            if not stdout.readline():
                raise SandboxError(_no_sandbox(stderr.read().decode(errors="replace")))
            names = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")
            connection: dict[str, Any] = {name: port for port, name in enumerate(names, 1)}
            connection |= {"transport": "ipc", "ip": "/tmp/kernel", "key": secrets.token_hex()}
            first = json.loads(information)["child-pid"]
            self.namespace = os.readlink(f"/proc/{first}/ns/pid")
            job = {
                "sandbox": first,
                # A user that no other process has, so that the limit counts these alone.
                "user": 2**30 + secrets.randbelow(2**30) if os.getuid() == 0 else 0,
                "folder": str(folder),
                "imports": f"{lab.imports}\nimport numpy.testing, scipy.signal, scipy.ndimage",
                "connection": connection,
            }
            pid = _fork(job | asdict(limits))
            self._pidfd = os.pidfd_open(pid)
            self._open.callback(os.close, self._pidfd)
            self._connect(connection | {"ip": f"/proc/{pid}/root/tmp/kernel"})
        except BaseException:
            self.close()
            raise

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


def _bwrap(folder: Path, limits: Limits) -> list[str]:
    """Return the command that makes a sandbox, up to what runs in it."""
    memory = ["--size", str(limits.scratch), "--perms", "1777", "--tmpfs"]
    command = ["bwrap", "--die-with-parent", "--unshare-ipc", "--unshare-pid", "--unshare-net"]
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
    for part in [*sorted(python), *(str(ROOT / name) for name in ("cnnlib", "data", "img")), data]:
        if part:
            for parent in reversed(Path(part).parents[:-1]):  # else bwrap hides them from others
                command += ["--dir", str(parent)]
            command += ["--ro-bind-try", part, part]
    command += ["--proc", "/proc", "--dev", "/dev", *memory, "/dev/shm"]
    command += ["--tmpfs", str(ROOT / "labs"), *memory, str(folder)]
    return [
        *command,
        "--remount-ro",
        str(ROOT / "labs"),
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
def _parent() -> subprocess.Popen[bytes]:
    """Start the process that kernels are forked from, once."""
    parent = subprocess.Popen(
        [sys.executable, "-P", str(ROOT / "labs/grading/kernel.py")],
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )

    @atexit.register
    def end() -> None:
        with parent:
            parent.kill()

    return parent


def _fork(job: dict[str, Any]) -> int:
    """Return the process id of a new kernel."""
    with _forking:
        parent = _parent()
        assert parent.stdin
        assert parent.stdout
        with contextlib.suppress(BrokenPipeError):
            parent.stdin.write(json.dumps(job).encode() + b"\n")
            parent.stdin.flush()
        words = json.loads(parent.stdout.readline() or '{"error": "its parent ended"}')
        if "error" in words:
            _parent.cache_clear()
            raise SandboxError(f"a kernel did not start: {words['error'].strip()}")
    return int(words["pid"])


class Unsafe(Kernel):
    """A kernel that can do whatever you can do; only time and output are limited."""

    def __init__(self, lab: Lab, limits: Limits) -> None:
        super().__init__(limits)
        (ROOT / "build").mkdir(exist_ok=True)
        scratch = self._open.enter_context(tempfile.TemporaryDirectory(dir=ROOT / "build"))
        folder = Path(scratch) / lab.name
        folder.mkdir()
        self._manager = KernelManager()
        self._manager.start_kernel(cwd=str(folder), env=_environment())
        try:
            self._connect(self._manager.get_connection_info())
        except BaseException:
            self.close()
            raise

    def alive(self) -> bool:  # noqa: D102
        return self._manager.is_alive()

    def interrupt(self) -> None:  # noqa: D102
        self._manager.interrupt_kernel()

    def kill(self) -> None:  # noqa: D102
        self._manager.shutdown_kernel(now=True)


def start(lab: Lab, limits: Limits, *, unsafe: bool = False) -> Kernel:
    """Start a kernel for a lab, in a sandbox unless that is waived.

    Raises:
        SandboxError: There is no sandbox on this machine.
    """
    if unsafe:
        return Unsafe(lab, limits)
    if shutil.which("bwrap") is None:
        raise SandboxError(
            "grading runs submissions in a sandbox, which needs Linux and bubblewrap: install it "
            "(on Debian and Ubuntu, `sudo apt install bubblewrap`), or, if you trust every "
            "submission, grade with --unsafe"
        )
    return Sandboxed(lab, limits)


def require_sandbox() -> None:
    """Raise SandboxError, with what to do, if no sandbox can be had here."""
    start(Lab("lab", ()), Limits()).close()
