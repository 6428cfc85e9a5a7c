"""One submitted file becomes a result, whatever is in it."""

from __future__ import annotations

import contextlib
import json
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labs.grading.lab import Lab
from labs.grading.pipe import Data, Gone, Late, clean
from labs.grading.sandbox import START, Limits, Process, SandboxError, start
from labs.grading.submission import LARGEST, prepare

GRACE = 5  # seconds that a process has to obey, or to say that it is done
STOPPED = ("slow", "loud")
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
    path: Path,
    student: str,
    lab: Lab,
    *,
    unsafe: bool = False,
    limits: Limits | None = None,
    seed: str = "",
) -> Result:
    """Grade one submitted notebook in a sandbox of its own.

    Never raises for anything that a student can hand in.

    Args:
        path: The submitted file.
        student: Who handed it in.
        lab: The lab that it should be.
        unsafe: Run it without a sandbox: it can then read, write and send whatever you can.
        limits: What it may take.
        seed: Decides what checks draw at random.

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
    run = _Run(lab, limits or Limits(), unsafe, seed)
    checks = {check.id for check in lab.checks if not check.by_hand}
    cells = [cell for cell in prepared.notebook["cells"] if cell["cell_type"] == "code"]
    try:
        # All cells first: nothing that a question of the judge's brings can be shown by a cell.
        for number, cell in enumerate(prepared.notebook["cells"], 1):
            if cell["cell_type"] == "code":
                if (id := _id(cell)) in checks:
                    run.mark(id)
                else:
                    run.cell(number, cell)
        for cell in cells:
            if (id := _id(cell)) in checks:
                run.check(id)
                if id in run.error:
                    kind, _, words = run.error[id].partition(": ")
                    cell["outputs"] = [_error(kind, words)]
    finally:
        run.close()
    reasons = [*([prepared.reason] if prepared.reason else []), *run.reasons]
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


def _id(cell: dict[str, Any]) -> str:
    id: str = cell["metadata"].get("nbgrader", {}).get("grade_id", "")
    return id


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
    """A submission while it is graded: its two processes, and what is known so far."""

    def __init__(self, lab: Lab, limits: Limits, unsafe: bool, seed: str) -> None:
        self.lab, self.limits, self.unsafe, self.seed = lab, limits, unsafe, seed
        self.end = time.monotonic() + limits.total
        self.student: Process | None = None
        self.judge: Process | None = None
        self.starts = 0
        self.done: list[tuple[str, str]] = []  # what a new process must do to stand where one stood
        self.notes: list[str] = []
        self.reasons: list[str] = []
        self.points: dict[str, float | None] = {}
        self.error: dict[str, str] = {}

    def _seconds(self) -> float:
        return max(0.1, min(self.limits.cell, self.end - time.monotonic()))

    def _ready(self) -> Process | None:
        """Return a student's process that stands where the cells have come to, or None."""
        if self.student and self.student.alive() and time.monotonic() < self.end:
            return self.student
        while self.starts <= self.limits.restarts and time.monotonic() < self.end:
            if self.student:
                self.student.close()
            self.starts += 1
            self.student = start("student", self.lab, self.limits, unsafe=self.unsafe)
            for kind, words in list(self.done):
                if kind == "mark":
                    self._mark(self.student, words)
                elif self._run(self.student, words, START)[0] not in ("ok", "error"):
                    self.done.remove((kind, words))
                    break
            if self.student.alive():
                return self.student
        if not self.reasons:
            over = (
                "it took too long in all"
                if self.starts <= self.limits.restarts
                else f"its process ended {self.starts} times"
            )
            self.reasons.append(f"not all of it was executed: {over}")
        return None

    def cell(self, number: int, cell: dict[str, Any]) -> None:
        """Execute a cell of code, and write down in it what came of it."""
        student = self._ready()
        if student is None:
            return
        ending, outputs = self._run(student, cell["source"], self._seconds())
        cell["outputs"] = _outputs(outputs)
        if ending in ("ok", "error"):
            self.done.append(("run", cell["source"]))
        else:
            what = {
                "slow": f"was stopped: it took more than {self.limits.cell:g} s",
                "loud": f"was stopped: it printed more than {self.limits.output / 1e6:.3g} MB",
                "died": "ended the process, or took too much memory",
            }[ending]
            self.notes.append(f"cell {number} {what}")
            cell["outputs"].append(_error("Stopped", f"this cell {what}"))

    def _run(self, student: Process, code: str, seconds: float) -> tuple[str, list[Any]]:
        """Run code; return how it ended, and what it showed."""
        shown: list[Any] = []
        ending, size, end = "", 0, time.monotonic() + seconds
        try:
            student.send(b"H", {"run": code}, seconds)
            while True:
                try:
                    kind, message = student.receive(end)
                except Late:
                    if ending:  # it does not listen
                        student.kill()
                        return ending, shown
                    ending, end = "slow", time.monotonic() + GRACE
                    student.interrupt()
                    continue
                told = _told(message) if kind == b"O" else None
                if told is None:
                    raise Gone
                if told[0] == "done":
                    return ending or ("error" if told[1:] == ["error"] else "ok"), shown
                size += len(message)
                if size <= self.limits.output:
                    shown.append(told)
                elif not ending:
                    ending, end = "loud", time.monotonic() + GRACE
                    student.interrupt()
        except Gone:
            student.kill()
            return ending or "died", shown

    def mark(self, id: str) -> None:
        """Remember the names as they are at a check."""
        if student := self._ready():
            self._mark(student, id)
        self.done.append(("mark", id))

    def _mark(self, student: Process, id: str) -> None:
        with contextlib.suppress(Gone):
            student.send(b"H", {"mark": id}, GRACE)

    def check(self, id: str) -> None:
        """Let the judge run a check, and write down its verdict."""
        verdict = None
        if student := self._ready():
            try:
                verdict = self._verdict(self._judge(), student, id)
            except (Gone, Late):
                assert self.judge
                self.judge.kill()
                self.reasons.append(f"the judge came to no verdict on {id}")
        if verdict is None:
            self.points[id], self.error[id] = None, "this check was not carried out"
            return
        self.points[id] = 0.0 if verdict["error"] else self.lab.by_id[id].points
        if verdict["error"]:
            self.error[id] = clean(verdict["error"])

    def _judge(self) -> Process:
        """Return a judge that has run the setup cell."""
        if self.judge and self.judge.alive():
            return self.judge
        if self.judge:
            self.judge.close()
        self.judge = start("judge", self.lab, self.limits, unsafe=self.unsafe)
        checks = {c.id: self.lab.by_id[c.id].text for c in self.lab.checks if not c.by_hand}
        names = [name for names in self.lab.names.values() for name in names]
        told = {"setup": self.lab.setup, "checks": checks, "names": names, "seed": self.seed}
        try:
            self.judge.send(b"H", told, START)
            _, message = self.judge.receive(time.monotonic() + START)
        except (Gone, Late):
            raise SandboxError("the judge ended in the setup cell, or took too long") from None
        if error := json.loads(message)["setup"]:
            raise SandboxError(
                f"the setup cell of {self.lab.name} fails where it is graded ({error}): mend it, "
                f"or the data and packages that it needs"
            )
        return self.judge

    def _verdict(self, judge: Process, student: Process, id: str) -> dict[str, Any]:
        """Carry questions and answers between the two, and return the judge's verdict."""
        # Two processes work at it: a check has twice the time of a cell.
        end = min(time.monotonic() + 2 * self.limits.cell, max(self.end, time.monotonic() + 0.1))
        judge.send(b"H", {"check": id}, GRACE)
        why = ""
        while True:
            kind, message = judge.receive(end + 2 * GRACE)
            if kind == b"V":
                verdict: dict[str, Any] = json.loads(message)
                return verdict
            if not why:
                why, reply = self._answer(student, message, end)
            if why:
                judge.send(b"H", {"stop": why}, GRACE)
            else:
                judge.send(b"S", reply, GRACE)

    def _answer(self, student: Process, question: Data, end: float) -> tuple[str, Data]:
        """Return why there is no answer, or "" and the answer."""
        try:
            student.send(b"S", question, max(GRACE, end - time.monotonic()))
            while True:
                kind, message = student.receive(end)
                if kind == b"S":
                    return "", message
                if kind != b"O":  # what it prints is of no interest
                    student.kill()
                    return "the process said something that is no answer", b""
        except Late:
            student.kill()  # what it does cannot be trusted to stop
            return f"not done after {2 * self.limits.cell:g} s", b""
        except Gone:
            return "the process ended before the check did, or took too much memory", b""

    def close(self) -> None:
        """End both processes."""
        for process in (self.student, self.judge):
            if process:
                process.close()


