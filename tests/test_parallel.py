"""Several processes train as one does, on real data, and one that dies ends them all."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, distributed, nn
from torch.utils.data import DataLoader, TensorDataset

from cnnlib.images import PROJECT
from cnnlib.parallel import by_one, joined, process, processes
from cnnlib.training import evaluate, fit

# Six batches of 43 images, halved as 22 and 21, and one of a single image, which one has alone.
COUNT, BATCH, EPOCHS = 259, 43, 6
SETTINGS: dict[str, Any] = {"batch_size": BATCH, "lr": 0.01, "device": "cpu", "progress": False}


def data() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Handwritten digits to train and to test with; the first pixel of each is its number."""
    values, labels = load_digits(return_X_y=True)
    mixed = torch.randperm(len(values), generator=torch.Generator().manual_seed(0)).numpy()
    values, labels = values[mixed], labels[mixed]  # they come writer by writer
    images = torch.tensor(values, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    images[:, 0, 0, 0] = torch.arange(len(images)) / 2**16
    classes = torch.tensor(labels).long()
    return (images[:COUNT], classes[:COUNT]), (images[COUNT:1000], classes[COUNT:1000])


class Recorder(nn.Module):
    """A small network that remembers which images it learned from, and can be told to die."""

    def __init__(self, dropout: float = 0.0, seed: int = 0, dies: bool = False) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.net = nn.Sequential(
            nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(dropout), nn.Linear(288, 10)
        )
        self.dies, self.seen = dies, []  # type: ignore[var-annotated]

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.seen += (2**16 * x[:, 0, 0, 0]).long().tolist()
            if self.dies and len(self.seen) > 200:
                os.kill(os.getpid(), signal.SIGKILL)
        logits: Tensor = self.net(x)
        return logits


def values(model: nn.Module) -> list[float]:
    return torch.cat([weight.detach().flatten() for weight in model.parameters()]).tolist()


def run(folder: Path) -> dict[str, Any]:
    """Train in several ways, and return what came out; the processes do this, and so do we."""
    train, test = data()
    out: dict[str, Any] = {"processes": processes()}
    settings: dict[str, dict[str, Any]] = {
        "plain": {},
        "hardest": {"hardest": 0.4, "weight_decay": 0.1, "schedule": "one-cycle"},
        "dropout": {"epochs": EPOCHS},
    }
    for name, more in settings.items():
        # Each process begins with other weights: those of the first one count.
        model = Recorder(dropout=0.5 if name == "dropout" else 0.0, seed=process())
        history = fit(model, train, test=test, **SETTINGS | {"epochs": 3} | more)
        out[name] = history.drop(columns="seconds").to_dict("list")
        out[name] |= {"seen": model.seen, "weights": values(model)}
    out["score"] = evaluate(model, test)
    out["three"] = evaluate(model, (test[0][:1], test[1][:1]))  # fewer images than processes
    rest, checkpoint = Recorder(dropout=0.5, seed=9), folder / f"{processes()}.pt"
    fit(Recorder(dropout=0.5), train, **SETTINGS, epochs=1, checkpoint=checkpoint)
    fit(rest, train, **SETTINGS, epochs=EPOCHS, checkpoint=checkpoint)
    out["continued"] = values(rest)
    try:
        fit(model, DataLoader(TensorDataset(*train), 10), **SETTINGS)
    except ValueError as error:
        out["loader"] = str(error)
    out["by one"] = by_one(lambda: [process(), os.getpid()])
    return out


def main(folder: str) -> None:
    """What every process does; in the end one is killed in the middle of a training."""
    with joined():
        Path(folder, f"{process()}.json").write_text(
            json.dumps(run(Path(folder))), encoding="utf-8"
        )
    assert processes() == 1
    for number in range(20):  # what one group has left behind must not mislead the next
        with joined():
            assert by_one(lambda number=number: number) == number  # type: ignore[misc]
    with joined():
        fit(Recorder(dies=os.environ["RANK"] == "1"), data()[0], epochs=3, **SETTINGS)
    Path(folder, "survivor").touch()


def torchrun(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Have two processes execute a module, and wait for them; a hang is a failure."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    return subprocess.run(
        [*command, "-m", *arguments],
        cwd=PROJECT,  # where the package of these tests is found
        env=os.environ | {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"} | environment,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The results of this process."""
    with torch.random.fork_rng(), joined():
        return run(tmp_path_factory.mktemp("alone"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two processes leave their results."""
    return tmp_path_factory.mktemp("two")


@pytest.fixture(scope="module")
def run_of_two(folder: Path) -> subprocess.CompletedProcess[str]:
    """Two processes that train, until one is killed."""
    return torchrun(__name__, str(folder))


@pytest.fixture(scope="module")
def two(run_of_two: subprocess.CompletedProcess[str], folder: Path) -> list[dict[str, Any]]:
    """The results of each of two processes."""
    files = [folder / f"{number}.json" for number in range(2)]
    assert all(file.exists() for file in files), run_of_two.stderr
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def test_without_torchrun_there_is_one_process(alone: dict[str, Any]) -> None:
    assert alone["processes"] == 1
    assert process() == 0
    assert not distributed.is_initialized()
    assert by_one(lambda: "once") == "once"


def test_two_processes_have_the_loss_curve_of_one(
    alone: dict[str, Any], two: list[dict[str, Any]]
) -> None:
    for result in two:
        assert result["processes"] == 2
        for name in ("plain", "hardest"):
            for column in ("loss", "accuracy", "test_loss", "test_accuracy"):
                assert result[name][column] == pytest.approx(alone[name][column], rel=1e-4)
            assert result[name]["weights"] == pytest.approx(
                alone[name]["weights"], rel=1e-3, abs=1e-4
            )


def test_both_processes_have_the_same_weights(two: list[dict[str, Any]]) -> None:
    for name in ("plain", "hardest", "dropout"):
        assert two[0][name]["weights"] == two[1][name]["weights"]
    assert two[0]["continued"] == two[1]["continued"]


def test_each_process_takes_its_share(alone: dict[str, Any], two: list[dict[str, Any]]) -> None:
    few = -(-4 * COUNT // 10)
    for name, sizes in (
        ("plain", 3 * [COUNT]),
        ("hardest", [COUNT, few, few]),
    ):
        shares = [result[name]["seen"] for result in two]
        start, mine = 0, [0, 0]
        for size in sizes:
            expected = alone[name]["seen"][start : start + size]
            start += size
            seen = []
            for place in range(0, size, BATCH):
                batch = expected[place : place + BATCH]
                for number, share in enumerate(shares):
                    count = len(batch[number::2])
                    part = share[mine[number] : mine[number] + max(1, count)]
                    assert part == (batch[number::2] or batch[:1])
                    mine[number] += max(1, count)
                    seen += part[:count]
            assert sorted(seen) == sorted(expected)
            assert len(set(seen)) == size


def test_two_processes_become_as_right_with_dropout(
    alone: dict[str, Any], two: list[dict[str, Any]]
) -> None:
    expected = alone["dropout"]["test_accuracy"][-1]
    assert expected > 0.8
    assert two[0]["dropout"]["test_accuracy"][-1] == pytest.approx(expected, abs=0.04)
    # They dropped other values: with the same ones, both processes would have learned as one.
    assert two[0]["dropout"]["loss"] != pytest.approx(alone["dropout"]["loss"], rel=1e-4)


def test_both_processes_measure_all_images(two: list[dict[str, Any]]) -> None:
    for result in two:
        last = [result["dropout"][column][-1] for column in ("test_loss", "test_accuracy")]
        assert result["score"] == pytest.approx(last)
        assert result["three"][1] in (0, 1)
    assert two[0]["score"] == two[1]["score"]


def test_two_processes_go_on_from_a_checkpoint(two: list[dict[str, Any]]) -> None:
    for result in two:
        assert result["continued"] == result["dropout"]["weights"]


def test_two_processes_refuse_a_data_loader(
    alone: dict[str, Any], two: list[dict[str, Any]]
) -> None:
    assert "loader" not in alone
    for result in two:
        assert result["loader"].startswith("expected train as two tensors where several processes")


def test_one_of_them_is_asked(two: list[dict[str, Any]]) -> None:
    assert two[0]["by one"] == two[1]["by one"]
    assert two[0]["by one"][0] == 0


def test_a_killed_process_ends_the_run(
    run_of_two: subprocess.CompletedProcess[str], two: list[dict[str, Any]], folder: Path
) -> None:
    assert run_of_two.returncode != 0
    assert re.search(r"rank\s*: 1 ", run_of_two.stderr), run_of_two.stderr
    assert "Signal 9 (SIGKILL) received" in run_of_two.stderr
    assert not (folder / "survivor").exists()


class Mirror(BaseHTTPRequestHandler):
    """Answers every question with no, and keeps it."""

    asked: list[str]

    def do_CONNECT(self) -> None:
        self.asked.append(self.path)
        self.send_error(403)

    do_GET = do_CONNECT

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def test_the_command_trains_in_two_processes(tmp_path: Path) -> None:
    asked: list[str] = []
    with HTTPServer(("127.0.0.1", 0), type("Once", (Mirror,), {"asked": asked})) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        proxy = f"http://127.0.0.1:{server.server_port}"
        proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), proxy)
        done = torchrun(
            "cnnlib.train_digits",
            *("--epochs", "2", "--batch-size", "64", "--schedule", "one-cycle"),
            *("--checkpoint", str(tmp_path / "digits.pt")),
            CNNLIB_DATA=str(tmp_path / "nothing"),
            no_proxy="127.0.0.1,localhost",
            NO_PROXY="127.0.0.1,localhost",
            **proxies,
        )
        server.shutdown()
    assert done.returncode == 0, done.stderr
    assert len(asked) == len(set(asked)) > 0  # by one process, each mirror once
    lines = [line for line in done.stdout.splitlines() if not line.startswith("[Gloo]")]
    assert lines[0].startswith("scikit-learn's digits: 1,437 to train with")
    assert lines[1].split() == ["loss", "accuracy", "test_loss", "test_accuracy", "seconds"]
    assert [line.split()[0] for line in lines[2:]] == ["epoch", "1", "2", lines[-1].split()[0]]
    found = re.fullmatch(
        r"(.*)% of the test images are classified right, by 2 processes\.", lines[-1]
    )
    assert found
    assert float(found[1]) > 80
    assert torch.load(tmp_path / "digits.pt", weights_only=True)["settings"]["batch_size"] == 64


def test_the_command_says_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from cnnlib import train_digits

    train, test = data()
    monkeypatch.setattr(train_digits, "digits", lambda: (train, test))
    with pytest.raises(SystemExit, match=r"^cnnlib\.train_digits: lr must be 0 or more"):
        train_digits.main(["--lr", "-1"])
    with pytest.raises(SystemExit, match=r"the network takes, got .*\(259, 1, 8, 8\)"):
        train_digits.main(["--epochs", "1"])
    with pytest.raises(SystemExit):
        train_digits.main(["--epochs", "many"])
    assert "invalid int value: 'many'" in capsys.readouterr().err
    large = (nn.functional.pad(train[0], (10, 10, 10, 10)), train[1])
    monkeypatch.setattr(train_digits, "digits", lambda: (large, large))
    with torch.random.fork_rng():
        train_digits.main(["--epochs", "1"])
    assert "by one process." in capsys.readouterr().out


if __name__ == "__main__":
    main(*sys.argv[1:])
