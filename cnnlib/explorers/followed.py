"""The layers of a model that has run on a picture, each with what its values see of it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cnnlib.receptive_field import Field, receptive_field


@dataclass(frozen=True)
class FollowedLayer:
    """A layer whose values have a receptive field.

    Attributes:
        title: Its name, as in `named_modules()`, and its kind; "output" for the whole model.
        field: What each of its values sees.
        maps: Its output, shape (channels, height, width), from which `torch.autograd.grad` finds
            the way back to the picture.
    """

    title: str
    field: Field
    maps: Tensor

    def nearest(self, place: Sequence[float]) -> list[int]:
        """Return row and column of the value whose field lies nearest to a place in the picture."""
        axes = zip(place, self.field.offset, self.field.stride, self.maps.shape[1:], strict=True)
        return [min(max(round((p - o) / s), 0), n - 1) for p, o, s, n in axes]

    def centre(self, place: Sequence[int]) -> list[float]:
        """Return the place in the picture that is the middle of a value's field."""
        axes = zip(place, self.field.offset, self.field.stride, strict=True)
        return [o + s * i for i, o, s in axes]

    def margins(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Return how far fields reach out of a picture: to the left, right, top and bottom."""
        rows, columns = self.field.seen(0, 0)
        last_rows, last_columns = self.field.seen(self.maps.shape[1] - 1, self.maps.shape[2] - 1)
        return (
            max(-columns.start, 0), max(last_columns.stop - width, 0),
            max(-rows.start, 0), max(last_rows.stop - height, 0),
        )  # fmt: skip


def follow(model: nn.Module, image: Tensor) -> tuple[dict[str, FollowedLayer], Tensor]:
    """Run a copy of a model once, as after training (no dropout), and keep what its layers make.

    Args:
        model: Any model of which `receptive_field` can follow the first layers, at least. It is
            not modified, and the copy keeps its weights when the model learns.
        image: Shape (height, width) or (channels, height, width), float.

    Returns:
        The layers by name, in the order in which they ran; and the picture that they ran on, shape
        (1, channels, height, width), on the model's device. Where a container returns what its
        last layer returns, the container alone is there.

    Raises:
        TypeError: model is no `torch.nn.Module`.
        ValueError: No layer can be followed (see `receptive_field`); the picture has another
            number of channels than the model reads, or is too small; or the model has shapes and
            no weights (device "meta").
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"expected a torch.nn.Module as model, got {type(model).__name__}")
    network = copy.deepcopy(model).eval().requires_grad_(False)
    if not [*network.children()]:
        network = nn.Sequential(network)  # so that a layer on its own has a name
    fields = _fields(network)
    weights = next(network.parameters(), image)
    if weights.is_meta:
        raise ValueError(
            "the model has shapes, but no weights to calculate with: make it without "
            'torch.device("meta")'
        )
    channels = image.view(1, -1, *image.shape[-2:])
    picture = channels.to(weights.device, weights.dtype).requires_grad_()
    outputs: dict[str, Tensor] = {}
    passed: dict[str, Tensor] = {}
    for name in fields:
        network.get_submodule(name).register_forward_hook(_keeper(name, outputs, passed))
    try:
        with torch.enable_grad():
            network(picture.clone())
    except Exception as error:
        # Behind the last field there may be a head for pictures of another size: let it be.
        if fields.keys() - passed.keys():
            raise ValueError(_misfit(network, picture, error)) from error
    layers = {
        name: FollowedLayer(_title(name, network.get_submodule(name)), fields[name], output)
        for name, output in outputs.items()
    }
    return layers, picture


def _fields(network: nn.Module) -> dict[str, Field]:
    """Return the receptive field behind every module that has one; "" is the whole network."""
    fields, refusals = {}, []
    for name, _ in network.named_modules():
        try:
            fields[name] = receptive_field(network, name or None)
        except ValueError as error:
            refusals.append(error)
    if not fields:
        raise refusals[0]
    return fields


def _keeper(
    name: str, outputs: dict[str, Tensor], passed: dict[str, Tensor]
) -> Callable[[nn.Module, Any, Tensor], Tensor]:
    """Return a hook that keeps a layer's output in `outputs`, and passes on a copy of it.

    What comes behind the layer may change the copy in place, as ReLU often does. Copies are in
    `passed`.
    """

    def keep(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        inner = [n for n in outputs if n.startswith(name) and passed[n] is output]
        if inner and not name:  # the whole network returns what its last layer returns
            passed[name] = output
            return output
        for former in [*inner, name]:
            outputs.pop(former, None)
        outputs[name], passed[name] = output[0], output.clone()
        return passed[name]

    return keep


def _misfit(network: nn.Module, picture: Tensor, error: Exception) -> str:
    """Say why a network cannot run on a picture."""
    _, channels, height, width = picture.shape
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    if convolutions and channels != (reads := convolutions[0].in_channels):
        way = {1: "load it with grey=True", 3: "load it without grey=True"}
        return (
            f"the model reads pictures of {reads} channel(s), got one of {channels}: "
            f"{way.get(reads, 'change its first layer')}"
        )
    return f"the model cannot run on a picture of {height} × {width} pixels: {error}"


def _title(name: str, module: nn.Module) -> str:
    kind = "" if [*module.children()] else f" ({type(module).__name__})"
    return f"{name!r}{kind}" if name else "output"
