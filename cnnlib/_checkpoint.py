"""What a training has come to, in memory and in a file that is always whole."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from cnnlib.parallel import process


class Checkpoint:
    """The state of a training: its parts, its settings and one row for each finished epoch."""

    def __init__(
        self,
        parts: dict[str, Any],
        settings: dict[str, Any],
        path: str | os.PathLike[str] | None,
    ) -> None:
        """Take parts with a `state_dict`, settings that must stay, and the file if there is one."""
        self.parts, self.settings = parts, settings
        self.path = None if path is None else Path(path)
        self.rows: list[dict[str, float]] = []

    def write(self) -> None:
        """Write the file beside its place, then exchange it; one of several processes does so."""
        if self.path is None or process() > 0:
            return
        held = {name: part.state_dict() for name, part in self.parts.items()}
        beside = self.path.with_name(f"{self.path.name}.{os.getpid()}.part")
        try:
            torch.save(held | {"settings": self.settings, "rows": self.rows}, beside)
            os.replace(beside, self.path)
        finally:
            beside.unlink(missing_ok=True)

    def read(self) -> None:
        """Take everything from the file, if it is there; nothing if anything in it does not fit.

        Raises:
            ValueError: It is damaged, or of another network or training.
        """
        if self.path is None or not self.path.exists():
            return
        advice = f"delete {self.path} to start afresh, or name another file"
        try:
            held = torch.load(self.path, map_location="cpu", weights_only=True)
            states = {name: held[name] for name in self.parts}
            settings, rows = held["settings"], held["rows"]
            there = _shapes(states["model"])
        except (RuntimeError, pickle.UnpicklingError, EOFError, LookupError, TypeError) as error:
            raise ValueError(
                f"{self.path} is no whole checkpoint of a training: {advice}"
            ) from error
        here = _shapes(self.parts["model"].state_dict())
        for what, now, then in (("network", here, there), ("training", self.settings, settings)):
            for name in [*now, *then]:
                if now.get(name) != then.get(name):
                    raise ValueError(
                        f"{self.path} is the checkpoint of another {what}: {name} is "
                        f"{now.get(name)} here and {then.get(name)} there: {advice}"
                    )
        for name, part in self.parts.items():
            part.load_state_dict(states[name])
        self.rows = rows


def _shapes(state: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in state.items()}
