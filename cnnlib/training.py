"""Train a network, measure it and ask it.

`fit` is the training loop that the lecture on digits writes out, grown up: it can be interrupted,
repeated bit for bit, continued from a file, hurried, and shared by several processes.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, distributed, nn

from cnnlib._batches import Batches, Data, check_images, classes_of, device_of, mode
from cnnlib._checkpoint import Checkpoint
from cnnlib._checks import whole
from cnnlib.parallel import process, processes

if TYPE_CHECKING:
    import pandas as pd

_SCHEDULES = ("constant", "one-cycle")
_PRECISIONS = ("float32", "bfloat16")
_FUSED = ("cpu", "cuda", "mps")  # devices with an Adam step in one piece
_AT_ONCE = 1000  # images that are looked at together when nothing is learned
_LOOK = 20  # steps from one look at the loss to the next: each makes an accelerator wait


class Score(NamedTuple):
    """How well a network does: the mean loss, and the share of right answers from 0 to 1."""

    loss: float
    accuracy: float


def fit(
    model: nn.Module,
    train: Data,
    *,
    test: Data | None = None,
    epochs: int = 10,
    batch_size: int = 256,
    lr: float = 1e-3,
    weight_decay: float = 0.0,
    schedule: str = "constant",
    hardest: float = 1.0,
    precision: str = "float32",
    channels_last: bool = False,
    seed: int = 0,
    device: str | torch.device | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Train a network in place with Adam and return what happened, epoch by epoch.

    The loss is the cross-entropy of the logits: with one output there are two classes, 0 and 1,
    else one class for each output. Ctrl-C stops the training; the network then keeps what it has
    learned, and the history so far is returned. The same seed on the same processor gives the
    same weights, bit for bit; the random numbers of the caller go on as if nothing had happened.

    Processes that `cnnlib.parallel` has joined call fit with the same arguments: each takes its
    share of every batch, and their gradients are averaged.

    Args:
        model: Takes images of shape (batch, channels, height, width), or whatever first axis is
            the batch, and returns logits of shape (batch, classes), (batch, 1) or (batch,).
        train: Images and their labels as two tensors (`digits()` gives such pairs), or a
            `DataLoader` that yields them in batches. Labels are whole numbers from 0.
        test: More of the same, measured after every epoch and not learned from.
        epochs: How many times to see all images.
        batch_size: Images for each step; a DataLoader has its own.
        lr: Learning rate, the length of a step; the largest one of a one-cycle schedule.
        weight_decay: Share of each weight, times lr, that every step takes away (AdamW).
        schedule: "constant", or "one-cycle": the learning rate climbs for a quarter of the steps
            and then falls to almost nothing. Fewer epochs reach the same accuracy.
        hardest: Share of the training images that the second and later epochs see: those whose
            loss was largest when they were last seen. The others are right already, and teach
            little. Needs tensors.
        precision: "float32", or "bfloat16": layers calculate with numbers of half the size, where
            that is safe. Faster on processors that have instructions for it.
        channels_last: Whether images lie in memory pixel by pixel, all channels of one side by
            side. Convolutions of many channels are faster so.
        seed: Decides the order of the images, and what dropout drops. It does not decide the
            first weights: they are there already.
        device: "cuda", "mps", "cpu", ...; by default the fastest that there is. The network and
            tensors move there; the network stays there.
        checkpoint: A file that is written after every epoch, never in part. If it is there, the
            training goes on from it, to the same result as if it had not been interrupted.
        progress: Whether to show a progress bar.

    Returns:
        One row for each epoch, counted from 1: `loss` and `accuracy` on the training images while
        they were learned, `test_loss` and `test_accuracy` if there is `test`, and `seconds` of
        training without measuring.

    Raises:
        TypeError: Something is of another type, labels for example that are no whole numbers.
        ValueError: There are no images, a label lies outside the classes, images do not fit the
            network, a setting is unknown, or the checkpoint is of another network or training.
        FloatingPointError: The loss became NaN or infinite.

    Source: D. Kingma and J. Ba, Adam (2015); I. Loshchilov and F. Hutter, AdamW (2019); L. Smith
    and N. Topin, Super-convergence (2018), for the one-cycle schedule.
    """
    epochs, batch_size = whole(epochs, "epochs", 0), whole(batch_size, "batch_size", 1)
    settings: dict[str, Any] = {"batch_size": batch_size, "seed": whole(seed, "seed", 0)}
    settings["lr"] = _number(lr, "lr", math.inf)
    settings["weight_decay"] = _number(weight_decay, "weight_decay", math.inf)
    settings["hardest"] = _number(hardest, "hardest", 1)
    settings["schedule"] = _one_of(schedule, "schedule", _SCHEDULES)
    settings["precision"] = _one_of(precision, "precision", _PRECISIONS)
    if schedule == "one-cycle":
        settings["epochs"] = epochs  # the rate of every step depends on how many there will be
    model.to(_fastest() if device is None else device)
    if channels_last:
        model.to(memory_format=torch.channels_last)
    batches = Batches(train, "train", model, batch_size)
    measured = None if test is None else Batches(test, "test", model, _AT_ONCE)
    if batches.loader is not None and hardest < 1:
        raise ValueError("expected train as two tensors, since hardest < 1, got a DataLoader")
    steps = [batches.steps(hardest if epoch else 1) for epoch in range(epochs)]
    optimizer = torch.optim.AdamW(
        model.parameters(), lr, weight_decay=weight_decay, fused=batches.device.type in _FUSED
    )
    rates = _rates(optimizer, schedule, lr, sum(steps))
    parts = {"model": model, "optimizer": optimizer, "rates": rates, "batches": batches}
    state = Checkpoint(parts, settings, checkpoint)
    state.read()
    done = len(state.rows)
    together = nn.parallel.DistributedDataParallel(model) if processes() > 1 else model
    half = precision == "bfloat16"
    autocast = torch.autocast(batches.device.type, torch.bfloat16, enabled=half)
    bar = _bar(sum(steps), sum(steps[:done]), progress)
    with bar, _own_random_numbers(batches.device), mode(model, training=True):
        try:
            for epoch in range(done + 1, epochs + 1):
                bar.set_description(f"epoch {epoch} of {epochs}")
                began, sums = time.perf_counter(), torch.zeros(3, device=batches.device)
                order = seed + 1_000_003 * epoch  # the same whether or not epochs came before
                torch.manual_seed(order + process())  # dropout
                for batch in batches.shuffled(order, hardest if epoch > 1 else 1):
                    with autocast:
                        logits = together(batch.images).float()
                    losses = _losses(logits, batch.labels)
                    optimizer.zero_grad()
                    (losses.mean() * batch.weight).backward()  # type: ignore[no-untyped-call]
                    optimizer.step()
                    rates.step()
                    batches.remember(batch, losses.detach())
                    sums += _sums(losses, logits, batch.labels)
                    bar.update()
                    if bar.n % _LOOK == 0:
                        _look(sums, epoch, lr, bar)
                _look(sums, epoch, lr, bar)
                batches.exchange()
                row = {"epoch": epoch, **_score(sums)._asdict()}
                row["seconds"] = time.perf_counter() - began
                if measured is not None:
                    score = _measure(model, measured)
                    row |= {"test_loss": score.loss, "test_accuracy": score.accuracy}
                state.rows.append(row)
                state.write()
        except KeyboardInterrupt:
            bar.write(
                f"Interrupted in epoch {epoch}: the network keeps what it has learned, and the "
                f"history holds the {len(state.rows)} epochs before."
            )
    return _history(state.rows, measured is not None)


