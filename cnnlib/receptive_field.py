"""How much of the input one value of a feature map sees: the receptive field of layers and models.

Layer by layer, for each direction: `size += dilation * (kernel - 1) * stride`, where stride is the
product of all strides before, and then `stride *= the layer's own`. Where branches meet, as in a
residual block, a value sees what any of them sees.

Source: Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks",
Distill, 2019.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from cnnlib._checks import pair, whole

Pair = tuple[int, int]
Layer = nn.Module | int | Sequence[Any]


@dataclass(frozen=True)
class Field:
    """What each value of a feature map sees of the input; all pairs are (vertical, horizontal).

    It is the smallest rectangle that holds every pixel that can matter: with dilation, or a stride
    larger than the kernel, there are pixels in it that do not.

    Attributes:
        size: Rows and columns of input pixels that one value sees.
        stride: Input pixels from the field of one value to that of its neighbour ("jump").
        offset: Centre of the first value's field, where (0, 0) is the middle of the first pixel:
            it ends in .5 where the size is even, and padding moves it towards the negative.
    """

    size: Pair = (1, 1)
    stride: Pair = (1, 1)
    offset: tuple[float, float] = (0.0, 0.0)

    def seen(self, row: int, column: int) -> tuple[range, range]:
        """Return the rows and the columns of the input that the value at (row, column) sees.

        Numbers below 0, or beyond the last row or column of the input, are padding.
        """
        places = (whole(row, "row", 0), whole(column, "column", 0))
        axes = zip(self.size, self.stride, self.offset, places, strict=True)
        firsts = [math.floor(o - (n - 1) / 2) + s * place for n, s, o, place in axes]
        rows, columns = (range(i, i + n) for i, n in zip(firsts, self.size, strict=True))
        return rows, columns

    def nearest(self, place: Sequence[float]) -> Pair:
        """Return row and column of the value whose field lies nearest to a place in the input."""
        axes = zip(place, self.offset, self.stride, strict=True)
        row, column = (max(round((p - o) / s), 0) for p, o, s in axes)
        return row, column


# Each value of the result depends on the value at the same place, and on no other.
POINTWISE_LAYERS = (
    *(nn.BatchNorm2d, nn.Identity, nn.Dropout, nn.Dropout2d, nn.ReLU, nn.ReLU6, nn.LeakyReLU),
    *(nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Hardswish),
)
POINTWISE = {
    *(F.relu, F.leaky_relu, F.elu, F.gelu, F.silu, F.dropout, F.dropout2d, F.batch_norm),
    *(torch.relu, torch.sigmoid, torch.tanh, "relu", "relu_", "sigmoid", "tanh", "contiguous"),
}
JOINING = {operator.add, operator.iadd, operator.sub, operator.mul, torch.add, torch.mul, "add"}
POOLING = {F.max_pool2d: nn.MaxPool2d, F.avg_pool2d: nn.AvgPool2d}
WHOLE_LAYERS = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Flatten, nn.Linear)
WHOLE = {torch.flatten, "flatten", F.adaptive_avg_pool2d, F.adaptive_max_pool2d, F.linear}
NO_MAP = {"size", "dim", getattr}  # what asks for x.shape


def receptive_field(layers: nn.Module | Iterable[Layer], until: str | None = None) -> Field:
    """Return what one value of a feature map sees of the input.

    First used in lecture 8.

    Args:
        layers: A model, which is read and not run, so that one on `torch.device("meta")` will do;
            or a list of layers. A layer is a `torch.nn.Module`, or a kernel size, or a tuple
            (kernel, stride, padding, dilation) whose last members may be missing; each of them is
            a number of pixels or a pair (vertical, horizontal).
        until: For a model, the name of its last layer that counts, as in `named_modules()`: its
            output is the feature map. Without it, the model's own output is.

    Returns:
        The receptive field in input pixels. It is not cut at the edges of an input.

    Raises:
        TypeError: layers is neither, or a setting of a layer is not a whole number.
        ValueError: There is no layer of that name; an operation is unknown, or looks at the whole
            map (flatten, linear, adaptive pooling); or branches that meet have different strides.

    Source: Araujo, Norris and Sim, Distill, 2019; branches as in their section on graphs.
    """
    if isinstance(layers, nn.Module):
        return _through_model(Field(), layers, until)
    if until is not None:
        raise ValueError("until= names a layer of a model: of a list, pass the first layers alone")
    if isinstance(layers, str) or not isinstance(layers, Iterable):
        raise TypeError(f"expected a model or a list of layers, got {layers!r}")
    field = Field()
    for number, layer in enumerate(layers):
        if isinstance(layer, nn.Module):
            field = _through_model(field, layer, None)
            continue
        settings = [layer] if isinstance(layer, int) else layer
        known = isinstance(settings, Sequence) and not isinstance(settings, str)
        if not known or not 1 <= len(settings) <= 4:
            raise TypeError(
                f"expected layer {number} as a torch.nn.Module or as a tuple (kernel, stride, "
                f"padding, dilation), got {layer!r}"
            )
        field = _slide(field, *settings)
    return field


def _slide(
    field: Field, kernel: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1
) -> Field:
    """Return the field behind a window that slides over a feature map."""
    kernel, stride = pair(kernel, "kernel", 1), pair(stride, "stride", 1)
    dilation = pair(dilation, "dilation", 1)
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    if padding == "same":  # where it is odd, torch pads the end more
        padding = [r // 2 for r in reach]
    before = pair(0 if padding == "valid" else padding, "padding", 0)
    grown, steps, centres = [], [], []
    for axis in (0, 1):
        jump = field.stride[axis]
        grown.append(field.size[axis] + reach[axis] * jump)
        steps.append(jump * stride[axis])
        centres.append(field.offset[axis] + (reach[axis] / 2 - before[axis]) * jump)
    return Field((grown[0], grown[1]), (steps[0], steps[1]), (centres[0], centres[1]))


def _through_layer(field: Field, layer: nn.Module, name: str, before: str) -> Field:
    """Return the field behind one layer of torch.nn."""
    what = f"{name!r} ({type(layer).__name__})" if name else f"the layer {type(layer).__name__}"
    if isinstance(layer, POINTWISE_LAYERS):
        return field
    if isinstance(layer, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
        if (mode := getattr(layer, "padding_mode", "zeros")) != "zeros":
            raise ValueError(
                f"{what} pads with padding_mode={mode!r}, that is with pixels from elsewhere: "
                f"only 'zeros' keeps the field a rectangle"
            )
        dilation = getattr(layer, "dilation", 1)
        return _slide(field, layer.kernel_size, layer.stride, layer.padding, dilation)
    raise ValueError(_refusal(what, isinstance(layer, WHOLE_LAYERS), before))


def _through_model(field: Field, model: nn.Module, until: str | None) -> Field:
    """Follow the input through a model, operation by operation; see torch.fx."""
    tracer = fx.Tracer()
    if tracer.is_leaf_module(model, "") and until is None:
        return _through_layer(field, model, "", "")
    names = dict(model.named_modules())
    if until is not None and until not in names:
        some = ", ".join(name for name in names if name and "." not in name)
        raise ValueError(f"the model has no layer {until!r}, it has {some} (see named_modules())")
    try:
        graph = tracer.trace(model)
    except Exception as error:  # whatever a forward() does with what is no tensor
        raise ValueError(
            f"torch.fx cannot follow {type(model).__name__}.forward ({error}): pass its layers as "
            f"a list, or a part of it that has no if or for over values"
        ) from error
    nodes = list(graph.nodes)
    if until:
        inside = [n for n, node in enumerate(nodes) if _is_within(node, until)]
        if not inside:
            raise ValueError(f"the model does not use its layer {until!r}: name one that it runs")
        nodes = nodes[: inside[-1] + 1]
    needed = {nodes[-1]}
    for node in reversed(nodes):
        needed.update(node.all_input_nodes if node in needed else ())
    fields: dict[fx.Node, Field] = {}
    before = ""  # the last layer that was passed, to stop at
    for node in filter(needed.__contains__, nodes):
        sources = [fields[source] for source in node.all_input_nodes if source in fields]
        if node.op == "placeholder":
            fields[node] = field
        elif node.op == "call_module":
            fields[node] = _through_layer(
                sources[0], tracer.root.get_submodule(str(node.target)), str(node.target), before
            )
            before = str(node.target)
        elif node.op != "get_attr" and sources and node.target not in NO_MAP:
            fields[node] = _through_function(sources, node, before)
    if nodes[-1] not in fields:
        raise ValueError("what comes out does not depend on the input: name a layer with until=")
    return fields[nodes[-1]]


def _through_function(sources: list[Field], node: fx.Node, before: str) -> Field:
    """Return the field behind a function, an operator or a method."""
    target: Any = node.target
    if node.op == "output" and len(sources) > 1:
        raise ValueError(f"the model returns {len(sources)} maps: name a layer with until=")
    if node.op == "output" or target in POINTWISE:
        return sources[0]
    dim = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else 0)
    if target in JOINING or (target is torch.cat and dim in (1, -3)):
        return _union(sources, node.name)
    if target in POOLING:
        settings = {k: v for k, v in node.kwargs.items() if k != "input"}
        pool = POOLING[target](*node.args[1:], **settings)  # type: ignore[arg-type]
        return _through_layer(sources[0], pool, node.name, before)
    raise ValueError(_refusal(f"the operation {node.name!r}", target in WHOLE, before))


def _union(sources: list[Field], name: str) -> Field:
    """Return the field of a value that sees what the values at its place in all branches see."""
    if len(strides := {source.stride for source in sources}) > 1:
        raise ValueError(
            f"branches that meet in {name!r} have different strides ({sorted(strides)} input "
            f"pixels): their values do not belong to the same places, so make the strides equal"
        )
    seen = [source.seen(0, 0) for source in sources]
    axes = zip(*seen, strict=True)
    spans = [(min(r.start for r in axis), max(r.stop for r in axis)) for axis in axes]
    sizes, centres = [b - a for a, b in spans], [(a + b - 1) / 2 for a, b in spans]
    return Field((sizes[0], sizes[1]), sources[0].stride, (centres[0], centres[1]))


def _is_within(node: fx.Node, name: str) -> bool:
    """Return whether a node is the module of that name, or stems from inside of it."""
    stack = node.meta.get("nn_module_stack", {})
    return any(path == name or path.startswith(f"{name}.") for path, _ in stack.values())


def _refusal(what: str, is_whole: bool, before: str) -> str:
    stop = f"until={before!r}" if before else "until= the name of a layer before it"
    if is_whole:
        return (
            f"behind {what} every value sees the whole map, so that it has no receptive field of "
            f"its own: stop before it with {stop}"
        )
    return (
        f"{what} is not known: stop before it with {stop}, or pass the layers as a list with a "
        f"tuple (kernel, stride, padding, dilation) in its place"
    )
