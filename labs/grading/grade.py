"""One submitted file becomes a result, whatever is in it."""

from __future__ import annotations

import ast
import json
import re
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labs.grading.lab import Lab
from labs.grading.sandbox import START, Kernel, Limits, Reply, SandboxError, start
from labs.grading.submission import LARGEST, prepare

GUARD = Path(__file__).with_name("guard.py").read_text(encoding="utf-8")
MORE = 5  # seconds that a check has to say that it was stopped
MOST_SHOWN = 20_000  # characters of text that are kept of a cell's output
MOST_PICTURE = 2_000_000  # characters of pictures, likewise
SHOWN = ("text/plain", "image/png", "image/jpeg")  # no HTML: it could hold a script
COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass(frozen=True)
class Result:
    """What became of a submission.

    Attributes:
        student: Who handed it in.
        lab: The name of the lab.
        status: "graded" or "needs a person".
        reason: Why a person is needed, in one sentence; empty if none is.
        notes: What was mended or happened, one sentence each.
        points: Points by the id of a check; None where a person must give them.
        error: What a check complained about, by the check's id; only failed ones are in it.
        notebook: The executed notebook as JSON, fit to be shown to the student: without hidden
            checks, with outputs of bounded size. Empty if the file could not be read as a notebook.
        seconds: How long it took.
    """

    student: str
    lab: str
    status: str
    reason: str = ""
    notes: tuple[str, ...] = ()
    points: dict[str, float | None] = field(default_factory=dict)
    error: dict[str, str] = field(default_factory=dict)
    notebook: str = ""
    seconds: float = 0.0


def grade(
    path: Path, student: str, lab: Lab, *, unsafe: bool = False, limits: Limits | None = None
) -> Result:
    """Grade one submitted notebook in a sandbox of its own.

    Never raises for anything that a student can hand in.

    Args:
        path: The submitted file.
        student: Who handed it in.
        lab: The lab that it should be.
        unsafe: Run it without a sandbox: it can then read, write and send whatever you can.
        limits: What it may take.

    Raises:
        SandboxError: There is no sandbox on this machine, and unsafe is False.
    """
    began = time.monotonic()
    raw, reason = _read(path)
    prepared = prepare(raw, lab)
    reason = reason or prepared.reason
    points: dict[str, float | None] = {check.id: None for check in lab.checks}
    if not prepared.notebook or not raw:
        seconds = time.monotonic() - began
        return Result(student, lab.name, "needs a person", reason, points=points, seconds=seconds)
    run = _Run(lab, limits or Limits(), unsafe)
    try:
        for number, cell in enumerate(prepared.notebook["cells"], 1):
            if cell["cell_type"] == "code":
                run.cell(number, cell)
    finally:
        run.close()
    reasons = [prepared.reason] if prepared.reason else []
    if run.changed:
        names = ", ".join(sorted(run.changed)[:10])
        reasons.append(f"the student's code changed what checks rely on ({names})")
    reasons += run.reasons
    return Result(
        student,
        lab.name,
        "needs a person" if reasons else "graded",
        "; ".join(reasons),
        notes=(*prepared.notes, *run.notes),
        points=points | run.points,
        error=run.error,
        notebook=json.dumps(prepared.notebook),
        seconds=time.monotonic() - began,
    )


def _read(path: Path) -> tuple[bytes, str]:
    """Return the bytes of a file, or none and why."""
    try:
        if path.is_symlink() or not path.is_file():
            return b"", f"{path.name} is no file"
        with path.open("rb") as file:
            return file.read(LARGEST + 1), ""
    except OSError as error:
        return b"", f"{path.name} cannot be read ({error.strerror})"