def evaluate(model: nn.Module, data: Data) -> Score:
    """Measure a network on images that it does not learn from, without dropout.

    Args:
        model: The network; neither its weights nor its mode change.
        data: Images and labels, as for `fit`.

    Returns:
        The mean loss (cross-entropy of the logits), and the accuracy from 0 to 1.

    Raises:
        TypeError: As for `fit`.
        ValueError: As for `fit`.
    """
    return _measure(model, Batches(data, "data", model, _AT_ONCE))


def predict(model: nn.Module, images: Tensor) -> Tensor:
    """Return the class that a network finds most likely for each image.

    Args:
        model: The network; neither its weights nor its mode change.
        images: Shape (count, channels, height, width), or whatever the network takes.

    Returns:
        Classes, counted from 0: shape (count,), int64, on the CPU.

    Raises:
        TypeError: images are no tensor of floating-point numbers.
        ValueError: There are none, or they do not fit the network.
    """
    check_images(images, "images")
    classes_of(model, images)
    with torch.no_grad(), mode(model, training=False):
        parts = [model(part.to(device_of(model))) for part in torch.split(images, _AT_ONCE)]
    return _decide(torch.cat(parts)).cpu()


def _measure(model: nn.Module, data: Batches) -> Score:
    sums = torch.zeros(3, device=data.device)
    with torch.no_grad(), mode(model, training=False):
        for batch in data.in_order():
            logits = model(batch.images)
            sums += _sums(_losses(logits, batch.labels), logits, batch.labels)
    return _score(sums)


