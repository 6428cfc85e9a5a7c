"""Grade many submissions side by side, and keep each result the moment it arrives.

Dask runs `grade` on all cores of this machine or on workers elsewhere, and hands a submission on
when its worker dies. A worker gets everything as arguments: it needs no file of this machine.
"""

from __future__ import annotations

import hashlib
import json
import logging
import signal
import sqlite3
import tempfile
import warnings
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import chain
from multiprocessing import resource_tracker
from pathlib import Path

import dask
from distributed import Client, Future, KilledWorker, LocalCluster, as_completed

from cnnlib._files import write_whole
from labs.grading.collect import HandIn
from labs.grading.grade import Result, grade
from labs.grading.lab import Lab
from labs.grading.sandbox import SandboxError
from labs.grading.submission import LARGEST

DEATHS = 3  # of workers with the same submission; then it is taken to be what kills them
TOGETHER = 2  # submissions that wait at each worker, so that it is never idle
CONNECT = 30  # seconds until a scheduler must have answered


@dataclass(frozen=True)
class Outcome:
    """What happened to one submission.

    Attributes:
        result: Its result.
        submission: A digest of what was handed in; empty if nothing could be read.
        before: The result stood there from an earlier run.
    """

    result: Result
    submission: str = ""
    before: bool = False


@contextmanager
def grade_batch(
    hand_ins: Sequence[HandIn],
    lab: Lab,
    folder: Path,
    *,
    scheduler: str | None = None,
    unsafe: bool = False,
    again: Collection[str] = (),
    seed: str = "",
) -> Iterator[Iterator[Outcome]]:
    """Start to grade, and give what happened to every submission, in the order of arrival.

    The workers get ready while the caller still prepares what it does with the outcomes; nothing of
    a student's is graded before the caller asks for it.

    Args:
        hand_ins: What the students handed in.
        lab: The lab that it should be.
        folder: Where results are kept, one file per student. What has a result there for the same
            notebook and the same lab is not graded again.
        scheduler: The address of a Dask scheduler; None starts one with a worker per core.
        unsafe: Grade without a sandbox.
        again: Students to grade even if they have a result.
        seed: Decides what checks draw at random; the same for everybody.

    Raises:
        SandboxError: There is no sandbox where the submissions are graded.
        ValueError: The reference does not get all points there, or a blank lab gets some.
        ConnectionError: The scheduler cannot be reached, or has no workers, or stopped.
    """
    done: list[Outcome] = []
    waiting = deque[HandIn]()
    for hand_in in hand_ins:
        notebook, problem = _read(hand_in)
        digests = _digests(notebook, lab)
        known = None if hand_in.student in again else _stored(folder, hand_in.student, digests)
        if problem:
            done.append(Outcome(Result(hand_in.student, lab.name, "needs a person", problem)))
        elif known:
            done.append(Outcome(known, digests["submission"], before=True))
        else:
            waiting.append(hand_in)
    if not waiting:
        yield iter(done)
        return
    with _client(scheduler) as client:
        own = _grade_own(client, lab, unsafe, seed)
        yield chain(done, _grade_all(client, own, waiting, lab, folder, unsafe, seed))


def check(lab: Lab, *, scheduler: str | None = None, unsafe: bool = False) -> None:
    """Grade the reference and a blank lab, or raise ValueError if they do not get all and nothing.

    Args:
        lab: The lab.
        scheduler: The address of a Dask scheduler; None starts one.
        unsafe: Grade without a sandbox.
    """
    with _client(scheduler) as client:
        _check(_grade_own(client, lab, unsafe, ""), lab)


def _grade_own(client: Client, lab: Lab, unsafe: bool, seed: str) -> dict[bool, Future[Result]]:
    """Let the solution of the lab (True) and a lab that was left empty (False) be graded."""
    return {
        solved: client.submit(
            _grade, lab.notebook(solved=solved), "", lab, unsafe, seed, pure=False
        )
        for solved in (True, False)
    }


def _check(own: dict[bool, Future[Result]], lab: Lab) -> None:
    """Raise ValueError if the solution does not get all points there, or a blank lab gets some."""
    for solved, future in own.items():
        result, _ = _take(future, "", lab)
        for check in lab.checks:
            wanted = check.points if solved else 0
            points = result.points.get(check.id)
            if check.by_hand or (points == wanted and result.status == "graded"):
                continue
            who = "the solution of the lab itself" if solved else "a lab that was left empty"
            why = result.error.get(check.id, "") or result.reason
            raise ValueError(
                f"{who} gets {points} of {check.points:g} points in {check.id} where it is graded"
                f"{f' ({why})' if why else ''}: nobody was graded. Are the data and packages there "
                f"that {lab.name} needs? Then mend the check or the solution"
            )


