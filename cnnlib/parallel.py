"""Several processes, on one machine or many, that train one network together."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

_groups = itertools.count()  # of this process, which joins as often as the others do
_PATIENCE = timedelta(minutes=10)  # how long to wait for a process that is there but silent

T = TypeVar("T")


@contextmanager
def joined() -> Iterator[None]:
    """Join the processes that `torchrun` has started, and part from them at the end.

    Within it, `cnnlib.training.fit` shares the work. Without torchrun there is one process, and
    nothing changes. They talk through NCCL between CUDA devices, else through gloo; a process that
    is gone, or silent for ten minutes, ends the others with an error.

    Returns:
        A context: `with joined(): history = fit(...)`.

    Source: https://docs.pytorch.org/docs/stable/elastic/run.html tells the variables that it sets.
    """
    if "RANK" not in os.environ:
        yield
        return
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    store, rank, world_size = next(rendezvous("env://", timeout=_PATIENCE))
    # Names of its own in the store: those of a group that has parted are still there, and a
    # process that reads them waits for ever.
    store = PrefixStore(f"joined {next(_groups)}", store)
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if cuda else "gloo",
        store=store,
        rank=rank,
        world_size=world_size,
        timeout=_PATIENCE,
    )
    try:
        yield
    finally:
        distributed.destroy_process_group()


def processes() -> int:
    """Return how many processes train together: 1 unless they are joined."""
    together = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if together else 1


def process() -> int:
    """Return which of the processes this is, counted from 0."""
    return distributed.get_rank() if processes() > 1 else 0


def by_one(make: Callable[[], T]) -> T:
    """Call a function in process 0 alone, and return its result in every process.

    What is downloaded, read or printed in the function is so once.

    Args:
        make: Takes nothing, and returns something that can be pickled.
    """
    result: list[Any] = [make() if process() == 0 else None]
    if processes() > 1:
        distributed.broadcast_object_list(result)
    made: T = result[0]
    return made
