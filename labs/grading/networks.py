"""Networks as data: what the wire tells of one, and what is made of it on the other side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from labs.grading.pipe import Garbage

if TYPE_CHECKING:
    from labs.grading.wire import Wire

# Layers that are rebuilt on the other side, with what their constructors are called with.
LAYERS = {
    "Sequential": "",
    "Conv1d": "in_channels out_channels kernel_size stride padding dilation groups padding_mode",
    "Conv2d": "in_channels out_channels kernel_size stride padding dilation groups padding_mode",
    "Linear": "in_features out_features",
    "BatchNorm1d": "num_features eps momentum affine track_running_stats",
    "BatchNorm2d": "num_features eps momentum affine track_running_stats",
    "MaxPool2d": "kernel_size stride padding dilation ceil_mode",
    "AvgPool2d": "kernel_size stride padding ceil_mode count_include_pad",
    "AdaptiveAvgPool2d": "output_size",
    "Flatten": "start_dim end_dim",
    "Dropout": "p",
    "ReLU": "",
    "LeakyReLU": "negative_slope",
    "Tanh": "",
    "Sigmoid": "",
    "Identity": "",
}


def rebuildable(module: nn.Module) -> bool:
    """Say whether a network is made of known layers alone."""
    return all(
        isinstance(layer, nn.Sequential)
        or (type(layer).__name__ in LAYERS and getattr(nn, type(layer).__name__) is type(layer))
        for layer in module.modules()
    )


def state(module: nn.Module, wire: Wire) -> dict[str, Any]:
    """Return a network as data: its layers, parameters with gradients, and buffers."""
    layers, build = [], rebuildable(module) and not hasattr(module, "wire_part")
    for name, layer in module.named_modules():
        kind = "Sequential" if isinstance(layer, nn.Sequential) else type(layer).__name__
        settings = {}
        if build:
            settings = {word: getattr(layer, word) for word in LAYERS[kind].split()}
            if kind in ("Conv1d", "Conv2d", "Linear"):
                settings["bias"] = layer.bias is not None
        layers.append([name, getattr(layer, "wire_part", kind), layer.training, settings])
    parameters = [
        [name, wire.number(p), p.detach(), p.requires_grad, p.grad]
        for name, p in module.named_parameters()
        if not is_lazy(p)
    ]
    buffers = [[name, buffer] for name, buffer in module.named_buffers() if not is_lazy(buffer)]
    return {"build": build, "layers": layers, "parameters": parameters, "buffers": buffers}


def build(told: dict[str, Any], wire: Wire, part: Any) -> nn.Module:
    """Return a network from its state: of real layers, or of parts that only hold parameters."""
    made: dict[str, nn.Module] = {}
    for name, kind, _, settings in told["layers"]:
        if not told["build"]:
            layer = part(kind)
        elif kind in LAYERS:
            with torch.device("meta"):  # takes no memory, however large the numbers are
                layer = getattr(nn, kind)(**settings)
        else:
            raise Garbage("an unknown layer")
        made[name] = layer
        if name:
            parent, _, last = name.rpartition(".")
            made[parent].add_module(last, layer)
    network = made[""]
    for name, number, value, *_ in told["parameters"]:
        known = wire.objects.get(number)
        if not isinstance(known, nn.Parameter):
            known = nn.Parameter(value.detach().clone(), value.is_floating_point())
            wire.know(number, known)
        _place(made, name, "_parameters", known, told["build"])
    for name, value in told["buffers"]:
        _place(made, name, "_buffers", value.detach().clone(), told["build"])
    put(network, told)
    return network


def _place(made: dict[str, nn.Module], name: str, kind: str, value: Any, build: bool) -> None:
    parent, _, last = name.rpartition(".")
    there = getattr(made[parent], kind)
    if build and (last not in there or there[last].shape != value.shape):
        raise Garbage(f"{name} of another shape than its layer")
    there[last] = value


def put(module: nn.Module, told: dict[str, Any]) -> None:
    """Give a network the parameters, gradients, buffers and modes that it has elsewhere."""
    layers = dict(module.named_modules())
    for name, _, training, *_ in told["layers"]:
        layers[name].training = bool(training)
    parameters, buffers = dict(module.named_parameters()), dict(module.named_buffers())
    with torch.no_grad():
        for name, _, value, asks, gradient in told["parameters"]:
            if name not in parameters and hasattr(module, "wire_part"):  # a lazy layer woke up
                parameters[name] = nn.Parameter(value.clone())
                _place(layers, name, "_parameters", parameters[name], False)
            mine = parameters[name]
            if not torch.equal(mine, value):
                mine.copy_(value)
            mine.requires_grad_(bool(asks))
            mine.grad = None if gradient is None else gradient.detach().to(mine.dtype)
        for name, value in told["buffers"]:
            if name not in buffers and hasattr(module, "wire_part"):
                _place(layers, name, "_buffers", value.clone(), False)
            elif not torch.equal(buffers[name], value):
                buffers[name].copy_(value)