def _losses(logits: Tensor, labels: Tensor) -> Tensor:
    if logits.ndim == 2 and logits.shape[1] > 1:
        return F.cross_entropy(logits, labels, reduction="none")
    one = logits.flatten()
    return F.binary_cross_entropy_with_logits(one, labels.to(one.dtype), reduction="none")


def _decide(logits: Tensor) -> Tensor:
    if logits.ndim == 2 and logits.shape[1] > 1:
        return logits.argmax(1)
    return (logits.flatten() > 0).long()


def _sums(losses: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
    """Return what can be added over batches: the losses, the right answers, the images."""
    right = (_decide(logits.detach()) == labels).sum()
    loss = losses.detach().sum()
    return torch.stack([loss, right.to(loss.dtype), loss.new_tensor(len(labels))])


def _score(sums: Tensor) -> Score:
    if processes() > 1:
        distributed.all_reduce(sums)
    loss, right, count = sums.tolist()
    return Score(loss / count, right / count)


def _look(sums: Tensor, epoch: int, lr: float, bar: Any) -> None:
    """Show the mean loss, and stop a training that is lost."""
    loss, _, count = sums.tolist()
    if not math.isfinite(loss):
        raise FloatingPointError(
            f"the loss became NaN or infinite in epoch {epoch}: make the network anew, and try a "
            f"learning rate ten times smaller than {lr:g}; see also that the images lie in 0 to 1"
        )
    bar.set_postfix(loss=f"{loss / count:.3f}", refresh=False)


def _rates(optimizer: torch.optim.Optimizer, schedule: str, lr: float, steps: int) -> Any:
    """Return what sets the learning rate of every step."""
    kinds = torch.optim.lr_scheduler
    if schedule == "constant":
        return kinds.ConstantLR(optimizer, factor=1)
    return kinds.OneCycleLR(
        optimizer, lr, max(1, steps), pct_start=0.25, div_factor=10, cycle_momentum=False
    )


def _fastest() -> torch.device:
    """Return the accelerator that there is, of several processes each its own, or the CPU."""
    device = torch.accelerator.current_accelerator(check_available=True)
    if device is None:
        return torch.device("cpu")
    return torch.device(device.type, torch.accelerator.current_device_index())


@contextmanager
def _own_random_numbers(device: torch.device) -> Iterator[None]:
    """Let the caller's random numbers go on afterwards as if nothing had happened."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield


def _bar(total: int, done: int, progress: bool) -> Any:
    from tqdm.auto import tqdm  # chooses a bar that suits a notebook or a terminal

    return tqdm(total=total, initial=done, disable=not progress or process() > 0)


def _history(rows: list[dict[str, float]], measured: bool) -> pd.DataFrame:
    import pandas as pd

    columns = (
        ["epoch", "loss", "accuracy"] + measured * ["test_loss", "test_accuracy"] + ["seconds"]
    )
    return pd.DataFrame(rows, columns=columns).set_index("epoch")


def _number(value: Any, name: str, most: float) -> float:
    if not isinstance(value, int | float) or not 0 <= value <= most or value == math.inf:
        upto = "or more" if most == math.inf else f"to {most:g}"
        raise ValueError(f"expected {name} as a number, 0 {upto}, got {value!r}")
    return float(value)


def _one_of(value: Any, name: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ValueError(f"expected {name} to be one of {known}, got {value!r}")
    return str(value)
