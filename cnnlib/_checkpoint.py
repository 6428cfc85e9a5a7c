"""What a training has come to, in memory and in a file that is always whole."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch

from cnnlib._files import whole_file
from cnnlib.parallel import by_one, process


class Checkpoint:
    """The state of a training: its parts, its settings and one row for each finished epoch."""

    def __init__(
        self,
        parts: dict[str, Any],
        settings: dict[str, Any],
        path: str | os.PathLike[str] | None,
    ) -> None:
        """Go on from the file if it is there, else write it: who cannot write finds out now.

        Args:
            parts: All that has a `state_dict`; nothing in it changes if the file does not fit.
            settings: What must be the same when the training goes on.
            path: None keeps nothing.

        Raises:
            ValueError: The file is damaged, or of another network or training.
            OSError: It cannot be read or written.
        """
        self.parts, self.settings = parts, settings
        self.path = None if path is None else Path(path)
        self.rows: list[dict[str, float]] = []
        held = by_one(self._read)
        if held is None:
            self.write()
            return
        for name, part in parts.items():
            part.load_state_dict(held[name])
        self.rows = held["rows"]

    def write(self) -> None:
        """Exchange the file for a new one; one of several processes does so."""
        if self.path is None or process() > 0:
            return
        held = {name: part.state_dict() for name, part in self.parts.items()}
        try:
            with whole_file(self.path) as file:
                torch.save(held | {"settings": self.settings, "rows": self.rows}, file)
        except OSError as error:
            raise self._unusable(error) from error

    def _read(self) -> dict[str, Any] | None:
        """Return what the file holds, if it is there and everything in it fits."""
        if self.path is None:
            return None
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(error) from error
        advice = f"delete {self.path} to start afresh, or name another file"
        try:
            if (name := ZipFile(BytesIO(content)).testzip()) is not None:
                raise ValueError(f"{name} differs from its checksum")  # PyTorch does not look
            held: dict[str, Any] = torch.load(BytesIO(content), "cpu", weights_only=True)
            settings, there = held["settings"], _shapes(held["model"])
            _ = held["rows"], [held[name] for name in self.parts]
        except Exception as error:  # a damaged file can go wrong in any way
            raise ValueError(
                f"{self.path} is damaged, or no checkpoint of a training: {advice}"
            ) from error
        here = _shapes(self.parts["model"].state_dict())
        for what, now, then in (("network", here, there), ("training", self.settings, settings)):
            for name in [*now, *then]:
                if now.get(name) != then.get(name):
                    raise ValueError(
                        f"{self.path} is the checkpoint of another {what}: {name} is "
                        f"{now.get(name, 'missing')} here and {then.get(name, 'missing')} there: "
                        f"{advice}"
                    )
        return held

    def _unusable(self, error: OSError) -> OSError:
        return OSError(
            f"the checkpoint {self.path} cannot be read and written ({error.strerror}): name a "
            f"file in a folder that is there and that you may write to"
        )


def _shapes(state: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(getattr(value, "shape", ())) for name, value in state.items()}
