"""What judges checks inside a student's kernel; it is sent there before any student's code.

Every check runs in a fork of the kernel: what it computes, keeps, prints or breaks, even the end of
the process, is gone afterwards. There it finds the names that the setup cell gives, as they were,
and the student's own names.

What this does not stop: a student who studies this file can find the references and the way the
verdict takes, since both are in memory that the student's code shares. Changed functions are
reported to a person; so is a verdict that does not come back as it should.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib
import json
import os
import resource
import select
import signal
import sys
import time
from typing import Any

# Kept here, where a student's assignment to `builtins` or `os` does not reach.
getattr, setattr, delattr, vars = getattr, setattr, delattr, vars
end_process, write_bytes = os._exit, os.write
INHERITED = object()

# Where checks find what they rely on: module, or module and class.
OWNERS = (
    "builtins json math os select signal time numpy numpy.linalg numpy.testing scipy.signal "
    "scipy.ndimage torch torch.linalg torch.testing torch.nn.functional torch:Tensor"
)
# IPython and torch (when it compiles, or changes its default type) replace these themselves.
EXEMPT = ("get_ipython", "input", "display", "manual_seed", "Storage")


class Guard:
    """References taken before a student's code ran, and the checks that stand on them."""

    def __init__(self, shell: Any, setup: str, *, alone: bool) -> None:
        self.shell = shell
        self.alone = alone
        self.setup: dict[str, Any] = {"__name__": "__main__"}
        with contextlib.suppress(Exception):  # the same cell, run as the first one, shows its error
            exec(shell.transform_cell(setup), self.setup)
        self.before = set(os.listdir("/proc")) if alone else set()
        shell.ask_exit = lambda: None  # `exit()` in a cell ends the cell only
        self.kept: list[tuple[str, Any, str, Any, Any]] = []
        for path in OWNERS.split():
            module, _, part = path.partition(":")
            if module.partition(".")[0] not in sys.modules:
                continue
            with contextlib.suppress(ImportError):
                owner: Any = importlib.import_module(module)
                owner = getattr(owner, part) if part else owner
                for name in dir(owner):
                    value = getattr(owner, name, None)
                    if not callable(value) or name in EXEMPT or (name[0] == "_" and not part):
                        continue
                    own = vars(owner).get(name, INHERITED)
                    code = getattr(own, "__code__", None)
                    self.kept.append((f"{path}.{name}".replace(":", "."), owner, name, own, code))

    def mend(self) -> list[str]:
        """Put back what was changed since, and return its names."""
        changed = []
        for path, owner, name, value, code in self.kept:
            if vars(owner).get(name, INHERITED) is not value:
                if value is INHERITED:
                    delattr(owner, name)
                else:
                    setattr(owner, name, value)
                changed.append(path)
            elif code is not None and value.__code__ is not code:
                value.__code__ = code
                changed.append(path)
        return changed

    def check(self, text: str, own: list[str], hidden: bool, seconds: float, token: str) -> str:
        """Run the text of a check in a fork, and return the verdict (JSON).

        Args:
            text: The whole check.
            own: Names that the student defines, even if everybody has something of that name.
            hidden: The student must not learn what the check compares.
            seconds: When to stop it.
            token: Comes back with the verdict of a check that was judged.
        """
        changed = self.mend()
        self._clear()
        read, write = os.pipe()
        child = self._fork()
        if child == 0:
            try:
                os.setsid()
                error = self._judge(text, own, hidden)
                if meanwhile := self.mend():
                    error = error or f"{meanwhile[0]} was changed while the check ran"
                changed = sorted({*changed, *meanwhile})
                verdict = {"token": token, "error": error, "changed": changed}
                write_bytes(write, json.dumps(verdict).encode() + b"\n")
            finally:
                end_process(0)
        os.close(write)
        words, end = b"", time.monotonic() + seconds
        while not words.endswith(b"\n"):
            if not select.select([read], [], [], max(0.0, end - time.monotonic()))[0]:
                error = f"not done after {seconds:g} s"
                words = json.dumps({"token": token, "error": error, "changed": changed}).encode()
                break
            if not (part := os.read(read, 65536)):
                error = "the process ended before the check did"
                words = json.dumps({"token": token, "error": error, "changed": changed}).encode()
                break
            words += part
        os.close(read)
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(OSError):
                kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return words.decode()

    def _judge(self, text: str, own: list[str], hidden: bool) -> str:
        """Run a check, and return what it complains about."""
        null = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(null, number)
        sys.stdout = sys.stderr = os.fdopen(null, "w", closefd=False)
        # What a hidden check is called with must not come out by way of a file.
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        sys.settrace(None)
        sys.setprofile(None)
        # A student's variable named `sum` or `np` is no concern of a check's.
        given = {name: value for name, value in self.setup.items() if name not in own}
        taken = {*dir(builtins), *given, "__builtins__"}.difference(own)
        theirs = {name: value for name, value in self.shell.user_ns.items() if name not in taken}
        names = {**theirs, **given, "__builtins__": builtins}
        try:
            exec(compile(self.shell.transform_cell(text), "<check>", "exec"), names)
        except BaseException as error:
            return self._words(error, hidden)
        return ""

    def _words(self, error: BaseException, hidden: bool) -> str:
        """Return what a student is told; of hidden checks no more than they say themselves."""
        kind = next(k.__name__ for k in type(error).__mro__ if k.__module__ == "builtins")
        trace, theirs = error.__traceback__, False
        while trace:
            theirs = theirs or trace.tb_frame.f_globals is self.shell.user_ns
            trace = trace.tb_next
        if hidden and theirs:
            return f"{kind} in your code"
        message = str(error)
        return f"{kind}: {message}"[:1000] if message else kind

    def _clear(self) -> None:
        """End processes that the student's code left behind."""
        if self.alone:
            for name in set(os.listdir("/proc")) - self.before:
                if name.isdecimal():
                    with contextlib.suppress(OSError):
                        os.kill(int(name), signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                while True:
                    os.waitpid(-1, 0)

    def _fork(self) -> int:
        """Fork, even if what just ended is still counted."""
        for _ in range(20):
            with contextlib.suppress(BlockingIOError):
                return os.fork()
            time.sleep(0.1)
        return os.fork()