class _Run:
    """A submission while it is executed: its kernel, and what is known so far."""

    def __init__(self, lab: Lab, limits: Limits, unsafe: bool) -> None:
        self.lab, self.limits, self.unsafe = lab, limits, unsafe
        self.end = time.monotonic() + limits.total
        self.kernel: Kernel | None = None
        self.starts = 0
        self.shaken = False
        self.done: list[str] = []  # what a new kernel must run to stand where the old one stood
        self.notes: list[str] = []
        self.reasons: list[str] = []
        self.changed: set[str] = set()
        self.points: dict[str, float | None] = {}
        self.error: dict[str, str] = {}

    def cell(self, number: int, cell: dict[str, Any]) -> None:
        """Execute a cell of code, and write down in it what came of it."""
        id = cell["metadata"].get("nbgrader", {}).get("grade_id", "")
        source = self.lab.by_id.get(id)
        is_check = source is not None and source.points is not None and source.locked
        kernel = self._ready()
        if is_check:
            self._check(kernel, id, cell)
        elif kernel:
            reply = kernel.run(cell["source"], self._seconds())
            cell["outputs"] = _outputs(reply)
            if reply.ending in ("ok", "error"):
                self.done.append(cell["source"])
            else:
                self.shaken = True
                self.notes.append(f"cell {number} {self._what(reply)}")
                cell["outputs"].append(_error("Stopped", f"this cell {self._what(reply)}"))

    def _what(self, reply: Reply) -> str:
        return {
            "slow": f"was stopped: it took more than {self.limits.cell:g} s",
            "loud": f"was stopped: it printed more than {self.limits.output / 1e6:.3g} MB",
            "died": "ended the kernel",
        }[reply.ending]

    def _seconds(self) -> float:
        return max(0.1, min(self.limits.cell, self.end - time.monotonic()))

    def _ready(self) -> Kernel | None:
        """Return a kernel that stands where the student's cells have come to, or None."""
        if self.kernel and self.kernel.alive() and time.monotonic() < self.end:
            return self.kernel
        while self.starts <= self.limits.restarts and time.monotonic() < self.end:
            self.close()
            self.starts, self.shaken = self.starts + 1, False
            self.kernel = start(self.lab, self.limits, unsafe=self.unsafe)
            text = (
                f"import sys, types\n"
                f"guard = types.ModuleType('labs_guard')\n"
                f"exec(compile({GUARD!r}, 'labs_guard', 'exec'), vars(guard))\n"
                f"sys.modules['labs_guard'] = guard\n"
                f"guard.GUARD = guard.Guard(get_ipython(), {self.lab.setup!r}, "
                f"alone={not self.unsafe})\n"
                f"del sys, types, guard\n"
            )
            if self.kernel.run(text, START, ask="1").ending != "ok":
                raise SandboxError(
                    "a kernel cannot judge checks: labs/grading/guard.py fails in it"
                )
            for code in list(self.done):
                if self.kernel.run(code, self._seconds()).ending not in ("ok", "error"):
                    self.done.remove(code)
                    break
            if self.kernel.alive():
                return self.kernel
        if not self.reasons:
            over = (
                "it took too long in all"
                if self.starts <= self.limits.restarts
                else (f"the kernel ended {self.starts} times")
            )
            self.reasons.append(f"not all of it was executed: {over}")
        return None

    def _check(self, kernel: Kernel | None, id: str, cell: dict[str, Any]) -> None:
        verdict = self._verdict(kernel, id) if kernel else None
        if kernel and verdict is None and self.shaken:  # by a cell that was stopped in it
            kernel.kill()
            verdict = self._verdict(kernel, id) if (kernel := self._ready()) else None
        if verdict is None:
            self.points[id], self.error[id] = None, "this check was not carried out"
            if kernel:
                self.reasons.append(f"the check {id} gave no verdict")
        else:
            error, changed = verdict
            self.changed.update(changed)
            self.points[id] = 0.0 if error else self.lab.by_id[id].points
            if error:
                self.error[id] = error
        if id in self.error:
            kind, _, words = self.error[id].partition(": ")
            cell["outputs"] = [_error(kind, words)]

    def _verdict(self, kernel: Kernel, id: str) -> tuple[str, list[str]] | None:
        """Return what a check complains about and which names were changed, if it says so."""
        text, token = self.lab.by_id[id].text, secrets.token_hex()
        own = [name for names in self.lab.names.values() for name in names]
        asked = (text, own, "BEGIN HIDDEN TESTS" in text, self._seconds(), token)
        ask = f"__import__('sys').modules['labs_guard'].GUARD.check{asked!r}"
        reply = kernel.run("", self._seconds() + MORE, ask=ask)
        try:
            verdict = json.loads(ast.literal_eval(reply.value))
            if verdict["token"] == token:
                return str(verdict["error"]), [str(name) for name in verdict["changed"]]
        except (ValueError, SyntaxError, KeyError, TypeError, RecursionError, MemoryError):
            pass  # what the student's code made of it
        return None

    def close(self) -> None:
        """End the kernel."""
        if self.kernel:
            self.kernel.close()


def _error(kind: str, words: str) -> dict[str, Any]:
    trace = [f"{kind}: {words}" if words else kind]
    return {"output_type": "error", "ename": kind, "evalue": words, "traceback": trace}


def _outputs(reply: Reply) -> list[dict[str, Any]]:
    """Return a cell's outputs as a notebook stores them: text and pictures, of bounded size."""
    outputs: list[dict[str, Any]] = []
    left = {"text": MOST_SHOWN, "image": MOST_PICTURE}

    def shown(text: Any, kind: str = "text") -> str:
        words = COLOUR.sub("", text) if isinstance(text, str) else ""
        if kind == "image" and len(words) > left[kind]:
            return ""  # half a picture is none
        left[kind], words = left[kind] - len(words), words[: max(left[kind], 0)]
        return words.encode("utf-8", "replace").decode()

    for message in reply.outputs:
        kind, content = message["msg_type"], message["content"]
        if kind == "stream":
            name = "stderr" if content.get("name") == "stderr" else "stdout"
            text = shown(content.get("text"))
            if outputs and outputs[-1].get("name") == name:
                outputs[-1]["text"] += text
            elif text:
                outputs.append({"output_type": "stream", "name": name, "text": text})
        elif kind == "error":
            outputs.append(_error(shown(content.get("ename")), shown(content.get("evalue"))))
        elif kind in ("execute_result", "display_data") and isinstance(content.get("data"), dict):
            data = {
                mime: text
                for mime in SHOWN
                if mime in content["data"]
                and (text := shown(content["data"][mime], mime.split("/")[0]))
            }
            if data:
                outputs.append({"output_type": "display_data", "data": data, "metadata": {}})
    if left["text"] <= 0:
        outputs.append({"output_type": "stream", "name": "stderr", "text": "[the rest is cut]\n"})
    return outputs
