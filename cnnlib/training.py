"""Train a network, measure it and ask it.

`fit` is the training loop that the lecture on digits writes out, grown up: it can be interrupted,
repeated bit for bit, continued from a file, hurried, and shared by several processes.
"""

from __future__ import annotations

import math
import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, distributed, nn
from torch.utils.data import DataLoader

from cnnlib._batches import Batches, Data, check_images, classes_of
from cnnlib._checkpoint import Checkpoint
from cnnlib._checks import number, one_of, whole_number
from cnnlib._networks import check_model, device_of, mode
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
    label_smoothing: float = 0.0,
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
    learned, and the history so far is returned. The same seed gives the same weights, bit for bit
    on the CPU of one machine as long as the number of threads stays the same
    (`torch.set_num_threads`: more threads add up in another order); the random numbers of the
    caller go on as if nothing had happened.

    Processes that `cnnlib.parallel` has joined call fit with the same arguments: each takes its
    share of every batch, and their gradients are averaged. Ctrl-C ends them.

    First used in lecture 12.

    Args:
        model: Takes images of shape (batch, channels, height, width), or other tensors whose first
            axis is the batch, and returns logits of shape (batch, classes), (batch, 1) or (batch,).
        train: Images and their labels as two tensors (`digits()` gives such pairs), or a
            `DataLoader` that yields them in batches. Images are floating-point numbers, labels
            whole numbers from 0.
        test: More of the same, measured after every epoch and not learned from.
        epochs: How many times to see all images.
        batch_size: Images for each step; a DataLoader has its own.
        lr: Learning rate, the length of a step; the largest one of a one-cycle schedule.
        weight_decay: Share of each weight, times lr, that every step takes away (AdamW).
        schedule: "constant", or "one-cycle": the learning rate climbs for a quarter of the steps
            and then falls to almost nothing. Fewer epochs reach the same accuracy.
        hardest: Share of the training images that the second and later epochs see, more than 0 and
            up to 1: those whose loss was largest when they were last seen. The others are right
            already, and teach little. Needs tensors.
        label_smoothing: Share of the certainty that is taken from the label and spread evenly
            over all classes, so that answers are not driven to extremes.
        precision: "float32", or "bfloat16": layers calculate with numbers of half the size, where
            that is safe. Faster on processors that have instructions for it.
        channels_last: Whether images lie in memory pixel by pixel, all channels of one side by
            side. Convolutions of many channels are faster so.
        seed: Decides the order of the images (that of a DataLoader too, unless it has a generator
            of its own), and what dropout drops. It does not decide the first weights: they are
            there already.
        device: "cuda", "mps", "cpu", ...; by default the fastest that there is. The network and
            tensors move there; the network stays there.
        checkpoint: A file that is written before the first epoch and after every one, never in
            part. If it is there, the training goes on from it, to the same result as if it had
            not been interrupted.
        progress: Whether to show a progress bar. TQDM_DISABLE=1 in the environment hides all.

    Returns:
        One row for each epoch, counted from 1: `loss` and `accuracy` on the training images while
        they were learned, `test_loss` and `test_accuracy` if there is `test`, and `seconds` of
        training without measuring.

    Raises:
        TypeError: Something is of another type, labels for example that are no whole numbers.
        ValueError: There are no images, a label lies outside the classes, images do not fit the
            network, a setting is out of range, there is no such device, or the checkpoint is
            damaged or of another network or training.
        OSError: The checkpoint cannot be written.
        FloatingPointError: The loss became NaN or infinite.

    Source: D. Kingma and J. Ba, Adam (2015); I. Loshchilov and F. Hutter, AdamW (2019); L. Smith
    and N. Topin, Super-convergence (2018), for the one-cycle schedule.
    """
    check_model(model)
    epochs = whole_number(epochs, "epochs", 0)
    settings = _settings(
        epochs, batch_size, lr, weight_decay, schedule, hardest, label_smoothing, precision, seed
    )
    if hardest < 1 and isinstance(train, DataLoader):
        raise ValueError("expected train as two tensors where hardest < 1, got a DataLoader")
    model.to(_device(device))
    batches = Batches(train, "train", model, batch_size)
    measured = None if test is None else Batches(test, "test", model, _AT_ONCE)
    settings["images"] = batches.count
    if channels_last:
        model.to(memory_format=torch.channels_last)
    optimizer = _optimizer(model, lr, weight_decay)
    steps = [batches.steps(hardest if epoch else 1) for epoch in range(epochs)]
    rates = _rates(optimizer, schedule, lr, sum(steps))
    parts = {"model": model, "optimizer": optimizer, "rates": rates, "batches": batches}
    state = Checkpoint(parts, settings, checkpoint)
    done = len(state.rows)
    together = nn.parallel.DistributedDataParallel(model) if processes() > 1 else model
    bar = _bar(sum(steps), sum(steps[:done]), progress)
    loop = _Loop(together, batches, optimizer, rates, settings, bar)
    with bar, mode(model, training=True):
        try:
            for epoch in range(done + 1, epochs + 1):
                bar.set_description(f"epoch {epoch} of {epochs}")
                row = _epoch(loop, epoch)
                if measured is not None:
                    score = _measure(model, measured)
                    row |= {"test_loss": score.loss, "test_accuracy": score.accuracy}
                _stop_if_lost(sum(weight.sum().item() for weight in model.parameters()), epoch, lr)
                state.rows.append(row)
                state.write()
        except KeyboardInterrupt:
            if processes() > 1:
                raise  # each was interrupted at another step, so that they cannot go on together
            bar.write(
                f"Interrupted in epoch {epoch}: the network keeps what it has learned, and the "
                f"history holds the finished epochs, {len(state.rows)} of {epochs}."
            )
    return _history(state.rows, measured is not None)


def evaluate(model: nn.Module, data: Data) -> Score:
    """Measure a network on images that it does not learn from, without dropout.

    First used in lecture 12.

    Args:
        model: The network; neither its weights nor its mode change.
        data: Images and labels, as for `fit`.

    Returns:
        The mean loss (cross-entropy of the logits), and the accuracy from 0 to 1.

    Raises:
        TypeError: As for `fit`.
        ValueError: As for `fit`.
    """
    check_model(model)
    return _measure(model, Batches(data, "data", model, _AT_ONCE))


def predict(model: nn.Module, images: Tensor) -> Tensor:
    """Return the class that a network finds most likely for each image.

    First used in lecture 12.

    Args:
        model: The network; neither its weights nor its mode change.
        images: Shape (count, channels, height, width), or whatever the network takes.

    Returns:
        Classes, counted from 0: shape (count,), int64, on the CPU.

    Raises:
        TypeError: images are no tensor of floating-point numbers.
        ValueError: There are none, or they do not fit the network.
    """
    check_model(model)
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


def _losses(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return the loss of each image, in float32 or finer."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if logits.ndim == 2 and logits.shape[1] > 1:
        return F.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
    one = logits.flatten()
    wanted = labels.to(one.dtype) * (1 - smoothing) + smoothing / 2
    return F.binary_cross_entropy_with_logits(one, wanted, reduction="none")


def _decide(logits: Tensor) -> Tensor:
    if logits.ndim == 2 and logits.shape[1] > 1:
        return logits.argmax(1)
    return (logits.flatten() > 0).long()


def _sums(losses: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
    """Return what can be added over batches: the losses, the right answers, the images."""
    loss = losses.detach().sum()
    right = (_decide(logits.detach()) == labels).sum()
    return torch.stack([loss, right.to(loss.dtype), torch.full_like(loss, len(labels))])


def _score(sums: Tensor) -> Score:
    if processes() > 1:
        distributed.all_reduce(sums)
    loss, right, count = sums.tolist()
    return Score(loss / count, right / count)


def _look(sums: Tensor, epoch: int, lr: float, bar: Any) -> None:
    """Show the mean loss, and stop a training that is lost."""
    loss, _, count = sums.tolist()
    _stop_if_lost(loss, epoch, lr)
    bar.set_postfix(loss=f"{loss / max(1, count):.3f}", refresh=False)


def _stop_if_lost(value: float, epoch: int, lr: float) -> None:
    if not math.isfinite(value):
        raise FloatingPointError(
            f"the loss became NaN or infinite in epoch {epoch}: make the network anew, and try a "
            f"learning rate ten times smaller than {lr:g}; see also that the images lie in 0 to 1"
        )


class _Loop(NamedTuple):
    """What the steps of a training have in common."""

    model: nn.Module
    batches: Batches
    optimizer: torch.optim.Optimizer
    rates: Any
    settings: dict[str, Any]
    bar: Any


def _epoch(loop: _Loop, epoch: int) -> dict[str, float]:
    """Go through the images once, in an order of their own, with a step for every batch.

    Returns:
        The epoch's row of the history, without what is measured after it.
    """
    began = time.perf_counter()
    model, batches, optimizer, rates, settings, bar = loop
    lr, hardest = settings["lr"], settings["hardest"] if epoch > 1 else 1
    half = settings["precision"] == "bfloat16"
    autocast = torch.autocast(batches.device.type, torch.bfloat16, enabled=half)
    order = (settings["seed"] + 1_000_003 * epoch) % 2**63  # the same if no epochs came before
    torch.manual_seed(order + process())  # for dropout
    sums = torch.zeros(3, device=batches.device)
    for step, batch in enumerate(batches.shuffled(order, hardest), start=1):
        with autocast:
            logits = model(batch.images)
        losses = _losses(logits, batch.labels, settings["label_smoothing"])
        optimizer.zero_grad()
        (losses.mean() * batch.weight).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        rates.step()
        if batch.weight:
            batches.remember(batch, losses.detach())
            sums += _sums(losses, logits, batch.labels)
        bar.update()
        if step % _LOOK == 0:
            _look(sums, epoch, lr, bar)
    _look(sums, epoch, lr, bar)
    batches.exchange()
    score = _score(sums)
    seconds = time.perf_counter() - began
    return {"epoch": epoch, "loss": score.loss, "accuracy": score.accuracy, "seconds": seconds}


def _settings(
    epochs: int,
    batch_size: int,
    lr: float,
    weight_decay: float,
    schedule: str,
    hardest: float,
    label_smoothing: float,
    precision: str,
    seed: int,
) -> dict[str, Any]:
    """Check what decides the result of a training, and return it by name."""
    settings: dict[str, Any] = {
        "batch_size": whole_number(batch_size, "batch_size", 1),
        "lr": number(lr, "lr"),
        "weight_decay": number(weight_decay, "weight_decay"),
        "schedule": one_of(schedule, "schedule", _SCHEDULES),
        "hardest": number(hardest, "hardest"),
        "label_smoothing": number(label_smoothing, "label_smoothing"),
        "precision": one_of(precision, "precision", _PRECISIONS),
        "seed": whole_number(seed, "seed", 0),
    }
    if schedule == "one-cycle":
        settings["epochs"] = epochs  # the rate of every step depends on how many there will be
    if not 0 < hardest <= 1:
        raise ValueError(f"hardest must be more than 0 and at most 1, got {hardest}")
    if label_smoothing >= 1:
        raise ValueError(f"label_smoothing must be less than 1, got {label_smoothing}")
    return settings


def _optimizer(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """Return Adam for the weights of a network, if it has some to learn."""
    if not any(weight.requires_grad for weight in model.parameters()):
        raise ValueError(
            "expected a network with weights to learn, got one without: give it layers that have "
            "some, or unfreeze them with model.requires_grad_()"
        )
    fused = device_of(model).type in _FUSED
    return torch.optim.AdamW(model.parameters(), lr, weight_decay=weight_decay, fused=fused)


def _rates(optimizer: torch.optim.Optimizer, schedule: str, lr: float, steps: int) -> Any:
    """Return what sets the learning rate of every step."""
    kinds = torch.optim.lr_scheduler
    if schedule == "constant":
        return kinds.ConstantLR(optimizer, factor=1)
    steps = max(5, steps)  # a quarter of four would be one, and no climb
    return kinds.OneCycleLR(
        optimizer, lr, steps, pct_start=0.25, div_factor=10, cycle_momentum=False
    )


def _device(wanted: str | torch.device | None) -> torch.device:
    """Return the device that is wanted, else the fastest: an accelerator, or the CPU."""
    if wanted is not None:
        try:
            return torch.empty(0, device=wanted).device
        except (RuntimeError, AssertionError) as error:
            reason = str(error).partition("\n")[0]
            raise ValueError(
                f"there is no device {str(wanted)!r} here, PyTorch says: {reason}: leave device "
                f"out to take the fastest"
            ) from error
    device = torch.accelerator.current_accelerator(check_available=True)
    if device is None or (processes() > 1 and device.type != "cuda"):
        return torch.device("cpu")  # processes talk between CPUs or between CUDA devices
    return torch.device(device.type, torch.accelerator.current_device_index())


def _bar(total: int, done: int, progress: bool) -> Any:
    from tqdm.auto import tqdm  # chooses a bar that suits a notebook or a terminal

    hidden = os.environ.get("TQDM_DISABLE", "") not in ("", "0")  # the notebook's bar forgets it
    return tqdm(total=total, initial=done, disable=hidden or not progress or process() > 0)


def _history(rows: list[dict[str, float]], measured: bool) -> pd.DataFrame:
    import pandas as pd

    columns = ["loss", "accuracy"] + measured * ["test_loss", "test_accuracy"] + ["seconds"]
    index = pd.RangeIndex(1, len(rows) + 1, name="epoch")
    return pd.DataFrame(rows, index, columns, dtype=float)
