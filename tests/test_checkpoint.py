"""A training's file is whole at every moment, and no other file is taken for it."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from cnnlib.training import fit
from tests.test_training import DATA, IMAGES, LABELS, SETTINGS, network, weights


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file of a training of one epoch."""
    path = tmp_path / "digits.pt"
    fit(network(), DATA, epochs=1, checkpoint=path, **SETTINGS)
    return path


def refused(file: Path, words: str, model: nn.Module | None = None, **settings: Any) -> None:
    """See that the file is refused, and that neither it nor the network changes."""
    model = model or network(seed=3)
    before, content = weights(model), file.read_bytes()
    with pytest.raises(ValueError, match=words) as caught:
        fit(model, DATA, epochs=2, checkpoint=file, **SETTINGS | settings)
    assert f"delete {file} to start afresh, or name another file" in str(caught.value)
    assert torch.equal(weights(model), before)
    assert file.read_bytes() == content


@pytest.mark.parametrize(
    "settings",
    [
        {"schedule": "one-cycle"},
        {"hardest": 0.3, "weight_decay": 0.1},
        {"precision": "bfloat16", "channels_last": True},
    ],
    ids=str,
)
def test_goes_on_to_the_same_weights(settings: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "digits.pt"
    whole, first, rest = network(dropout=0.5), network(dropout=0.5), network(dropout=0.5, seed=7)
    settings = SETTINGS | settings | {"epochs": 3}
    expected = fit(whole, DATA, test=DATA, **settings)
    steps = 0

    def stop(module: nn.Module, inputs: Any) -> None:
        nonlocal steps
        steps += module.training
        if steps == 7:
            raise KeyboardInterrupt

    first.register_forward_pre_hook(stop)
    stopped = fit(first, DATA, test=DATA, checkpoint=path, **settings)
    assert len(stopped) == 1
    history = fit(rest, DATA, test=DATA, checkpoint=path, **settings)
    assert torch.equal(weights(rest), weights(whole))
    assert history.drop(columns="seconds").equals(expected.drop(columns="seconds"))
    # All epochs are done: nothing is learned, and all is there.
    again = fit(network(seed=9), DATA, test=DATA, checkpoint=path, **settings)
    assert again.equals(history)


def test_even_the_first_weights_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "digits.pt"
    fit(network(), DATA, epochs=0, checkpoint=path, **SETTINGS)
    model = network(seed=3)
    assert fit(model, DATA, epochs=0, checkpoint=str(path), **SETTINGS).empty
    assert torch.equal(weights(model), weights(network()))
    assert [file.name for file in tmp_path.iterdir()] == ["digits.pt"]


@pytest.mark.parametrize("share", [0.0, 0.2, 0.6, 0.99])
def test_refuses_a_truncated_file(file: Path, share: float) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    refused(file, "is damaged, or no checkpoint of a training: delete")


def test_refuses_a_file_with_a_changed_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    values = torch.load(file, weights_only=True)["model"]["0.weight"].numpy().tobytes()
    content[content.index(values) + 7] ^= 0xFF
    file.write_bytes(content)
    refused(file, "is damaged, or no checkpoint")


@pytest.mark.parametrize("content", [[1, 2], {"model": 3}, network().state_dict(), "text"], ids=str)
def test_refuses_what_is_no_training(file: Path, content: Any) -> None:
    torch.save(content, file)
    refused(file, "is damaged, or no checkpoint of a training")


class Trap:
    """When it is read as a pickle, it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_executes_no_code(file: Path, tmp_path: Path) -> None:
    held = torch.load(file, weights_only=True)
    trap = Trap(tmp_path / "sprung")
    torch.save(held | {"rows": trap}, file)
    refused(file, "is damaged, or no checkpoint of a training")
    file.write_bytes(pickle.dumps(trap))
    refused(file, "is damaged, or no checkpoint of a training")
    assert not (tmp_path / "sprung").exists()
    pickle.loads(file.read_bytes())  # it would have
    assert (tmp_path / "sprung").is_dir()


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (network(4), r"another network: 5\.weight is \(4, 8\) here and \(3, 8\) there"),
        (network()[:-1], r"another network: 5\.weight is missing here and \(3, 8\) there"),
        (nn.Sequential(network()), r"another network: 0\.0\.weight is .* here and missing there"),
    ],
)
def test_refuses_another_network(file: Path, model: nn.Module, words: str) -> None:
    refused(file, words, model)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"lr": 0.02}, "another training: lr is 0.02 here and 0.01 there"),
        ({"batch_size": 9}, "another training: batch_size is 9 here and 10 there"),
        ({"seed": 1}, "another training: seed is 1 here and 0 there"),
        ({"hardest": 0.5}, "another training: hardest is 0.5 here and 1.0 there"),
        ({"weight_decay": 0.5}, "another training: weight_decay is 0.5 here and 0.0 there"),
        ({"schedule": "one-cycle"}, "another training: schedule is one-cycle here and constant"),
        ({"precision": "bfloat16"}, "another training: precision is bfloat16 here and float32"),
    ],
    ids=str,
)
def test_refuses_other_settings(file: Path, settings: dict[str, Any], words: str) -> None:
    refused(file, words, **settings)


def test_refuses_other_epochs_and_images(tmp_path: Path) -> None:
    path = tmp_path / "digits.pt"
    settings = SETTINGS | {"checkpoint": path, "schedule": "one-cycle"}
    fit(network(), DATA, epochs=1, **settings)
    with pytest.raises(ValueError, match="another training: epochs is 2 here and 1 there"):
        fit(network(), DATA, epochs=2, **settings)
    with pytest.raises(ValueError, match="another training: images is 40 here and 41 there"):
        fit(network(), (IMAGES[:40], LABELS[:40]), epochs=1, **settings)


@pytest.mark.parametrize("name", ["missing/digits.pt", "a-file/digits.pt", ".", "x" * 300])
def test_a_file_that_cannot_be_written_is_noticed_before_training(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / "a-file").touch()
    model = network()
    before = weights(model)
    with pytest.raises(OSError, match=r"cannot be read and written .*name a file in a"):
        fit(model, DATA, epochs=1, checkpoint=tmp_path / name, **SETTINGS)
    assert torch.equal(weights(model), before)
    assert [file.name for file in tmp_path.iterdir()] == ["a-file"]


# Ten processes, one after the other, write the same file again and again until they are killed.
WRITERS = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from torch import nn
from cnnlib._checkpoint import Checkpoint

torch.set_num_threads(1)
path = Path(sys.argv[1])
torch.manual_seed(0)
model = nn.Linear(1000, 400)
state = Checkpoint({"model": model}, {}, path)
for number in range(10):
    writer = os.fork()
    if writer == 0:
        while True:
            with torch.no_grad():
                model.weight += 1
            state.rows.append({"epoch": len(state.rows)})
            state.write()
    seen = path.stat().st_ino
    while path.stat().st_ino == seen:
        time.sleep(0.001)
    time.sleep(0.02 * random.random())
    os.kill(writer, signal.SIGKILL)
    _, status = os.waitpid(writer, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    fresh = nn.Linear(1000, 400)
    read = Checkpoint({"model": fresh}, {}, path)
    steps = fresh.weight - model.weight
    assert len(read.rows) >= 1
    assert torch.allclose(steps, torch.full_like(steps, len(read.rows)), atol=1e-3), number
print(sorted(file.name for file in path.parent.iterdir()))
"""


def test_killed_writers_leave_a_whole_file(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITERS, str(tmp_path / "digits.pt")]
    run = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=300)
    assert run.returncode == 0, run.stderr
    assert run.stdout in ("['digits.pt']\n", "['digits.pt', 'digits.pt.part']\n")
