"""Training agrees with a plain loop, can be repeated and interrupted, and refuses what is wrong."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from cnnlib.images import PROJECT
from cnnlib.training import evaluate, fit, predict

DEVICES = ["cpu"]
if torch.accelerator.is_available():
    DEVICES.append(str(torch.accelerator.current_accelerator()))

# 41 images of 3 classes: four batches of 10 and one of a single image.
COUNT, BATCH = 41, 10
generator = torch.Generator().manual_seed(0)
IMAGES = torch.rand(COUNT, 1, 4, 4, generator=generator)
LABELS = (IMAGES.flatten(1)[:, :3] + 0.2 * IMAGES.mean()).argmax(1)
DATA = (IMAGES, LABELS)
SETTINGS: dict[str, Any] = {"batch_size": BATCH, "lr": 0.01, "device": "cpu", "progress": False}


def network(outputs: int = 3, dropout: float = 0.0, seed: int = 1) -> nn.Sequential:
    """A network with a convolution, dropout and two linear layers, the same for each seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(16, 8),
            nn.Linear(8, outputs),
        )


def weights(model: nn.Module) -> Tensor:
    return torch.cat([weight.detach().cpu().flatten() for weight in model.parameters()])


def order(epoch: int, seed: int = 0, count: int = COUNT) -> Tensor:
    """The order of the images in an epoch."""
    own = torch.Generator().manual_seed(seed + 1_000_003 * epoch)
    return torch.randperm(count, generator=own)


def one_cycle(step: int, steps: int, lr: float) -> float:
    """A tenth of the rate, cosine up to all of it, and cosine down to almost nothing."""
    top = steps / 4 - 1
    low, part = (
        (lr / 10, 1 - step / top) if step <= top else (lr / 1e5, (step - top) / (steps - 1 - top))
    )
    return low + (lr - low) * (1 + math.cos(math.pi * part)) / 2


def loss_of(logits: Tensor, labels: Tensor, smooth: float = 0.0) -> Tensor:
    if logits.ndim == 1 or logits.shape[1] == 1:
        one = torch.sigmoid(logits.flatten())
        chances = torch.stack([1 - one, one], dim=1)
    else:
        chances = logits.softmax(1)
    wanted = torch.full_like(chances, smooth / chances.shape[1])
    wanted[torch.arange(len(labels)), labels] += 1 - smooth
    return -(wanted * chances.log()).sum(1)


def plain(
    model: nn.Module,
    labels: Tensor,
    epochs: int,
    decay: float = 0.0,
    cycle: bool = False,
    smooth: float = 0.0,
) -> list[float]:
    """Train with a loop as in a first lesson; return the mean loss of every epoch."""
    optimizer = torch.optim.AdamW(model.parameters(), 0.01, weight_decay=decay, fused=False)
    step, history = 0, []
    for epoch in range(1, epochs + 1):
        total = 0.0
        for places in torch.split(order(epoch), BATCH):
            if cycle:
                optimizer.param_groups[0]["lr"] = one_cycle(step, 5 * epochs, 0.01)
            losses = loss_of(model(IMAGES[places]), labels[places], smooth)
            optimizer.zero_grad()
            losses.mean().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total, step = total + losses.sum().item(), step + 1
        history.append(total / COUNT)
    return history


