"""What every layer of a network makes of a picture, and the kernels that made it."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from cnnlib._networks import device_of, listening, mode

# These only hand on what they get, once a network has been trained.
SILENT = (nn.Flatten, nn.Unflatten, nn.Identity, nn.Dropout, nn.Dropout2d)
SHORT = {"Conv2d": "conv", "Linear": "dense", "BatchNorm2d": "norm", "MaxPool2d": "pool"}
SHORT |= {"AvgPool2d": "pool", "AdaptiveMaxPool2d": "pool", "AdaptiveAvgPool2d": "pool"}


def times(*numbers: int) -> str:
    """Write a shape: 3 × 3."""
    return " × ".join(str(number) for number in numbers)


class Layer(NamedTuple):
    """What one layer of a network made of one picture.

    Attributes:
        name: Its kind, and the how-manieth of this kind it is: "conv2".
        path: Where the network has it, as in `named_modules()`: "main.3".
        maps: Shape (maps, height, width); (units, 1, 1) behind a linear layer.
        kernels: Those that made them, shape (maps, channels, height, width): its own, or those of
            the layer before whose maps it changes one by one; None if there are none.
        bias: Shape (maps,); None where there is none.
        maker: The name of the layer that has the kernels.
    """

    name: str
    path: str
    maps: Tensor
    kernels: Tensor | None = None
    bias: Tensor | None = None
    maker: str = ""

    def title(self, k: int) -> str:
        """Say which of the maps, or numbers, the one at index k is: "conv2, map 12 of 64"."""
        count, height, width = self.maps.shape
        if not self.path:
            return f"{self.name}, {times(height, width)}"
        return f"{self.name}, {'map' if height * width > 1 else 'number'} {k + 1} of {count}"

    @property
    def made_by(self) -> str:
        """What each map is made with: "32 kernels of 3 × 3"; empty if that is not known."""
        if self.kernels is None:
            return ""
        channels, height, width = self.kernels.shape[1:]
        if height * width == 1:
            return f"{channels} weight{'s' * (channels > 1)}"
        if self.maps[0].numel() == 1:
            return f"{times(channels, height, width)} weights"
        return f"{channels} kernel{'s' * (channels > 1)} of {times(height, width)}"


def layers_of(model: nn.Module, image: Tensor) -> tuple[list[Layer], Tensor]:
    """Return what every layer of a network makes of a picture, and the logits.

    The network looks at it as after training, and nothing in it changes.

    Args:
        model: Takes such pictures. What it does in functions, not in modules, is left out.
        image: Shape (channels, height, width).

    Returns:
        The picture itself and then the layers, in the order in which they ran, without those that
        change no number (flatten, dropout); and the logits, shape (classes,).
    """
    found = [Layer("input", "", image)]

    def keep(path: str, module: nn.Module, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim in (2, 4):
            maps = output[0].to("cpu", torch.float32, copy=True)  # a ReLU may work in place
            found.append(
                _layer(path, module, maps if maps.ndim == 3 else maps[:, None, None], found)
            )

    heard = {
        path: module
        for path, module in model.named_modules()
        if not isinstance(module, SILENT) and not any(module.children())
    }
    with torch.no_grad(), mode(model, training=False), listening(heard, keep):
        logits = model(image[None].to(device_of(model)))
    return found, logits[0].float().cpu()


def _layer(path: str, module: nn.Module, maps: Tensor, before: list[Layer]) -> Layer:
    """Give a layer its name, and find the kernels that made its maps."""
    kind = SHORT.get(type(module).__name__, type(module).__name__.lower())
    name = f"{kind}{1 + sum(layer.name.rstrip('0123456789') == kind for layer in before)}"
    last = before[-1]
    if isinstance(module, nn.Conv2d | nn.Linear):
        kernels = module.weight.detach().float().cpu()
        if isinstance(module, nn.Linear):  # a weight for each number of the maps before
            fits = last.maps.numel() == module.in_features
            kernels = kernels.view(len(kernels), *(last.maps.shape if fits else (-1, 1, 1)))
        bias = None if module.bias is None else module.bias.detach().float().cpu()
        return Layer(name, path, maps, kernels, bias, name)
    one_by_one = isinstance(module, nn.BatchNorm2d) or not any(True for _ in module.parameters())
    if one_by_one and len(maps) == len(last.maps):
        return Layer(name, path, maps, last.kernels, last.bias, last.maker)
    return Layer(name, path, maps)
