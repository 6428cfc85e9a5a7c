"""The student's process: it runs the cells of a notebook, and then answers the judge's questions.

No check is ever in it, and nothing that it says is believed: what it sends is data, which the judge
compares. A student's code can change everything here, and only spoils its own answers.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
from typing import Any

import numpy as np
import torch

from labs.grading.peer import Peer
from labs.grading.pipe import Gone, Pipe

PICTURES = ("image/png", "image/jpeg")


def serve(pipe: Pipe) -> None:
    """Do what the grader asks for, until it is gone."""
    with contextlib.suppress(Gone):
        Student(pipe).work()


class Student(Peer):
    """The notebook's names, and what the grader and the judge ask of them."""

    def __init__(self, pipe: Pipe) -> None:
        super().__init__(pipe, side=1)
        self.process = os.getpid()
        self.busy = False
        self.before = _processes()
        self.marks: dict[str, dict[str, Any]] = {}
        self.shell = _shell(self)
        self.names = self.shell.user_ns
        # Ctrl-C of the grader: it stops what a student wrote, and nothing else.
        signal.signal(signal.SIGINT, self._interrupt)

    def _interrupt(self, *_: Any) -> None:
        if self.busy:
            self.busy = False
            raise KeyboardInterrupt

    def work(self) -> None:
        """Read what to do, and do it."""
        while True:
            kind, message = self.pipe.receive()
            if kind == b"S":
                self.serve(self.load(message))
                continue
            told = json.loads(message)
            if "mark" in told:  # the names as they are at a check
                self.marks[told["mark"]] = dict(self.names)
            else:
                ending = "error" if self.run(told["run"]) else "ok"
                self.tell("done", ending)

    def tell(self, kind: str, *content: Any) -> None:
        """Send something that is shown on the student's page, or the end of a cell."""
        if os.getpid() == self.process:
            self.pipe.send(b"O", json.dumps([kind, *content]).encode())

    def run(self, code: str) -> BaseException | None:
        """Run a cell, and return its error."""
        self.busy = True
        try:
            result = self.shell.run_cell(code, store_history=True)
        except BaseException as error:
            self.tell("error", type(error).__name__, str(error))
            return error
        finally:
            self.busy = False
        failed: BaseException | None = result.error_before_exec or result.error_in_exec
        return failed

    def receive(self) -> bytearray:
        """Return the judge's next message."""
        busy, self.busy = self.busy, False
        _, message = self.pipe.receive()
        self.busy = busy
        return message

    def perform(self, what: list[Any], of: Any, args: Any, kwargs: Any) -> Any:
        """Do what the judge asks for."""
        kind, name = what[:2]
        if kind == "begin":
            return self._begin(name, what[2])
        if kind == "bind":
            return self.names.update(kwargs)
        if kind == "gradients":
            return self.gradients(name, *args)
        function = self._function(kind, name, of)
        self.busy = True
        try:
            return function(*args, **kwargs)
        finally:
            self.busy = False

    def _function(self, kind: str, name: Any, of: Any) -> Any:
        if kind == "function":
            return self.objects[name]
        if kind == "method":
            return of if name == "forward" else getattr(of, name)
        if name not in self.names:
            raise NameError(f"name {name!r} is not defined")
        return self.names[name]

    def _begin(self, mark: str, seed: int) -> None:
        """Go back to where the notebook stood at a check; what a cell left behind plays no part."""
        for process in _processes() - self.before:
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGKILL)
        self.forget()
        self.names.clear()
        self.names.update(self.marks[mark])
        torch.set_grad_enabled(True)
        torch.set_default_dtype(torch.float32)
        torch.set_default_device("cpu")
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002 (students use it)
        random.seed(seed)
        sys.setrecursionlimit(3000)


def _processes() -> set[int]:
    return {int(name) for name in os.listdir("/proc") if name.isdecimal()} if _alone() else set()


def _alone() -> bool:
    """Say whether this is a sandbox, where all other processes are the student's."""
    return os.environ.get("USER") == "student" and os.path.isdir("/proc")


def _shell(student: Student) -> Any:
    """Return IPython without a terminal: what it shows goes to the grader."""
    from IPython.core.displayhook import DisplayHook
    from IPython.core.displaypub import DisplayPublisher
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    def show(data: dict[str, Any]) -> None:
        shown = {"text/plain": str(data.get("text/plain", ""))}
        for kind in PICTURES:
            picture = data.get(kind)
            if isinstance(picture, bytes):
                from base64 import b64encode

                picture = b64encode(picture).decode()
            if isinstance(picture, str):
                shown[kind] = picture
        student.tell("data", shown)

    class Publisher(DisplayPublisher):
        def publish(self, data: Any, *_: Any, **__: Any) -> None:
            show(data)

    class Hook(DisplayHook):
        def write_output_prompt(self) -> None:
            pass

        def write_format_data(self, format_dict: Any, md_dict: Any = None) -> None:
            show(format_dict)

        def finish_displayhook(self) -> None:
            pass

    class Shell(InteractiveShell):
        def enable_gui(self, gui: Any = None) -> None:
            pass

        def ask_exit(self) -> None:  # `exit()` in a cell ends the cell only
            pass

        def showtraceback(self, exc_tuple: Any = None, *_: Any, **__: Any) -> None:
            raised: Any = exc_tuple or sys.exc_info()
            student.tell("error", raised[0].__name__, str(raised[1]))

        def showsyntaxerror(self, *_: Any, **__: Any) -> None:
            self.showtraceback()

    sys.stdout, sys.stderr = _Stream(student, "stdout"), _Stream(student, "stderr")
    settings = Config()
    settings.HistoryManager.enabled = False
    shell: Any = Shell.instance(
        config=settings, display_pub_class=Publisher, displayhook_class=Hook, user_ns=None
    )
    shell.run_cell("%matplotlib inline", silent=True)
    return shell


class _Stream:
    """What a cell prints to."""

    encoding, errors, closed = "utf-8", "replace", False

    def __init__(self, student: Student, name: str) -> None:
        self.student, self.name = student, name

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        for start in range(0, len(text), 2**20):
            self.student.tell("text", self.name, text[start : start + 2**20])
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def fileno(self) -> int:
        return 1