class Recorder(nn.Module):
    """A network that remembers which images it learned from, and their losses at that time."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network()
        self.seen: list[tuple[int, float]] = []

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x)
        if self.training:
            places = [int((image == IMAGES).flatten(1).all(1).nonzero()) for image in x]
            losses = loss_of(logits.detach(), LABELS[places])
            self.seen += zip(places, losses.tolist(), strict=True)
        return logits


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Small networks take longer with threads, and those of child processes take one as well."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _nothing_is_disturbed() -> Iterator[None]:
    """No test changes the images, and none takes random numbers away from its caller."""
    before = torch.get_rng_state(), IMAGES.clone(), LABELS.clone()
    yield
    after = torch.get_rng_state(), IMAGES, LABELS
    assert all(map(torch.equal, before, after))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {}),
        ({"weight_decay": 0.5}, {"decay": 0.5}),
        ({"schedule": "one-cycle"}, {"cycle": True}),
        ({"label_smoothing": 0.2}, {"smooth": 0.2}),
    ],
    ids=str,
)
def test_equals_a_plain_loop(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    model, expected = network(), network()
    losses = plain(expected, LABELS, 3, **theirs)
    history = fit(model, DATA, epochs=3, **SETTINGS, **ours)
    torch.testing.assert_close(weights(model), weights(expected), rtol=1e-4, atol=1e-5)
    assert history["loss"].tolist() == pytest.approx(losses, rel=1e-4)
    assert not torch.allclose(weights(model), weights(network()), atol=1e-3)


@pytest.mark.parametrize("flat", [False, True], ids=["(n, 1)", "(n,)"])
def test_one_output_tells_two_classes_apart(flat: bool) -> None:
    labels = (LABELS == 0).long()
    model, expected = (
        nn.Sequential(network(1), *([nn.Flatten(0)] if flat else [])) for _ in range(2)
    )
    losses = plain(expected, labels, 2, smooth=0.1)
    history = fit(model, (IMAGES, labels), epochs=2, label_smoothing=0.1, **SETTINGS)
    torch.testing.assert_close(weights(model), weights(expected), rtol=1e-4, atol=1e-5)
    assert history["loss"].tolist() == pytest.approx(losses, rel=1e-4)
    with torch.no_grad():
        logits = expected(IMAGES).flatten()
    score = evaluate(model, (IMAGES, labels))
    assert score.loss == pytest.approx(loss_of(logits, labels).mean().item(), rel=1e-4)
    assert score.accuracy == ((logits > 0) == (labels == 1)).double().mean().item()
    assert predict(model, IMAGES).tolist() == (logits > 0).long().tolist()


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("device", DEVICES)
def test_half_precision_and_memory_order_come_close(device: str, channels_last: bool) -> None:
    exact, model = network(), network()
    settings = SETTINGS | {"device": device}
    expected = fit(exact, DATA, epochs=5, **settings)
    history = fit(
        model, DATA, epochs=5, precision="bfloat16", channels_last=channels_last, **settings
    )
    assert history["loss"].tolist() == pytest.approx(expected["loss"].tolist(), rel=0.02)
    assert not torch.equal(weights(model), weights(exact))  # it did calculate otherwise
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    fit(exact := network(), DATA, epochs=5, channels_last=channels_last, **settings)
    fit(model := network(), DATA, epochs=5, **settings)
    torch.testing.assert_close(weights(model), weights(exact), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_numbers(dtype: torch.dtype) -> None:
    model, data = network().to(dtype), (IMAGES.to(dtype), LABELS)
    fit(model, data, epochs=1, **SETTINGS)
    with torch.no_grad():
        logits = model(data[0])
    precise = logits.to(torch.promote_types(dtype, torch.float32))
    score = evaluate(model, data)
    assert score.loss == pytest.approx(loss_of(precise, LABELS).mean().item(), rel=1e-6)
    assert score.accuracy == (logits.argmax(1) == LABELS).double().mean().item()


def test_repeats_bit_for_bit() -> None:
    def run(seed: int) -> tuple[Tensor, pd.DataFrame]:
        model = network(dropout=0.5)
        history = fit(model, DATA, test=DATA, epochs=2, seed=seed, **SETTINGS)
        return weights(model), history.drop(columns="seconds")

    first, history = run(5)
    with torch.random.fork_rng():
        torch.rand(3)  # what the caller drew before plays no part
        second, again = run(5)
    other, _ = run(6)
    assert torch.equal(first, second)
    pd.testing.assert_frame_equal(history, again, check_exact=True)
    assert not torch.equal(first, other)


def test_layers_are_left_in_their_modes() -> None:
    model = network(dropout=0.5)
    model[3].eval()
    before = [module.training for module in model.modules()]
    learned: list[bool] = []
    model[3].register_forward_hook(lambda layer, *_: learned.append(layer.training))
    fit(model, DATA, epochs=1, **SETTINGS)
    assert learned == [False] + 5 * [True]  # one image to try it with, then five batches
    learned.clear()
    evaluate(model, DATA)
    predict(model, IMAGES)
    assert learned == 4 * [False]
    with pytest.raises(ValueError, match="images that the network takes"):
        predict(model, IMAGES[:, :, :3, :3])
    assert [module.training for module in model.modules()] == before


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_data_loader_equals_tensors(shuffle: bool) -> None:
    places = torch.cat([order(1), order(2)])

    class Order:
        """The order in which fit takes tensors, epoch after epoch."""

        def __init__(self) -> None:
            self.epochs = iter([order(1), order(1), order(2)])  # the first to look at one batch

        def __iter__(self) -> Iterator[int]:
            return iter(next(self.epochs).tolist())

        def __len__(self) -> int:
            return COUNT

    dataset = TensorDataset(*DATA)
    runs: list[Any]
    if shuffle:  # by torch, whose order we do not know: at least it is the same twice
        runs = [DataLoader(dataset, BATCH, shuffle=True) for _ in range(2)]
    else:
        runs = [DataLoader(dataset, BATCH, sampler=Order()), DATA]
    assert len(places) == 2 * COUNT
    models = [network(), network()]
    histories = [
        fit(
            model, data, test=data if data is DATA else DataLoader(dataset, 7), epochs=2, **SETTINGS
        )
        for model, data in zip(models, runs, strict=True)
    ]
    assert torch.equal(weights(models[0]), weights(models[1]))
    one, other = (history.drop(columns="seconds") for history in histories)
    pd.testing.assert_frame_equal(one, other, rtol=1e-6)


def test_later_epochs_see_the_hardest_images() -> None:
    model = Recorder()
    history = fit(model, DATA, epochs=4, hardest=0.3, **SETTINGS)
    seen = [place for place, _ in model.seen]
    assert seen[:COUNT] == order(1).tolist()
    few = math.ceil(0.3 * COUNT)
    assert len(seen) == COUNT + 3 * few
    last = dict(model.seen[:COUNT])
    for epoch in range(3):
        start = COUNT + epoch * few
        expected = sorted(last, key=lambda place: -last[place])[:few]
        assert sorted(seen[start : start + few]) == sorted(expected)
        losses = [loss for _, loss in model.seen[start : start + few]]
        assert history["loss"].iloc[epoch + 1] == pytest.approx(sum(losses) / few, rel=1e-5)
        last |= dict(model.seen[start : start + few])


def test_the_history() -> None:
    history = fit(network(), DATA, epochs=3, **SETTINGS)
    assert history.columns.tolist() == ["loss", "accuracy", "seconds"]
    tested = fit(network(), DATA, test=DATA, epochs=3, **SETTINGS)
    columns = ["loss", "accuracy", "test_loss", "test_accuracy", "seconds"]
    assert tested.columns.tolist() == columns
    assert tested.index.tolist() == [1, 2, 3]
    assert tested.index.name == "epoch"
    assert (tested.dtypes == "float64").all()
    assert (tested["seconds"] > 0).all()
    model = network()
    empty = fit(model, DATA, test=DATA, epochs=0, **SETTINGS)
    assert empty.shape == (0, 5)
    assert (empty.dtypes == tested.dtypes).all()
    assert empty.index.name == "epoch"
    assert torch.equal(weights(model), weights(network()))


@pytest.mark.parametrize("epochs", [1, 2])
@pytest.mark.parametrize("batch", [11, 21, 50])
def test_one_cycle_of_few_steps(epochs: int, batch: int) -> None:
    settings = SETTINGS | {"batch_size": batch}
    history = fit(network(), DATA, epochs=epochs, schedule="one-cycle", **settings)
    assert len(history) == epochs


def test_the_mean_is_over_images() -> None:
    model = network(dropout=0.5)
    many = torch.arange(2001) % COUNT  # two batches of 1,000 and one of a single image
    images, labels = IMAGES[many], LABELS[many]
    model.eval()
    with torch.no_grad():
        logits = model(images)
    model.train()
    score = evaluate(model, (images, labels))
    assert score.loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)
    assert score.accuracy == pytest.approx((logits.argmax(1) == labels).double().mean().item())
    classes = predict(model, images)
    assert torch.equal(classes, logits.argmax(1))
    assert (classes.dtype, classes.shape, classes.device.type) == (torch.int64, (2001,), "cpu")
    loader: DataLoader[Any] = DataLoader(TensorDataset(images, labels), 300)
    assert evaluate(model, loader) == pytest.approx(score, rel=1e-5)


@pytest.mark.parametrize("device", DEVICES)
def test_the_network_moves_to_the_device(device: str) -> None:
    model = network()
    fit(model, DATA, epochs=1, **SETTINGS | {"device": device})
    assert {weight.device.type for weight in model.parameters()} == {device.partition(":")[0]}
    assert predict(model, IMAGES).device.type == "cpu"
    assert evaluate(model, DATA).loss > 0
    fit(model, DATA, epochs=1, **SETTINGS | {"device": None})
    assert {weight.device.type for weight in model.parameters()} == {DEVICES[-1].partition(":")[0]}


def test_frozen_weights_stay() -> None:
    model = network()
    model[0].requires_grad_(False)
    fit(model, DATA, epochs=1, weight_decay=0.1, **SETTINGS)
    assert torch.equal(weights(model[0]), weights(network()[0]))
    assert not torch.equal(weights(model[4]), weights(network()[4]))


@pytest.mark.parametrize("lr", [1e20, 3e38])
def test_a_lost_training_stops(lr: float, tmp_path: Path) -> None:
    file = tmp_path / "digits.pt"
    words = rf"NaN or infinite in epoch 1: .* ten times smaller than {lr:g}".replace("+", r"\+")
    with pytest.raises(FloatingPointError, match=words):
        fit(network(), DATA, epochs=9, checkpoint=file, **SETTINGS | {"lr": lr})
    held = torch.load(file, weights_only=True)  # the last one before it was lost
    assert all(torch.isfinite(value).all() for value in held["model"].values())


def test_weights_lost_in_the_last_step_are_noticed() -> None:
    class Once(nn.Module):
        """A network whose only loss is finite, and whose gradient is not."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(3))

        def forward(self, x: Tensor) -> Tensor:
            return (self.weight * x.flatten(1)[:, :3]).sqrt()

    with pytest.raises(FloatingPointError, match="in epoch 1"):
        fit(Once(), DATA, epochs=1, **SETTINGS | {"batch_size": COUNT})


