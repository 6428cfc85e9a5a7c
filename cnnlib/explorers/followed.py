"""The layers of a model that has run on a picture, each with what its values see of it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from cnnlib._networks import check_model, listening
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
        nearest = zip(self.field.nearest(place), self.maps.shape[1:], strict=True)
        return [min(position, size - 1) for position, size in nearest]

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
    check_model(model)
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
    followed = {name: network.get_submodule(name) for name in fields}
    try:
        with torch.enable_grad(), listening(followed, partial(_keep, outputs, passed)):
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


def _keep(
    outputs: dict[str, Tensor],
    passed: dict[str, Tensor],
    name: str,
    module: nn.Module,
    output: Tensor,
) -> Tensor:
    """Keep a layer's output in `outputs`, and pass on a copy of it, which is in `passed`.

    What comes behind the layer may change the copy in place, as ReLU often does.
    """
    inner = [n for n in outputs if n.startswith(name) and passed[n] is output]
    if inner and not name:  # the whole network returns what its last layer returns
        passed[name] = output
        return output
    for former in [*inner, name]:
        outputs.pop(former, None)
    outputs[name], passed[name] = output[0], output.clone()
    return passed[name]


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
