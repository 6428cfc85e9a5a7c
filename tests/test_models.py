"""The networks are those of the sources: their tables, sums and multiplications, counted again."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torchsummary import summary

from cnnlib.models import (
    CNN,
    FCNN,
    DigitsCNN,
    LeNet5,
    PooledCNN,
    TwoConvCNN,
    conv_block,
    linear_block,
    multiplications,
)

TABLES = Path(__file__).parent / "tables"


@dataclass(frozen=True)
class Case:
    """A network, and what the sources or a calculation on paper say about it."""

    name: str
    build: Callable[[], nn.Module]
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    parameters: tuple[int, ...]  # layer by layer
    total: int
    products: int
    printed: str  # millions of mult-adds


CASES = (
    Case(
        "two-conv-cnn", TwoConvCNN, (1, 100, 100), (1,), (30, 56, 20_001), 20_087, 830_000, "0.85"
    ),
    Case("pooled-cnn", PooledCNN, (1, 100, 100), (1,), (30, 56, 1_251), 1_337, 406_250, "0.41"),
    Case(
        "fcnn",
        FCNN,
        (128 * 128,),
        (1,),
        (4_194_560, 32_896, 8_256, 2_080, 528, 17),
        4_238_337,
        4_237_840,
        "12.71",
    ),
    Case("cnn", CNN, (1, 128, 128), (1,), (30, *(84,) * 4, 49_153), 49_519, 5_799_936, "5.85"),
    Case(
        "digits-cnn",
        DigitsCNN,
        (1, 28, 28),
        (10,),
        (320, 18_496, 200_768, 650),
        220_234,
        28 * 28 * 9 * 32 + 14 * 14 * 9 * 32 * 64 + 3136 * 64 + 64 * 10,
        "4.26",
    ),
    Case(
        "lenet5",
        LeNet5,
        (1, 32, 32),
        (10,),
        (156, 2_416, 48_120, 10_164, 850),
        61_706,
        28 * 28 * 25 * 6 + 10 * 10 * 25 * 6 * 16 + 400 * 120 + 120 * 84 + 84 * 10,
        "0.48",
    ),
)
EVERY = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def table(case: Case) -> str:
    return (TABLES / f"{case.name}.txt").read_text(encoding="utf-8")


def rows(text: str) -> list[tuple[int, str, int]]:
    """Return depth, name and parameters of every row of a table; -- is 0."""
    found = re.findall(r"─(\w+): (\d)-\d+ .* ([\d,]+|--)$", text, re.MULTILINE)
    return [
        (int(depth), name, 0 if count == "--" else int(count.replace(",", "")))
        for name, depth, count in found
    ]


def total(text: str, line: str) -> str:
    match = re.search(rf"^{re.escape(line)}: ([\d.,]+)$", text, re.MULTILINE)
    assert match, line
    return match[1].replace(",", "")


def nested(model: nn.Module) -> dict[nn.Module, tuple[int, int]]:
    """Return every layer's number of weights, and of containers around it, without the root."""
    return {
        module: (module.weight.numel(), name.count("."))
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    }


def printed_as(model: nn.Module, case: Case) -> int:
    """Count multiply-adds as torch-summary does, from sizes alone.

    A layer counts its weights, those of a convolution at every pixel; and each container around
    it (but the network itself) counts them once more.
    """
    places: dict[nn.Module, int] = {}
    hooks = [
        layer.register_forward_hook(
            lambda layer, _, out: places.__setitem__(layer, math.prod(out.shape[2:]))
        )
        for layer in nested(model)
    ]
    model(torch.zeros(1, *case.input_shape))
    for hook in hooks:
        hook.remove()
    return sum(
        weights * (places[layer] + containers)
        for layer, (weights, containers) in nested(model).items()
    )


@EVERY
def test_summary_prints_the_table(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    returned = summary(case.build(), case.input_shape)
    out = capsys.readouterr().out
    assert out == table(case)  # once, although it is also returned
    assert f"{returned}\n" == out


@EVERY
def test_rows_add_up_to_the_total(case: Case) -> None:
    text, model = table(case), case.build()
    layers = tuple(count for _, _, count in rows(text) if count)
    assert layers == case.parameters
    assert sum(layers) == case.total == int(total(text, "Total params"))
    assert int(total(text, "Trainable params")) == case.total
    assert int(total(text, "Non-trainable params")) == 0
    assert sum(p.numel() for p in model.parameters()) == case.total
    names = [type(module).__name__ for module in model.modules()][1:]
    assert [name for _, name, _ in rows(text)] == names


@EVERY
def test_shapes_in_the_table_are_those_that_come_out(case: Case) -> None:
    shapes: list[list[int]] = []
    model = case.build()
    for module in model.modules():
        if not list(module.children()):
            module.register_forward_hook(lambda _, __, out: shapes.append([-1, *out.shape[1:]]))
    out = model(torch.zeros(5, *case.input_shape))
    assert out.shape == (5, *case.output_shape)
    lines = [line for line in table(case).splitlines() if "─" in line and "Sequential" not in line]
    assert [re.findall(r"\[.*\]", line)[0] for line in lines] == [str(shape) for shape in shapes]


@EVERY
def test_printed_mult_adds_count_containers_again(case: Case) -> None:
    model = case.build()
    count = printed_as(model, case)
    assert f"{count / 1e6:.2f}" == case.printed == total(table(case), "Total mult-adds (M)")
    assert summary(model, case.input_shape, verbose=0).total_mult_adds == count


@EVERY
def test_memory_in_the_table(case: Case) -> None:
    text, model = table(case), case.build()
    assert total(text, "Params size (MB)") == f"{case.total * 4 / 2**20:.2f}"
    assert total(text, "Input size (MB)") == f"{math.prod(case.input_shape) * 4 / 2**20:.2f}"
    values: list[int] = []
    for layer in nested(model):
        layer.register_forward_hook(lambda _, __, out: values.append(out.numel()))
    model(torch.zeros(1, *case.input_shape))
    there_and_back = 2 * sum(values) * 4 / 2**20
    assert total(text, "Forward/backward pass size (MB)") == f"{there_and_back:.2f}"


@EVERY
def test_exact_multiplications(case: Case) -> None:
    assert multiplications(case.build(), case.input_shape) == case.products


@EVERY
def test_every_parameter_is_reached_by_a_gradient(case: Case) -> None:
    torch.manual_seed(0)
    model = case.build()
    model(torch.rand(2, *case.input_shape)).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())


