"""The process that sandboxed kernels are forked from: it has imported what takes long.

`python -m labs.grading.kernel` reads one job a line (JSON) and answers with the process id of a new
kernel. It runs nothing of a student's: a fork of it enters the namespaces of a sandbox that bwrap
has made, gives up every right that it has left, and only then becomes a Jupyter kernel.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import resource
import sys
import traceback
from pathlib import Path
from typing import Any

# From linux/sched.h, linux/prctl.h and linux/capability.h.
NEW_USER = 0x10000000
NEW_OTHERS = 0x02000000 | 0x00020000 | 0x04000000 | 0x08000000 | 0x20000000 | 0x40000000
SET_DUMPABLE, SET_NO_NEW_PRIVILEGES = 4, 38
CAPABILITY_VERSION = 0x20080522

LIBC = ctypes.CDLL(None, use_errno=True)


def serve() -> None:
    """Fork a kernel for every job on standard input."""
    for line in sys.stdin:
        job = json.loads(line)
        with contextlib.suppress(Exception):  # the setup cell will say it again, in the kernel
            exec(job["imports"], {})
        gc.collect()
        gc.freeze()  # or the first collection in a fork copies all of this memory
        if (child := os.fork()) == 0:
            try:
                _enter(job)
            except BaseException:
                _answer({"error": traceback.format_exc(limit=-1)})
            os._exit(1)
        os.waitpid(child, 0)


def _answer(words: dict[str, Any]) -> None:
    os.write(1, json.dumps(words).encode() + b"\n")


def _enter(job: dict[str, Any]) -> None:
    """Join the sandbox, and start the kernel in it."""
    # Before the way to the host's /proc is shut: should memory run out, this is what is killed.
    Path("/proc/self/oom_score_adj").write_text("1000")
    namespaces = NEW_OTHERS | (0 if job["user"] else NEW_USER)
    _must(LIBC.setns(os.pidfd_open(job["sandbox"]), namespaces), "setns")
    if child := os.fork():  # only a child is inside the namespace of processes
        _answer({"pid": child})
        os._exit(0)
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    _drop(job["user"])
    _limit(job)
    os.chdir(job["folder"])
    os.environ.update(HOME="/tmp", TMPDIR="/tmp", USER="student", LOGNAME="student")
    try:
        _become_kernel(job["connection"])
    finally:
        os._exit(0)


def _must(result: int, name: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


def _drop(user: int) -> None:
    """Become an ordinary user that nobody else is, if root; then give up all capabilities."""
    if user:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    header, none = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0), (ctypes.c_uint32 * 6)()
    _must(LIBC.capset(header, none), "capset")
    _must(LIBC.prctl(SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0), "prctl")
    # A change of user hides a process's own /proc/self from it, and libraries read that.
    _must(LIBC.prctl(SET_DUMPABLE, 1, 0, 0, 0), "prctl")


def _limit(job: dict[str, Any]) -> None:
    """Limit what the kernel, and every process that it starts, can take."""
    # torch alone maps gigabytes that it never touches; what counts is what comes on top.
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    for name, most in {
        resource.RLIMIT_AS: mapped + job["memory"],
        resource.RLIMIT_NPROC: job["processes"],
        resource.RLIMIT_FSIZE: job["scratch"],
        resource.RLIMIT_NOFILE: 512,
        resource.RLIMIT_CORE: 0,
    }.items():
        resource.setrlimit(name, (most, most))


def _become_kernel(connection: dict[str, Any]) -> None:
    from ipykernel.kernelapp import IPKernelApp

    file = Path(connection["ip"] + ".json")
    file.write_text(json.dumps(connection))
    app: Any = IPKernelApp.instance()
    app.initialize(["-f", str(file), "--HistoryManager.hist_file=:memory:", "--log-level=50"])
    app.start()


if __name__ == "__main__":
    serve()
