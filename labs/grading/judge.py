"""The judge's process: the checks run here, and no student's code ever does.

The names of answers in a check are `Answer`s: called, they ask the student's process, and return
what came back, rebuilt as plain data.
"""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from labs.grading.peer import LONGEST, Peer
from labs.grading.pipe import Garbage, Gone, Pipe, clean


class Stopped(BaseException):
    """The grader stops a check, and says why; no `except Exception` of a check may catch it."""


class Answer:
    """A function or class of the student's."""

    def __init__(self, judge: Judge, name: str) -> None:
        self._judge, self._name = judge, name
        self.__globals__ = _Globals(judge)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Ask the student's process."""
        return self._judge.ask(["name", self._name], args, kwargs)

    def __repr__(self) -> str:
        return f"<your {self._name}>"


class _Globals:
    """What a check finds as an answer's `__globals__`: functions can stand in for the student's."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    def update(self, **functions: Callable[..., Any]) -> None:
        """Let answers find these functions, which run here, under these names."""
        self._judge.ask(["bind", ""], (), functions)


class Judge(Peer):
    """The checks of a lab, and the connection to the answers of one student."""

    def __init__(self, pipe: Pipe, told: dict[str, Any]) -> None:
        super().__init__(pipe, side=0)
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.told = told
        self.error: BaseException | None = None
        self._reset("")
        exec(compile(told["setup"], "<setup>", "exec"), self.names)

    def _reset(self, id: str) -> int:
        """Set all that is global to what every check starts with; return a seed."""
        chance = random.Random(f"{self.told['seed']} {id}")
        torch.set_grad_enabled(True)
        torch.set_default_dtype(torch.float32)
        torch.manual_seed(chance.getrandbits(60))
        np.random.seed(chance.getrandbits(32))  # noqa: NPY002 (checks may use it)
        random.seed(chance.getrandbits(60))
        return chance.getrandbits(60)

    def check(self, id: str) -> dict[str, Any]:
        """Run a check, and return what it complains about."""
        text = self.told["checks"][id]
        self.forget()
        self.calls.clear()
        self.changed, self.error = False, None
        hidden = "BEGIN HIDDEN TESTS" in text
        seed = self._reset(id)
        names = self.names | {name: Answer(self, name) for name in self.told["names"]}
        try:
            self.ask(["begin", id, seed])
            exec(compile(text, "<check>", "exec"), names)
            if hidden and self.changed:
                raise AssertionError("your function changed its input: work on copies")
        except BaseException as error:
            return {"error": _words(error, hidden)}
        return {"error": ""}

    def receive(self) -> bytearray:
        """Return the student's next message; the grader may say instead that there is none."""
        kind, message = self.pipe.receive()
        if kind != b"S":
            raise Stopped(json.loads(message)["stop"])
        return message

    def ask(self, *args: Any, **kwargs: Any) -> Any:
        """Ask, and let an error of a function that was asked back end the check."""
        try:
            return super().ask(*args, **kwargs)
        finally:
            if self.error is not None:
                raise self.error

    def perform(self, what: list[Any], of: Any, args: Any, kwargs: Any) -> Any:
        """Run a function or a network that a check gave to an answer."""
        kind, name = what
        if kind == "gradients":
            return self.gradients(name, *args)
        if kind == "method" and name == "forward" and isinstance(of, nn.Module):
            return of(*args, **kwargs)
        if kind == "function" and name in self.objects and name % 2 == self.side:
            function = self.objects[name]
            if not isinstance(function, nn.Module | torch.optim.Optimizer | nn.Parameter):
                return function(*args, **kwargs)
        raise Garbage("a question that no answer may ask")

    def failed(self, error: BaseException) -> list[Any]:
        """Keep an error for the check; the student's process learns no word of it."""
        self.error = self.error or error
        return [["RuntimeError"], "the check has stopped"]


def _words(error: BaseException, hidden: bool) -> str:
    """Return what a student is told; of hidden checks no more than they say themselves."""
    if isinstance(error, Stopped):
        return str(error)
    if isinstance(error, Garbage):
        return f"your code gave no answer that can be read ({error})"[:LONGEST]
    kind = next(k.__name__ for k in type(error).__mro__ if k.__module__ == "builtins")
    if hidden and getattr(error, "theirs", False):
        return f"{kind} in your code"
    text = ""
    with contextlib.suppress(Exception):
        text = clean(str(error))[:LONGEST]
    return f"{kind}: {text}" if text else kind


def serve(pipe: Pipe) -> None:
    """Run the checks that the grader names, until it is gone."""
    with contextlib.suppress(Gone):
        told = json.loads(pipe.receive()[1])
        try:
            judge = Judge(pipe, told)
        except Exception as error:
            pipe.send(b"V", json.dumps({"setup": f"{type(error).__name__}: {error}"}).encode())
            return
        pipe.send(b"V", json.dumps({"setup": ""}).encode())
        while True:
            verdict = judge.check(json.loads(pipe.receive()[1])["check"])
            pipe.send(b"V", json.dumps(verdict).encode())