@given(st.integers(1, 300))
def test_parameters_of_the_dense_network_grow_with_the_input(size: int) -> None:
    model = FCNN(size)
    assert sum(p.numel() for p in model.parameters()) == 256 * size + 44_033
    assert model(torch.zeros(2, size)).shape == (2, 1)


@pytest.mark.parametrize(("channels", "first"), [(1, 30), (3, 84), (4, 111)])
def test_channels_change_the_first_layer_only(channels: int, first: int) -> None:
    counts = [sum(p.numel() for p in part.parameters()) for part in CNN(channels).main]
    assert counts == [first, 84, 84, 84, 84, 0, 49_153]
    assert CNN(channels)(torch.zeros(2, channels, 128, 128)).shape == (2, 1)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 20), st.integers(1, 20))
def test_blocks(ins: int, outs: int, height: int, width: int) -> None:
    conv, linear = conv_block(ins, outs), linear_block(ins, outs)
    assert sum(p.numel() for p in conv.parameters()) == 9 * ins * outs + outs
    assert sum(p.numel() for p in linear.parameters()) == ins * outs + outs
    maps, values = conv(torch.randn(2, ins, height, width)), linear(torch.randn(2, ins))
    assert maps.shape == (2, outs, height, width)
    assert values.shape == (2, outs)
    assert min(maps.min(), values.min()) >= 0


def test_digits_head_is_one_linear_map_without_dropout() -> None:
    # The source puts no activation between the two dense layers.
    kinds = [type(layer) for layer in DigitsCNN().main]
    assert list(pairwise(kinds))[-2:] == [(nn.Linear, nn.Dropout), (nn.Dropout, nn.Linear)]
    head = DigitsCNN().eval().main[7:]
    torch.manual_seed(0)
    a, b = torch.rand(2, 1, 3136)
    zero = head(torch.zeros(1, 3136))
    torch.testing.assert_close(head(a + b) - zero, head(a) - zero + head(b) - zero)


def test_lenet_differs_from_the_paper_as_its_docstring_says() -> None:
    # Table I of the paper: 6 maps read 3 channels, 9 read 4, 1 reads all 6.
    c3 = sum(maps * (channels * 25 + 1) for maps, channels in [(6, 3), (9, 4), (1, 6)])
    c1, c3_full, c5, f6, last = CASES[-1].parameters
    assert c3 == 1_516
    assert c1 + 2 * 6 + c3 + 2 * 16 + c5 + f6 == 60_000
    assert c3_full - c3 - 2 * 6 - 2 * 16 + last == 61_706 - 60_000


# multiplications


@given(
    channels=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    size=st.tuples(st.integers(5, 12), st.integers(5, 12)),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
)
def test_a_convolution_multiplies_at_every_place(
    channels: tuple[int, int],
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: int,
    padding: int,
) -> None:
    layer = nn.Conv2d(*channels, kernel, stride=stride, padding=padding)
    places = math.prod(layer(torch.zeros(1, channels[0], *size)).shape[2:])
    expected = places * math.prod(channels) * math.prod(kernel)
    assert multiplications(layer, (channels[0], *size)) == expected


def test_biases_activations_and_pooling_are_not_counted() -> None:
    with_bias, without = nn.Linear(7, 3), nn.Linear(7, 3, bias=False)
    assert multiplications(with_bias, (7,)) == multiplications(without, (7,)) == 21
    assert multiplications(nn.Sequential(nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()), (1, 4, 4)) == 0


def test_counting_changes_nothing() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    model[1].eval()
    before = {name: values.clone() for name, values in model.state_dict().items()}
    state = torch.get_rng_state()
    assert multiplications(model, (4,)) == 24
    assert [module.training for module in model.modules()] == [True, True, False, True, True]
    assert all(torch.equal(before[name], values) for name, values in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_a_network_that_fails_keeps_its_mode() -> None:
    model = PooledCNN()
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        multiplications(model, (1, 64, 64))
    assert all(module.training for module in model.modules())


def test_other_types_and_devices() -> None:
    assert multiplications(PooledCNN().double(), (1, 100, 100)) == 406_250
    assert multiplications(PooledCNN().to("meta"), (1, 100, 100)) == 406_250
    assert multiplications(PooledCNN(), torch.Size([1, 100, 100])) == 406_250


@pytest.mark.parametrize(
    ("model", "shape", "error", "message"),
    [
        (CNN, (1, 128, 128), TypeError, "expected a torch.nn.Module as model, got <class"),
        (nn.Linear(3, 1), 3, ValueError, "without the batch, got 3"),
        (nn.Linear(3, 1), (), ValueError, r"without the batch, got \(\)"),
        (nn.Linear(3, 1), (3.0,), TypeError, "whole number for every size in input_shape, got 3.0"),
        (nn.Linear(3, 1), (0,), ValueError, "every size in input_shape must be 1 or more, got 0"),
    ],
)
def test_refusals(
    model: nn.Module, shape: tuple[int, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        multiplications(model, shape)
