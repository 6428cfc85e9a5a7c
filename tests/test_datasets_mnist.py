"""Digits come from whole files alone, whatever happens to disks, mirrors and processes."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torchvision.datasets import MNIST

from cnnlib.datasets import digits, mnist
from cnnlib.datasets.labelled import Labelled
from cnnlib.images import PROJECT

NAMES = tuple(mnist._FILES)
PACKED = tuple(f"{name}.gz" for name in NAMES)
LINE = "MNIST: 20 digits to train with, 10 to test with\n"
posix = pytest.mark.skipif(os.name != "posix", reason="signals and permissions of POSIX")


def idx(values: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
    """Write an IDX file as its description says: type, axes, sizes, values."""
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes()


def small_arrays() -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    """Twenty images and ten more, in the order of the files."""
    chance = np.random.default_rng(0)
    shapes = ((20, 28, 28), (20,), (10, 28, 28), (10,))
    limits = (256, 10, 256, 10)
    return [
        chance.integers(0, limit, shape, np.uint8)
        for limit, shape in zip(limits, shapes, strict=True)
    ]


ARRAYS = small_arrays()
FILES = {name: idx(values) for name, values in zip(NAMES, ARRAYS, strict=True)}
SENT = {f"{name}.gz": gzip.compress(data, mtime=0) for name, data in FILES.items()}


def expect_small_files(
    mirrors: list[str], patience: float, change: Callable[[object, str, object], None] = setattr
) -> None:
    """Let everything take the small files for MNIST, here or in a process of its own."""
    sums = {name: hashlib.md5(data).hexdigest() for name, data in (FILES | SENT).items()}
    change(mnist, "_FILES", {name: (len(FILES[name]), sums[name]) for name in NAMES})
    change(mnist, "_PATIENCE", patience)
    change(MNIST, "resources", [(name, sums[name]) for name in PACKED])
    change(MNIST, "mirrors", mirrors)


class Request(BaseHTTPRequestHandler):
    """Answers with the file, or in the next of the ways that the test asks for."""

    server: Mirror

    def do_GET(self) -> None:
        name = self.path[1:]
        self.server.asked.append(name)
        ways = self.server.ways.get(name, [])
        way = ways.pop(0) if ways else whole
        with suppress(OSError):  # the other side may be gone
            way(self, SENT[name])

    def head(self, content: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


Way = Callable[[Request, bytes], None]


class Mirror(ThreadingHTTPServer):
    """A real server on this machine."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.url = f"http://127.0.0.1:{self.server_port}/"
        self.asked: list[str] = []
        self.ways: dict[str, list[Way]] = {}
        self.halfway, self.go_on = threading.Event(), threading.Event()


def whole(request: Request, content: bytes) -> None:
    request.head(content)
    request.wfile.write(content)