class Pair(nn.Module):
    """A network that returns more than logits."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.net(x), x


NOTHING = torch.zeros(0, 1, 4, 4), torch.zeros(0, dtype=torch.long)
ONE_HOT = F.one_hot(LABELS, 3)
WITH_INF = IMAGES.clone()
WITH_INF[7, 0, 1, 2] = math.inf


@pytest.mark.parametrize("call", [fit, evaluate])
@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (NOTHING, ValueError, r"the images of \w+ is empty \(shape \(0, 1, 4, 4\)\)"),
        (DataLoader(TensorDataset(*DATA), 50, drop_last=True), ValueError, "yields no batch"),
        (IMAGES, TypeError, r"two tensors \(images, labels\), or a DataLoader .* got Tensor$"),
        (TensorDataset(*DATA), TypeError, "got TensorDataset$"),
        ((IMAGES, LABELS, LABELS), TypeError, "got tuple of 3$"),
        (None, TypeError, "got NoneType$"),
        (DataLoader(IMAGES), TypeError, "DataLoader of such pairs, got Tensor"),  # type: ignore[arg-type]
        ((IMAGES.numpy(), LABELS), TypeError, r"as a tensor, got ndarray: .* torch\.tensor"),
        ((IMAGES, LABELS.numpy()), TypeError, r"labels of .* got ndarray: .* torch\.tensor"),
        ((IMAGES, LABELS.tolist()), TypeError, "labels of .* got list"),
        (((255 * IMAGES).byte(), LABELS), TypeError, r"got torch\.uint8: .*\.float\(\) / 255"),
        ((WITH_INF, LABELS), ValueError, r"1 of 656.* \(7, 0, 1, 2\)"),
        ((IMAGES, LABELS.float()), TypeError, r"whole numbers, got torch\.float32: .*\.long\(\)"),
        ((IMAGES, LABELS == 0), TypeError, r"whole numbers, got torch\.bool"),
        ((IMAGES, ONE_HOT), ValueError, r"got shape \(41, 3\): .*argmax\(1\)"),
        ((IMAGES, ONE_HOT.float()), ValueError, r"got shape \(41, 3\): .*argmax\(1\)"),
        ((IMAGES, LABELS[:40]), ValueError, r"each of the 41 images .* got shape \(40,\)"),
        ((IMAGES, LABELS + 1), ValueError, "from 0 to 2, .* 3 classes apart, got 3"),
        ((IMAGES, LABELS - 1), ValueError, "from 0 to 2, .* 3 classes apart, got -1"),
        ((IMAGES[..., :3], LABELS), ValueError, r"float32 of shape \(41, 1, 4, 3\); .*mat1"),
        ((IMAGES.double(), LABELS), ValueError, r"got torch\.float64 of shape"),
    ],
)
def test_refuses_data(
    call: Callable[..., Any], data: Any, error: type[Exception], words: str
) -> None:
    model = network()
    with pytest.raises(error, match=words):
        call(model, data, **SETTINGS if call is fit else {})
    if call is fit and data is not None:
        with pytest.raises(error, match=words):
            fit(model, DATA, test=data, **SETTINGS)
    assert torch.equal(weights(model), weights(network()))


def test_refuses_labels_of_a_later_batch() -> None:
    loader = DataLoader(TensorDataset(IMAGES, torch.cat([LABELS[:-1], torch.tensor([9])])), 10)
    with pytest.raises(ValueError, match=r"labels of data from 0 to 2, .* got 9"):
        evaluate(network(), loader)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"epochs": -1}, ValueError, "epochs must be 0 or more, .*got -1"),
        ({"epochs": 1.5}, TypeError, "whole number for epochs, got 1.5"),
        ({"epochs": True}, TypeError, "a number for epochs, got True"),
        ({"batch_size": 0}, ValueError, "batch_size must be 1 or more, got 0"),
        ({"batch_size": "10"}, TypeError, "a number for batch_size, got '10'"),
        ({"seed": -1}, ValueError, "seed must be 0 or more"),
        ({"lr": -0.1}, ValueError, "lr must be 0 or more, and finite, got -0.1"),
        ({"lr": math.nan}, ValueError, "lr must be 0 or more, and finite, got nan"),
        ({"lr": "fast"}, TypeError, "a number for lr, got 'fast'"),
        ({"weight_decay": math.inf}, ValueError, "weight_decay must be 0 or more, and finite"),
        ({"hardest": 0}, ValueError, "hardest must be more than 0 and at most 1, got 0"),
        ({"hardest": 1.1}, ValueError, "hardest must be more than 0 and at most 1, got 1.1"),
        ({"label_smoothing": 1}, ValueError, "label_smoothing must be less than 1, got 1"),
        ({"schedule": "cosine"}, ValueError, "schedule to be 'constant' or 'one-cycle', got 'co"),
        ({"precision": "half"}, ValueError, "precision to be 'float32' or 'bfloat16', got 'half'"),
        ({"device": "cuda:99"}, ValueError, "no device 'cuda:99' here, PyTorch says: .*leave dev"),
        ({"device": "gpu"}, ValueError, "no device 'gpu' here"),
    ],
    ids=str,
)
def test_refuses_settings(settings: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        fit(network(), DATA, **SETTINGS | settings)


def test_refuses_a_data_loader_where_losses_are_needed() -> None:
    loader = DataLoader(TensorDataset(*DATA), 10)
    with pytest.raises(ValueError, match="two tensors where hardest < 1, got a DataLoader"):
        fit(network(), loader, hardest=0.5, **SETTINGS)


def test_large_and_numpy_settings() -> None:
    settings = {"epochs": np.int64(1), "lr": np.float32(0.01), "seed": 2**70, "batch_size": 10}
    assert len(fit(network(), DATA, progress=False, **settings)) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("model", "error", "words"),
    [
        ("cnn", TypeError, "torch.nn.Module as model, got 'cnn'"),
        (nn.Linear, TypeError, "torch.nn.Module as model, got <class"),
        (Pair(), ValueError, "one row of logits for each image, got tuple"),
        (nn.Conv2d(1, 3, 3), ValueError, r"got \(1, 3, 2, 2\) for one image: end it with nn.Fl"),
        (nn.Sequential(network(), nn.Flatten(0)), ValueError, r"got \(3,\) for one image"),
    ],
)
def test_refuses_networks(model: Any, error: type[Exception], words: str) -> None:
    for call in (fit, evaluate):
        with pytest.raises(error, match=words):
            call(model, DATA)
    with pytest.raises(error, match=words):
        predict(model, IMAGES)


@pytest.mark.parametrize("model", [nn.Flatten(), network().requires_grad_(False)])
def test_refuses_a_network_that_cannot_learn(model: nn.Module) -> None:
    data = (IMAGES, LABELS)
    with pytest.raises(ValueError, match="weights to learn, got one without"):
        fit(model, data, **SETTINGS)
    assert evaluate(model, data).loss > 0


@pytest.mark.parametrize(
    ("images", "error", "words"),
    [
        (torch.zeros(0, 1, 4, 4), ValueError, "images is empty"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), TypeError, r"got torch\.uint8"),
        (np.zeros((2, 1, 4, 4)), TypeError, "got ndarray"),
        (WITH_INF, ValueError, "images holds NaN or infinite"),
        (IMAGES[0, 0], ValueError, r"got torch\.float32 of shape \(4, 4\)"),
    ],
)
def test_predict_refuses(images: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        predict(network(), images)


# A child process of its own, with settings from the command line. In the second epoch it says so,
# and waits to be interrupted or killed.
CHILD = """
import signal, sys, time
import torch
from cnnlib.training import fit
from tests.test_training import DATA, SETTINGS, network, weights

