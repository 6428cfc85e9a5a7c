"""Compare the training of the digits' network with the ways that one would pick instead.

- Time to 99.08 % test accuracy on MNIST, the source's figure, against the source's own recipe in
  Keras (Adam, batches of 256, as many epochs as it needs): asked for is at least 15 times faster.
  Medians of three seeds. Keras's time ends with the first epoch that reaches the accuracy; ours is
  that of the whole training, from all images, and from 45,000 of them, which are enough.
- Seconds per epoch against a plain PyTorch loop: a DataLoader that makes a tensor of every image.
- Operations and bytes per second against what this machine can do.
- The same on a GPU, if there is one: asked for is less than a second.

Keras and TensorFlow are installed once, in an environment of their own (build/keras, 2 GB).
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

from cnnlib._files import PROJECT
from cnnlib.datasets import digits
from cnnlib.datasets.labelled import Labelled
from cnnlib.models import DigitsCNN
from cnnlib.training import fit

GOAL, MOST = 0.9908, 25  # accuracy, and epochs to reach it in
SEEDS = (0, 1, 2)
QUICK: dict[str, Any] = {
    "epochs": 4,
    "hardest": 0.1,
    "label_smoothing": 0.03,
    "batch_size": 128,
    "lr": 1.2e-2,
    "weight_decay": 0.01,
    "schedule": "one-cycle",
    "precision": "bfloat16",
    "channels_last": True,
}
ON_GPU = QUICK | {"batch_size": 512, "lr": 2e-2}


def main() -> None:
    """Print one table of all comparisons; each pair alternates, so that slow spells meet both."""
    train, test = digits()
    if len(train.images) < 60_000:
        sys.exit("These comparisons need the real MNIST: see data/README.md.")
    enough = Labelled(train.images[:45_000], train.labels[:45_000])
    sides: dict[str, list[tuple[float, float, int]]] = {
        name: [] for name in ("Keras, the source's recipe", "fit", "fit, 45,000 images")
    }
    with tempfile.TemporaryDirectory() as folder:
        arrays = Path(folder) / "mnist.npz"
        _store(arrays, train, test)
        python = _keras()
        for seed in SEEDS:
            for side, run in zip(
                sides.values(),
                (
                    _by_keras(python, arrays, seed),
                    _by_fit(train, test, seed, "cpu", QUICK),
                    _by_fit(enough, test, seed, "cpu", QUICK),
                ),
                strict=True,
            ):
                side.append(run)
    print(f"\n{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}\n")
    _compare("time to 99.08 % on MNIST", sides)
    _epochs(train)
    _limits()
    _gpu(train, test)


def _store(path: Path, train: Labelled, test: Labelled) -> None:
    parts = [array.numpy() for array in (*train, *test)]
    parts[0], parts[2] = (images.transpose(0, 2, 3, 1) for images in (parts[0], parts[2]))
    np.savez(path, *parts)


def _keras() -> Path:
    """Return the Python that has Keras; make its environment the first time."""
    folder = PROJECT / "build/keras"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ready = folder / "ready"
    if not ready.exists():
        print("Setting up build/keras for the comparison with Keras: a few minutes and 2 GB.")
        venv.create(folder, clear=True, with_pip=True)
        with (PROJECT / "pyproject.toml").open("rb") as settings:
            wanted = tomllib.load(settings)["dependency-groups"]["keras"]
        subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], check=True)
        ready.touch()
    return python


def _by_keras(python: Path, arrays: Path, seed: int) -> tuple[float, float, int]:
    """Return seconds of training, accuracy and epochs of Keras."""
    command = [python, PROJECT / "benchmarks/keras_recipe.py", arrays, seed, GOAL, MOST]
    run = subprocess.run(
        [str(c) for c in command], check=True, encoding="utf-8", stdout=subprocess.PIPE
    )
    rows = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
    assert rows[0]["parameters"] == sum(p.numel() for p in DigitsCNN().parameters())
    return sum(row["seconds"] for row in rows), rows[-1]["accuracy"], len(rows)


def _by_fit(
    train: Labelled, test: Labelled, seed: int, device: str, recipe: dict[str, Any]
) -> tuple[float, float, int]:
    """Return the same of `fit`."""
    torch.manual_seed(seed)
    model = DigitsCNN(pool_first=True)
    history = fit(model, train, test=test, seed=seed, device=device, progress=False, **recipe)
    return history["seconds"].sum(), history["test_accuracy"].iloc[-1], len(history)


def _compare(title: str, sides: dict[str, list[tuple[float, float, int]]]) -> None:
    """Print the medians of all sides, how much faster than the first each is, and every run."""
    print(title)
    first = statistics.median(seconds for seconds, _, _ in next(iter(sides.values())))
    for name, runs in sides.items():
        seconds, accuracy = (statistics.median(run[k] for run in runs) for k in (0, 1))
        print(f"  {name:28} {seconds:7.1f} s   {first / seconds:5.1f} times   {accuracy:.2%}")
        for seconds, accuracy, epochs in runs:
            print(f"  {'':28} {seconds:7.1f} s   {epochs:5} epochs  {accuracy:.2%}")
    print()


def _epochs(train: Labelled) -> None:
    """Compare seconds per epoch, each measured on the same 12,800 images and scaled."""
    few = Labelled(train.images[:12_800], train.labels[:12_800])
    plain = {"epochs": 1, "batch_size": 256}
    ways: dict[str, Callable[[], float]] = {
        "DataLoader and ToTensor": lambda: _plain_loop(few),
        "fit, data as one tensor": lambda: _fitted(few, plain),
        "+ channels_last": lambda: _fitted(few, plain | {"channels_last": True}),
        "+ pooling before the ReLU": lambda: _fitted(few, plain | {"channels_last": True}, True),
        "+ bfloat16, batches of 128": lambda: _fitted(few, QUICK | {"epochs": 1}, True),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(3):
        for name, way in ways.items():
            times[name].append(way() * 60_000 / 12_800)
    medians = {name: statistics.median(values) for name, values in times.items()}
    print("seconds per epoch of 60,000 images")
    for name, seconds in medians.items():
        ratio = medians["DataLoader and ToTensor"] / seconds
        print(f"  {name:28} {seconds:7.1f} s   {ratio:5.1f} times as fast as the first")
    print()


def _plain_loop(data: Labelled) -> float:
    """Train as most tutorials do: each image is made a tensor when its batch is put together."""
    from torchvision import transforms

    to_tensor = transforms.ToTensor()
    pictures = [(255 * image).round().byte().numpy()[0] for image in data.images]
    pairs = list(zip(pictures, data.labels.tolist(), strict=True))

    def together(batch: list[tuple[Any, int]]) -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = zip(*batch, strict=True)
        return torch.stack([to_tensor(image) for image in images]), torch.tensor(labels)

    loader: DataLoader[Any] = DataLoader(
        pairs,  # type: ignore[arg-type]
        batch_size=256,
        shuffle=True,
        collate_fn=together,
    )
    model = DigitsCNN()
    optimizer = torch.optim.Adam(model.parameters())
    began = time.perf_counter()
    for images, labels in loader:
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return time.perf_counter() - began


def _fitted(data: Labelled, recipe: dict[str, Any], pool_first: bool = False) -> float:
    model = DigitsCNN(pool_first=pool_first)
    return float(fit(model, data, device="cpu", progress=False, **recipe)["seconds"].sum())


def _limits() -> None:
    """Compare the operations and bytes of a step with the most that the machine does of each."""
    batch, size = QUICK["batch_size"], 2048
    images, labels = torch.rand(batch, 1, 28, 28), torch.randint(10, (batch,))
    model = DigitsCNN(pool_first=True)
    with FlopCounterMode(display=False) as counter:
        F.cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]
    flop = counter.get_total_flops()
    # Every layer's output is written and read, and so is its gradient: 4 times 2 bytes a value.
    values = sum(output.numel() for output in _outputs(model, images))
    seconds = _fitted(Labelled(images.repeat(50, 1, 1, 1), labels.repeat(50)), QUICK, True) / (
        50 + 3 * 5
    )
    print(f"a step of {batch} images: {flop / 1e9:.2f} GFLOP, about {8 * values / 1e6:.0f} MB")
    for name, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        matrix = torch.rand(size, size).to(kind)
        best = min(_seconds(lambda m=matrix: m @ m) for _ in range(5))  # type: ignore[misc]
        rate = 2 * size**3 / best
        share = flop / seconds / rate
        print(f"  matrix product in {name:9} {rate / 1e9:6.0f} GFLOP/s; training does {share:.0%}")
    source = torch.rand(64_000_000)
    best = min(_seconds(source.clone) for _ in range(5))
    rate = 8 * len(source) / best
    print(f"  copying                    {rate / 1e9:6.1f} GB/s; ", end="")
    print(f"training moves {8 * values / seconds / rate:.0%} of that\n")


def _outputs(model: DigitsCNN, images: torch.Tensor) -> Iterator[torch.Tensor]:
    out = images
    for layer in model.main:
        out = layer(out)
        if not isinstance(layer, nn.Flatten):
            yield out


def _seconds(function: Callable[[], Any]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def _gpu(train: Labelled, test: Labelled) -> None:
    if not torch.cuda.is_available():
        print("GPU: there is none here, so nothing was measured on one.")
        return
    _by_fit(train, test, 0, "cuda", ON_GPU)  # CUDA starts and chooses its algorithms
    runs = [_by_fit(train, test, seed, "cuda", ON_GPU) for seed in SEEDS]
    print(f"GPU: {torch.cuda.get_device_name()}, training without start-up")
    for seconds, accuracy, epochs in runs:
        print(f"  {seconds:6.2f} s, {100 * accuracy:.2f} % ({epochs} epochs)")


if __name__ == "__main__":
    main()