def _grade_all(
    client: Client,
    own: dict[bool, Future[Result]],
    waiting: deque[HandIn],
    lab: Lab,
    folder: Path,
    unsafe: bool,
    seed: str,
) -> Iterator[Outcome]:
    _check(own, lab)
    running: dict[Future[Result], tuple[HandIn, bytes]] = {}
    arriving = as_completed()
    while waiting or running:
        # A few at a time: neither this machine nor the scheduler holds a whole course in memory.
        while waiting and len(running) < TOGETHER * max(1, len(client.nthreads())):
            hand_in = waiting.popleft()
            notebook, problem = _read(hand_in)
            if problem:
                yield Outcome(Result(hand_in.student, lab.name, "needs a person", problem))
                continue
            future = client.submit(_grade, notebook, hand_in.student, lab, unsafe, seed, pure=False)
            running[future] = hand_in, notebook
            arriving.add(future)
        if not running:
            return
        future = next(arriving)
        hand_in, notebook = running.pop(future)
        digests = _digests(notebook, lab)
        result, lasting = _take(future, hand_in.student, lab)
        if hand_in.note:
            result = replace(result, notes=(hand_in.note, *result.notes))
        if lasting:
            kept = {"of": digests, "seed": seed, "result": asdict(result)}
            write_whole(_place(folder, hand_in.student), json.dumps(kept, indent=1))
        yield Outcome(result, digests["submission"])


def _take(future: Future[Result], student: str, lab: Lab) -> tuple[Result, bool]:
    """Return the result that a future holds, and whether grading again would give it again."""
    if future.cancelled() or future.status == "lost":
        raise ConnectionError(
            "the scheduler stopped: what was graded is kept, give the same command again"
        )
    error = future.exception()
    if error is None:
        result: Result = future.result()
        return result, True
    if isinstance(error, SandboxError):
        raise error
    if isinstance(error, KilledWorker):
        reason = f"each of {DEATHS} workers that graded it died: look at it, then use --again"
        return Result(student, lab.name, "needs a person", reason), True
    reason = f"the grader failed, and tries once more in the next run: {error!r}"
    return Result(student, lab.name, "needs a person", reason), False


def _grade(notebook: bytes, student: str, lab: Lab, unsafe: bool, seed: str) -> Result:
    """Grade what came to this worker."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{lab.name}.ipynb")
        path.write_bytes(notebook)
        return grade(path, student, lab, unsafe=unsafe, seed=seed)


@contextmanager
def _client(scheduler: str | None) -> Iterator[Client]:
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    settings = {
        "distributed.scheduler.allowed-failures": DEATHS - 1,
        "distributed.scheduler.worker-saturation": 1.0,  # who waits is not blamed for a death
    }
    with warnings.catch_warnings(), dask.config.set(settings):
        warnings.filterwarnings("ignore", "Sending large graph")  # a submission with many pictures
        if scheduler is None:
            # Ctrl-C in a terminal reaches the workers, too: they, and those that take the place of
            # dead ones, leave it to this process. The tracker would let them hear it again.
            resource_tracker.ensure_running()
            heard = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                cluster = LocalCluster(
                    threads_per_worker=1,
                    host="127.0.0.1",
                    dashboard_address="127.0.0.1:0",  # a port that is free
                    memory_limit=0,  # the sandbox has its own
                    silence_logs=logging.CRITICAL,
                )
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, heard)
            with cluster, Client(cluster) as client:
                yield client
            return
        try:
            client = Client(scheduler, timeout=CONNECT)
            client.wait_for_workers(1, timeout=CONNECT)
        except (OSError, ValueError) as error:  # a TimeoutError is an OSError
            raise ConnectionError(
                f"expected a Dask scheduler with workers at {scheduler}, got: {error}. Start them "
                f"as labs/README.md says"
            ) from error
        with client:
            yield client


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep a second run out of a folder of results; the lock goes when this process goes.

    Raises:
        ValueError: Another run has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = sqlite3.connect(folder / "lock", timeout=0, isolation_level=None)
    try:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            raise ValueError(f"another run grades into {folder}: wait until it is done") from None
        yield
    finally:
        lock.close()


def _read(hand_in: HandIn) -> tuple[bytes, str]:
    """Return a submission's bytes, or none of them and the reason in a few words."""
    if hand_in.path is None:
        return b"", hand_in.problem
    try:
        size = hand_in.path.stat().st_size
        if size > LARGEST:
            return b"", f"{hand_in.path.name} has {size / 1e6:.0f} MB, which no lab needs"
        return hand_in.path.read_bytes(), ""
    except OSError as error:
        return b"", f"{hand_in.path.name} cannot be read: {error.strerror}"


def _digests(notebook: bytes, lab: Lab) -> dict[str, str]:
    """Return what a result depends on, in short."""
    parts = {"submission": notebook, "lab": lab.judged.encode()}
    return {name: hashlib.sha256(part).hexdigest() for name, part in parts.items()}


def _place(folder: Path, student: str) -> Path:
    return folder / f"{student}.json"


def _stored(folder: Path, student: str, digests: dict[str, str]) -> Result | None:
    """Return the result that an earlier run kept for the same notebook and the same lab."""
    try:
        kept = json.loads(_place(folder, student).read_text("utf-8"))
        if kept["of"] != digests:
            return None
        fields = kept["result"]
        return Result(**fields | {"notes": tuple(fields["notes"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None