# Who starts the tests in the background may have told them to ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
steps = 0

def wait(model, inputs):
    global steps
    steps += model.training
    if steps == 8:
        print("now", flush=True)
        time.sleep(600)

model = network(dropout=0.5)
model.register_forward_pre_hook(wait)
settings = SETTINGS | {"progress": True}
history = fit(model, DATA, epochs=4, checkpoint=sys.argv[1], **settings)
print(len(history), history["loss"].iloc[0])
torch.save(weights(model), sys.argv[2])
"""


def interrupted(number: int, *files: Path, bar: bool) -> subprocess.CompletedProcess[str]:
    """Send a signal to a training in another process, in the middle of its second epoch."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    if bar:
        del environment["TQDM_DISABLE"]
    # Old packages use what newer ones of their own dependencies call deprecated.
    strict = ["-W", "error", "-W", "ignore::DeprecationWarning"]
    command = [sys.executable, *strict, "-c", CHILD, *map(str, files)]
    with subprocess.Popen(
        command,
        cwd=PROJECT,  # where the package of these tests is found
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as child:
        assert child.stdout is not None
        first = child.stdout.readline()
        if first == "now\n":
            child.send_signal(number)
        out, err = child.communicate(timeout=300)
    assert first == "now\n", err
    return subprocess.CompletedProcess(command, child.returncode, out, err)


def test_ctrl_c_keeps_what_was_learned(tmp_path: Path) -> None:
    run = interrupted(signal.SIGINT, tmp_path / "digits.pt", tmp_path / "weights.pt", bar=False)
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""  # nor a progress bar
    message, result = run.stdout.splitlines()
    assert message == (
        "Interrupted in epoch 2: the network keeps what it has learned, and the history holds the "
        "finished epochs, 1 of 4."
    )
    # The same steps here: those of one epoch, and two of the next.
    model, steps = network(dropout=0.5), 0

    def stop(module: nn.Module, inputs: Any) -> None:
        nonlocal steps
        steps += module.training
        if steps == 8:
            raise KeyboardInterrupt

    model.register_forward_pre_hook(stop)
    history = fit(model, DATA, epochs=4, **SETTINGS)
    assert result == f"1 {history['loss'].iloc[0]}"
    assert torch.equal(torch.load(tmp_path / "weights.pt", weights_only=True), weights(model))


def test_a_killed_training_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    file = tmp_path / "digits.pt"
    run = interrupted(signal.SIGKILL, file, tmp_path / "weights.pt", bar=True)
    assert run.returncode == -signal.SIGKILL
    assert "epoch 2 of 4" in run.stderr  # the progress bar
    whole, rest = network(dropout=0.5), network(dropout=0.5, seed=7)
    expected = fit(whole, DATA, epochs=4, **SETTINGS).drop(columns="seconds")
    history = fit(rest, DATA, epochs=4, checkpoint=file, **SETTINGS).drop(columns="seconds")
    assert torch.equal(weights(rest), weights(whole))
    pd.testing.assert_frame_equal(history, expected, check_exact=True)
