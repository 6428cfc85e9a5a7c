"""Let nbval compare pictures too: it sees them on both sides and leaves them out.

The labs' grader and its sandbox need Linux, so their tests are collected there alone.
"""

from __future__ import annotations

import os
import sys
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ["tests.needs"]
# These take longest, and start first: no worker is left alone with one of them at the end.
SLOWEST = (
    "notebooks/12-training-digits.ipynb",
    "notebooks/13-cnn-vs-dense.ipynb",
    "tests/test_labs_batch.py",
    "tests/test_labs_attacks.py",
    "tests/test_labs_solutions.py",
    "tests/test_labs_grade.py",
    "notebooks/11-speed.ipynb",
    "tests/test_datasets_mnist.py",
    "tests/test_likeness.py",
    "tests/test_parallel.py",
)

collect_ignore_glob = [] if sys.platform == "linux" else ["tests/test_labs_*.py"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --pictures and --no-pictures."""
    parser.addoption(
        "--no-pictures",
        action="store_true",
        help="compare numbers and texts alone: other versions of matplotlib draw differently",
    )
    parser.addoption(
        "--pictures",
        default="build/pictures",
        help="folder, from the project's, for stored and fresh pictures that differ",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Follow nbval's comparison of a cell's outputs by one of its pictures."""
    os.environ["TQDM_DISABLE"] = "1"  # no progress bar is ever compared; kernels inherit it
    # Workers share the cores. Without this each would start a thread for every core, and threads
    # that wait for one another's cores make a training five times slower.
    if hasattr(config, "workerinput"):
        threads = max(1, (os.cpu_count() or 1) // config.workerinput["workercount"])
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    from nbval.plugin import IPyNbCell

    compare_texts = IPyNbCell.compare_outputs
    if hasattr(compare_texts, "with_pictures"):  # this file can be loaded twice, see `-p`
        return

    def compare_outputs(cell: Any, test: Any, ref: Any, skip_compare: Any = None) -> bool:
        same: bool = compare_texts(cell, test, ref, skip_compare)
        ignored = cell.config.getoption("no_pictures")
        complaints = [] if ignored else _compare_pictures(cell, ref, test)
        cell.comparison_traceback.extend(complaints)
        return same and not complaints

    compare_outputs.with_pictures = True  # type: ignore[attr-defined]
    IPyNbCell.compare_outputs = compare_outputs


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave out, with --no-pictures, what is about the look of pictures."""
    if item.get_closest_marker("pictures") and item.config.getoption("no_pictures"):
        pytest.skip("--no-pictures: other versions of matplotlib draw differently")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the slowest files first where workers share the files; else keep the order."""
    if hasattr(config, "workerinput"):
        places = {config.rootpath / name: place for place, name in enumerate(SLOWEST)}
        items.sort(key=lambda item: places.get(item.path, len(places)))


def _compare_pictures(cell: Any, stored: Any, fresh: Any) -> list[str]:
    """Return what is wrong with a cell's pictures, and write those for someone to look at."""
    from tools.likeness import compare, difference, pictures

    folder = Path(cell.config.rootpath, cell.config.getoption("pictures"))
    complaints = []
    pairs = zip_longest(pictures(stored), pictures(fresh))
    for number, (old, new) in enumerate(pairs, start=1):
        files = {"stored": old, "fresh": new}
        if old is None:
            reason = "none is stored, and the cell draws one now"
        elif new is None:
            reason = "one is stored, and the cell draws none now"
        else:
            result = compare(old, new)
            if result.alike:
                continue
            reason = result.reason
            files["difference"] = difference(old, new)
        start = folder / f"{cell.parent.path.stem}-cell{cell.cell_num}-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        written = {name: picture for name, picture in files.items() if picture is not None}
        for name, picture in written.items():
            _write(Path(f"{start}-{name}.png"), picture)
        complaints.append(
            f"Picture {number} of this cell: {reason}. Look at {start}-"
            f"{{{','.join(written)}}}.png. Is the new one right? `make outputs` stores it."
        )
    return complaints


def _write(path: Path, picture: Any) -> None:
    import io

    from PIL import Image

    opened = Image.open(io.BytesIO(picture)) if isinstance(picture, bytes) else picture
    opened.save(path, "PNG")
