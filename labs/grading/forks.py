"""The process that judges and students' processes are forked from: it imported what takes long.

It gets one job a message, with one end of a connection, and answers with the process id of a fork.
It runs nothing of a student's and never sees a check: a fork of it enters the namespaces of a
sandbox that bwrap has made, gives up every right that it has left, and only then becomes one of the
two processes.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

ROOT = str(Path(__file__).resolve().parents[2])
sys.path.insert(0, ROOT)

import IPython.core.interactiveshell  # noqa: E402, F401 (imported before the forks)
import matplotlib_inline.backend_inline  # noqa: E402, F401

from labs.grading import judge, student, walls  # noqa: E402
from labs.grading.pipe import Pipe  # noqa: E402

NEW_USER = 0x10000000
NEW_OTHERS = 0x02000000 | 0x00020000 | 0x04000000 | 0x08000000 | 0x20000000 | 0x40000000


def serve(control: socket.socket) -> None:
    """Fork a process for every job."""
    while True:
        try:
            words, ends, *_ = socket.recv_fds(control, 2**16, 1)
        except ConnectionResetError:  # the grader went, and left an answer unread
            return
        if not words:
            return
        job = json.loads(words)
        with contextlib.suppress(Exception):  # the setup cell will say it again, in the fork
            exec(job["imports"], {})
        gc.collect()
        gc.freeze()  # or the first collection in a fork copies all of this memory
        if (child := os.fork()) == 0:
            try:
                _enter(job, ends[0], control)
            except BaseException:
                with contextlib.suppress(OSError):  # the grader may be gone
                    control.send(json.dumps({"error": traceback.format_exc(limit=-1)}).encode())
            os._exit(1)
        os.close(ends[0])
        os.waitpid(child, 0)


def _enter(job: dict[str, Any], end: int, control: socket.socket) -> None:
    """Join the sandbox, and become the judge or the student's process in it."""
    # Before the way to the host's /proc is shut: should memory run out, this is what is killed.
    Path("/proc/self/oom_score_adj").write_text("1000", "utf-8")
    namespaces = NEW_OTHERS | (0 if job["user"] else NEW_USER)
    walls.must(walls.LIBC.setns(os.pidfd_open(job["sandbox"]), namespaces), "setns")
    if child := os.fork():  # only a child is inside the namespace of processes
        control.send(json.dumps({"pid": child}).encode())
        os._exit(0)
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(end, 3)
    for number in range(3):
        os.dup2(null, number)
    os.closerange(4, os.sysconf("SC_OPEN_MAX"))
    walls.drop(job["user"])
    walls.limit(job)
    walls.filter_calls()
    os.chdir(job["folder"])
    os.environ.update(HOME="/tmp", TMPDIR="/tmp", USER="student", LOGNAME="student")
    become(job["role"], 3)


def become(role: str, end: int) -> None:
    """Be the judge or the student's process, until the grader is gone."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # a worker blocks it
        pipe = Pipe(socket.socket(fileno=end))
        if role == "student":
            sys.path.remove(ROOT)
            student.serve(pipe)
        else:
            judge.serve(pipe)
    finally:
        os._exit(0)


if __name__ == "__main__":
    if len(sys.argv) > 2:  # without a sandbox
        become(sys.argv[1], int(sys.argv[2]))
    serve(socket.socket(fileno=int(sys.argv[1])))