def cut(request: Request, content: bytes) -> None:
    request.head(content)
    request.wfile.write(content[: len(content) // 2])


def wrong(request: Request, content: bytes) -> None:
    whole(request, content[::-1])


def absent(request: Request, content: bytes) -> None:
    request.head(b"", 404)


def silent(request: Request, content: bytes) -> None:
    request.server.go_on.wait()


def stalled(request: Request, content: bytes) -> None:
    cut(request, content)
    request.server.halfway.set()
    request.server.go_on.wait()
    request.wfile.write(content[len(content) // 2 :])


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with Mirror() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.go_on.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def nowhere() -> str:
    """An address where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/"


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the download would wait; it does not."""
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    return waited


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirror: Mirror) -> Path:
    """The empty folder for data, with a mirror of small files to fill it from."""
    monkeypatch.setenv("CNNLIB_DATA", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    expect_small_files([mirror.url], 0.3, monkeypatch.setattr)
    return tmp_path


def fill(folder: Path) -> Path:
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, data in FILES.items():
        (raw / name).write_bytes(data)
    return raw


def held(folder: Path) -> dict[str, bytes]:
    """Everything in the folder, by the path from MNIST/."""
    found = (folder / "MNIST").rglob("*")
    return {
        path.relative_to(folder / "MNIST").as_posix(): path.read_bytes()
        for path in found
        if path.is_file()
    }


ALL = {f"raw/{name}": data for name, data in FILES.items()}


def check_small(sets: tuple[Labelled, Labelled]) -> None:
    """Compare with the arrays that the files were written from."""
    for (images, labels), k in zip(sets, (0, 2), strict=True):
        assert images.dtype == torch.float32
        assert labels.dtype == torch.int64
        np.testing.assert_array_equal(images.numpy(), np.float32(ARRAYS[k][:, None]) / 255)
        np.testing.assert_array_equal(labels.numpy(), ARRAYS[k + 1])


def child(mirrors: list[str], folder: Path, body: str = "digits()") -> subprocess.Popen[str]:
    """Start a process that calls digits(), with everything else imported before."""
    code = (
        "import os, sklearn.datasets, sklearn.model_selection\n"
        "from tests.test_datasets_mnist import digits, expect_small_files\n"
        f"expect_small_files({mirrors!r}, 60)\n{body}"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        env=os.environ | {"CNNLIB_DATA": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


# What this set-up has


def test_this_setup_gives_what_it_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], nowhere: str
) -> None:
    monkeypatch.setattr(MNIST, "mirrors", [nowhere])
    folder = mnist._folder()
    train, test = digits()
    line = capsys.readouterr().out
    if not (folder / "MNIST" / "raw" / NAMES[0]).is_file():
        assert line.startswith("scikit-learn's digits: 1,437 to train with, 360 to test with (")
        return
    assert line == "MNIST: 60,000 digits to train with, 10,000 to test with\n"
    for part, is_train in ((train, True), (test, False)):
        theirs = MNIST(folder, train=is_train)
        assert torch.equal((part.images * 255).round().to(torch.uint8), theirs.data[:, None])
        assert torch.equal(part.labels, theirs.targets)
        assert part.images.dtype == torch.float32
        assert part.images.min() == 0
        assert part.images.max() == 1
    # Known of MNIST: its first digits, how many there are of each, mean and deviation.
    assert train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert train.labels.bincount().tolist() == counts
    assert train.images.mean().item() == pytest.approx(0.1307, abs=1e-4)
    assert train.images.std().item() == pytest.approx(0.3081, abs=1e-4)


def test_sizes_of_the_original_files() -> None:
    counts = (60_000, 60_000, 10_000, 10_000)
    sizes = [
        16 + 784 * n if "images" in name else 8 + n for name, n in zip(NAMES, counts, strict=True)
    ]
    assert [size for size, _ in mnist._FILES.values()] == sizes
    assert tuple(name for name, _ in MNIST.resources) == PACKED


# Files that are there


def test_reads_files_and_changes_none(
    folder: Path, mirror: Mirror, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(folder)
    for _ in range(2):
        sets = digits()
        assert capsys.readouterr().out == LINE
        check_small(sets)
        for part in sets:
            part.images.fill_(7)
            part.labels.fill_(7)
    assert held(folder) == ALL
    assert mirror.asked == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda data: data[:-1], id="truncated"),
        pytest.param(lambda data: data[:3], id="shorter than its header"),
        pytest.param(lambda data: b"", id="empty"),
        pytest.param(lambda data: data + b"\0", id="longer"),
        pytest.param(lambda data: b"\0\0\x08\x02" + data[4:], id="wrong magic number"),
        pytest.param(lambda data: data[:-1] + bytes([data[-1] ^ 1]), id="one bit"),
        pytest.param(lambda data: gzip.compress(data), id="still packed"),
    ],
)
def test_a_broken_file_is_named_and_mended_when_deleted(
    folder: Path, mirror: Mirror, name: str, spoil: Callable[[bytes], bytes]
) -> None:
    raw = fill(folder)
    (raw / name).write_bytes(spoil(FILES[name]))
    before = held(folder)
    with pytest.raises(ValueError, match=f"raw.{name} is broken: .* delete this file, and the"):
        digits()
    assert held(folder) == before
    assert mirror.asked == []
    (raw / name).unlink()
    check_small(digits())
    assert held(folder) == ALL


@pytest.mark.parametrize("name", NAMES)
def test_one_missing_file_is_downloaded_alone(folder: Path, mirror: Mirror, name: str) -> None:
    (fill(folder) / name).unlink()
    check_small(digits())
    assert set(mirror.asked) == {f"{name}.gz"}
    assert held(folder) == ALL


def test_one_missing_file_without_network(
    folder: Path, monkeypatch: pytest.MonkeyPatch, nowhere: str
) -> None:
    (fill(folder) / NAMES[3]).unlink()
    monkeypatch.setattr(MNIST, "mirrors", [nowhere])
    with pytest.raises(FileNotFoundError, match=f"raw lacks {NAMES[3]}, .*refused.*: copy what"):
        digits()
    (folder / "MNIST" / "raw" / NAMES[0]).write_bytes(b"")  # broken comes before missing
    with pytest.raises(ValueError, match=NAMES[0]):
        digits()


# Where they are


def test_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project, here, home = (tmp_path / name for name in ("project", "here", "home"))
    for place in (project, here, home):
        (place / "mine").mkdir(parents=True)
    monkeypatch.setattr(mnist, "PROJECT", project)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.chdir(here)

    def folder(named: str) -> Path:
        monkeypatch.setenv("CNNLIB_DATA", named)
        return mnist._folder()

    assert folder(str(tmp_path / "anywhere")) == tmp_path / "anywhere"
    assert folder("~/mine") == home / "mine"
    assert folder("mine") == here / "mine"
    (here / "mine").rmdir()
    assert folder("mine") == project / "mine"
    assert folder("new") == project / "new"
    assert folder("") == project / "data"
    monkeypatch.delenv("CNNLIB_DATA")
    assert mnist._folder() == project / "data"
    monkeypatch.setattr(mnist, "INSTALLED", True)
    assert mnist._folder() == home / ".cache" / "cnnlib"
    assert folder("mine") == here / "mine"


def test_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package with its pictures inside, as a wheel has them, reads from the user's cache."""
    packages, cache = tmp_path / "packages", tmp_path / ".cache" / "cnnlib"
    shutil.copytree(PROJECT / "cnnlib", packages / "cnnlib")
    shutil.copytree(PROJECT / "img", packages / "cnnlib" / "img")
    fill(cache)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("CNNLIB_DATA", "")
    code = (
        f"import sys; sys.path[:0] = [{str(packages)!r}]; import cnnlib.datasets.mnist as mnist\n"
        f"assert mnist.__file__.startswith({str(packages)!r})\n"
        f"sys.path.append({str(PROJECT)!r}); import tests.test_datasets_mnist as ours\n"
        f"ours.expect_small_files([], 1); mnist.digits()"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert run.stdout == LINE


# Downloading


def test_downloads_once(
    folder: Path, mirror: Mirror, pauses: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    check_small(digits())
    assert capsys.readouterr().out == LINE
    assert held(folder) == ALL
    assert set(mirror.asked) == set(PACKED)
    mirror.asked.clear()
    check_small(digits())
    assert mirror.asked == []
    assert pauses == []
    assert socket.getdefaulttimeout() is None


@pytest.mark.parametrize("way", [cut, wrong], ids=["cut", "wrong"])
@pytest.mark.parametrize("name", [PACKED[0], PACKED[3]])
def test_tries_again(
    folder: Path, mirror: Mirror, pauses: list[float], way: Way, name: str
) -> None:
    mirror.ways[name] = [whole, way, whole, way]  # torchvision first asks where the file is
    check_small(digits())
    assert held(folder) == ALL
    assert pauses == [1, 3]


@pytest.mark.parametrize("way", [cut, wrong, absent, silent], ids=lambda way: way.__name__)
def test_takes_the_next_mirror(
    folder: Path,
    mirror: Mirror,
    pauses: list[float],
    monkeypatch: pytest.MonkeyPatch,
    nowhere: str,
    way: Way,
) -> None:
    monkeypatch.setattr(MNIST, "mirrors", [nowhere, mirror.url, mirror.url])
    mirror.ways[PACKED[2]] = [way] if way in (absent, silent) else [whole, way]
    check_small(digits())
    assert held(folder) == ALL
    assert pauses == []


@pytest.mark.parametrize(
    ("ways", "reason", "tries"),
    [
        pytest.param([whole, cut], "corrupted", 3, id="cut"),
        pytest.param([whole, wrong], "corrupted", 3, id="wrong checksum"),
        pytest.param([absent], "404", 1, id="absent"),
        pytest.param([silent], "timed out", 1, id="silent"),
        pytest.param([whole, stalled], "timed out", 1, id="stalled"),
    ],
)
def test_gives_up(
    folder: Path,
    mirror: Mirror,
    pauses: list[float],
    capsys: pytest.CaptureFixture[str],
    ways: list[Way],
    reason: str,
    tries: int,
) -> None:
    """Nothing is left of the files that came before, and the line says which one failed."""
    mirror.ways[PACKED[2]] = ways * 10
    train, test = digits()
    line = capsys.readouterr().out
    assert line.startswith("scikit-learn's digits: 1,437 to train with, 360 to test with (no MNIST")
    assert f"{PACKED[2]} did not arrive: " in line
    assert reason in line
    assert line.count("\n") == 1
    assert (len(train.images), len(test.images)) == (1437, 360)
    assert mirror.asked.count(PACKED[2]) == tries * len(ways)
    assert len(pauses) == (tries if tries > 1 else 0)
    assert held(folder) == {}
    assert socket.getdefaulttimeout() is None
    mirror.ways.clear()
    check_small(digits())


def test_without_network(
    folder: Path,
    pauses: list[float],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    nowhere: str,
) -> None:
    monkeypatch.setattr(MNIST, "mirrors", [nowhere, nowhere])
    digits()
    assert capsys.readouterr().out.startswith("scikit-learn's digits: 1,437")
    assert pauses == []
    assert held(folder) == {}


def test_a_file_where_the_folder_should_be(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "MNIST").write_text("mine", encoding="utf-8")
    digits()
    assert "(no MNIST: " in capsys.readouterr().out
    assert (folder / "MNIST").read_text(encoding="utf-8") == "mine"


@posix
def test_a_folder_that_cannot_be_written(mirror: Mirror) -> None:
    """Full ones are read, from an empty one nothing is expected; root may write anywhere."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        fill(place / "full")
        (place / "empty").mkdir()
        for path in (place, *place.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        body = (
            # Another user may not read what is not imported yet.
            "import encodings.hex_codec\nfrom cnnlib.datasets import mnist\nmnist._stand_in('')\n"
            "if os.geteuid() == 0:\n    os.setuid(65534)\n"
            f"for part in ('full', 'empty'):\n"
            f"    os.environ['CNNLIB_DATA'] = os.path.join({name!r}, part)\n    digits()\n"
            # What the imports leave to be cleaned up is not this user's.
            "print(end='', flush=True)\nos._exit(0)"
        )
        out, problems = child([mirror.url], place, body).communicate(timeout=100)
        for path in (place, *place.rglob("*")):
            path.chmod(0o755)
        assert problems == ""
        _, full, empty = out.splitlines(keepends=True)
        assert full == LINE
        assert empty.startswith("scikit-learn's digits: 1,437 to train with, 360 to test with (no ")
        assert "Permission denied" in empty
        assert held(place / "full") == ALL
        assert mirror.asked == []


# Processes that end, or meet


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_a_download_that_is_ended(folder: Path, mirror: Mirror, number: signal.Signals) -> None:
    mirror.ways[PACKED[1]] = [whole, stalled]
    process = child([mirror.url], folder)
    assert mirror.halfway.wait(100)
    process.send_signal(number)
    out, problems = process.communicate(timeout=100)
    assert out == ""
    left = held(folder)
    assert not any(name.startswith("raw/") for name in left)
    if number == signal.SIGINT:
        # Python ends with this signal's number, or, where torch's compiler is loaded, with 1.
        assert problems.rstrip().endswith("KeyboardInterrupt")
        assert process.returncode != 0
        assert left == {}
    else:  # nobody has tidied up
        assert process.returncode == -number
        assert any(name.endswith(PACKED[0]) for name in left)
    mirror.go_on.set()
    check_small(digits())
    assert held(folder) == ALL


def test_two_processes_at_once(folder: Path, mirror: Mirror) -> None:
    meeting = threading.Barrier(2)

    def together(request: Request, content: bytes) -> None:
        meeting.wait(100)  # the first request of each
        whole(request, content)

    mirror.ways[PACKED[0]] = [together, together]
    processes = [child([mirror.url], folder) for _ in range(2)]
    assert [process.communicate(timeout=100)[0] for process in processes] == [LINE, LINE]
    assert [process.returncode for process in processes] == [0, 0]
    assert held(folder) == ALL


@pytest.mark.parametrize("later", [whole, absent], ids=["again", "or not"])
def test_another_process_is_faster(
    folder: Path, mirror: Mirror, pauses: list[float], later: Way
) -> None:
    """It brings all files, and takes the folder of this download for a leftover."""

    def overtaken(request: Request, content: bytes) -> None:
        for leftover in (folder / "MNIST").glob("download-*"):
            shutil.rmtree(leftover)
        for name, data in FILES.items():
            (folder / "MNIST" / "raw" / name).write_bytes(data)
        later(request, content)

    mirror.ways[PACKED[1]] = [whole, overtaken, later, later, later, later]
    check_small(digits())
    assert held(folder) == ALL


# Without MNIST


@pytest.fixture
def stand_in(
    folder: Path, monkeypatch: pytest.MonkeyPatch, nowhere: str
) -> tuple[Labelled, Labelled]:
    monkeypatch.setattr(MNIST, "mirrors", [nowhere])
    return digits()


def test_stand_in_has_the_form_of_mnist(stand_in: tuple[Labelled, Labelled]) -> None:
    for images, labels in stand_in:
        assert images.shape == (len(labels), 1, 28, 28)
        assert images.dtype == torch.float32
        assert images.min() == 0
        assert images.max() == 1
        assert labels.dtype == torch.int64
        assert set(labels.tolist()) == set(range(10))
        # White on black, 20 × 20 pixels in the middle, about as much ink as MNIST has.
        assert images.count_nonzero() == images[:, :, 4:24, 4:24].count_nonzero()
        assert 0.1 < images.mean() < 0.2
        assert 0.28 < images.std() < 0.36
        pixels = torch.arange(28.0)
        ink = images.sum((0, 1)) / images.sum()
        assert (ink.sum(1) * pixels).sum().item() == pytest.approx(13.5, abs=0.5)
        assert (ink.sum(0) * pixels).sum().item() == pytest.approx(13.5, abs=0.5)


def test_stand_in_holds_every_digit_once(stand_in: tuple[Labelled, Labelled]) -> None:
    """All are different, and made small again, each is most like an original of its label."""
    values, labels = load_digits(return_X_y=True)
    images = torch.cat([part.images for part in stand_in])
    small = F.interpolate(images[:, :, 4:24, 4:24], size=(8, 8), mode="area").flatten(1).numpy()
    alike = np.corrcoef(small, values)[: len(small), len(small) :]
    nearest = alike.argmax(1)
    assert len(images.flatten(1).unique(dim=0)) == 1797  # type: ignore[no-untyped-call]
    assert len(set(nearest)) > 1780
    np.testing.assert_array_equal(
        torch.cat([part.labels for part in stand_in]).numpy(), labels[nearest]
    )
    # Each digit has the same share in both parts.
    shares = np.bincount(labels) * 360 / 1797
    assert np.abs(stand_in[1].labels.bincount().numpy() - shares).max() < 1


def test_stand_in_is_the_same_everywhere(
    stand_in: tuple[Labelled, Labelled], tmp_path: Path, nowhere: str
) -> None:
    def fingerprint(sets: tuple[Labelled, Labelled]) -> str:
        parts = [part.numpy().round(5).tobytes() for both in sets for part in both]
        return hashlib.sha256(b"".join(parts)).hexdigest()

    body = (
        "import hashlib\nparts = [part.numpy().round(5).tobytes() for both in digits() "
        "for part in both]\nprint(hashlib.sha256(b''.join(parts)).hexdigest())"
    )
    out, _ = child([nowhere], tmp_path, body).communicate(timeout=100)
    assert out.splitlines()[-1] == fingerprint(stand_in)
