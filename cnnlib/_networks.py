"""What everything that runs a network does: see that it is one, find it, and leave it as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


def check_model(model: Any) -> None:
    """Refuse what is no network."""
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"expected a torch.nn.Module as model, got {model!r:.60}: pass a network itself, for "
            f"example DigitsCNN()"
        )


def device_of(model: nn.Module) -> torch.device:
    """Return where a network's weights are."""
    return next((weight.device for weight in model.parameters()), torch.device("cpu"))


@contextmanager
def mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Have a network train (with dropout) or answer, and leave all as it was.

    Its layers have their modes again afterwards, and the caller's random numbers go on as if
    nothing had happened.
    """
    before = [(module, module.training) for module in model.modules()]
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        try:
            model.train(training)
            yield
        finally:
            for module, was in before:
                module.training = was


@contextmanager
def listening(
    layers: Mapping[str, nn.Module], hear: Callable[[str, nn.Module, Any], Any]
) -> Iterator[None]:
    """Call `hear` with the name, the module and the output of each layer that runs meanwhile.

    What it returns, unless that is None, is passed on instead of the output.
    """

    def hook(name: str) -> Callable[[nn.Module, Any, Any], Any]:
        return lambda layer, inputs, output: hear(name, layer, output)

    hooks = [layer.register_forward_hook(hook(name)) for name, layer in layers.items()]
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()