def _told(message: Data) -> list[Any] | None:
    """Return what a student's process says of a cell, or None if that cannot be."""
    try:
        told: list[Any] = json.loads(message)
    except (ValueError, RecursionError, MemoryError):
        return None
    texts = isinstance(told, list) and all(isinstance(each, str) for each in told)
    if texts and len(told) == {"text": 3, "error": 3, "done": 2}.get(told[0]):
        return told
    if isinstance(told, list) and len(told) == 2 and told[0] == "data":
        data = told[1]
        if isinstance(data, dict) and all(isinstance(each, str) for each in data.values()):
            return told
    return None


def _error(kind: str, words: str) -> dict[str, Any]:
    trace = [f"{kind}: {words}" if words else kind]
    return {"output_type": "error", "ename": kind, "evalue": words, "traceback": trace}


def _outputs(told: list[list[Any]]) -> list[dict[str, Any]]:
    """Return a cell's outputs as a notebook stores them: text and pictures, of bounded size."""
    outputs: list[dict[str, Any]] = []
    left = {"text": MOST_SHOWN, "image": MOST_PICTURE}

    def shown(text: str, kind: str = "text") -> str:
        words = clean(COLOUR.sub("", text))
        if kind == "image" and len(words) > left[kind]:
            return ""  # half a picture is none
        left[kind], words = left[kind] - len(words), words[: max(left[kind], 0)]
        return words

    for kind, *content in told:
        if kind == "text":
            name = "stderr" if content[0] == "stderr" else "stdout"
            text = shown(content[1])
            if outputs and outputs[-1].get("name") == name:
                outputs[-1]["text"] += text
            elif text:
                outputs.append({"output_type": "stream", "name": name, "text": text})
        elif kind == "error":
            outputs.append(_error(shown(content[0]), shown(content[1])))
        elif kind == "data":
            data = {
                mime: text
                for mime in SHOWN
                if mime in content[0] and (text := shown(content[0][mime], mime.split("/")[0]))
            }
            if data:
                outputs.append({"output_type": "display_data", "data": data, "metadata": {}})
    if left["text"] <= 0:
        outputs.append({"output_type": "stream", "name": "stderr", "text": "[the rest is cut]\n"})
    return outputs
