"""The operation agrees with torch and scipy, for every kind of number and every setting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal
from torch import Tensor, nn

from cnnlib.convolution import Conv2D, conv2d, corr2d, corr2d_unfold, output_size

Operation = Callable[..., Tensor]
OPERATIONS = [corr2d, corr2d_unfold, conv2d]
WHOLE = [torch.bool, torch.uint8, torch.int8, torch.uint16, torch.int32, torch.int64]
FRACTIONAL = [torch.bfloat16, torch.float16, torch.float32, torch.float64]
# The same values in every form that a student may pass.
FORMS: dict[str, Callable[[Tensor], Any]] = {
    "tensor": lambda values: values,
    "list": lambda values: values.tolist(),
    "array": lambda values: values.numpy(),
    "reversed": lambda values: values.numpy()[::-1, ::-1].copy()[::-1, ::-1],
    "foreign": lambda values: values.numpy().astype(values.numpy().dtype.newbyteorder(">")),
}


def sizes(low: int, high: int) -> st.SearchStrategy[Any]:
    """An int, or a pair of them as a tuple or a list."""
    one = st.integers(low, high)
    return st.one_of(one, st.tuples(one, one), st.lists(one, min_size=2, max_size=2))


def both(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


@st.composite
def matrices(draw: st.DrawFn, shape: tuple[int, int], dtype: torch.dtype, limit: int) -> Tensor:
    """Whole numbers up to the limit, or as far as the type reaches."""
    if dtype == torch.bool:
        low, high = 0, 1
    elif dtype.is_floating_point:
        low, high = -limit, limit
    else:
        low = max(torch.iinfo(dtype).min, -limit)
        high = min(torch.iinfo(dtype).max, limit)
    values = st.lists(st.integers(low, high), min_size=shape[1], max_size=shape[1])
    rows = draw(st.lists(values, min_size=shape[0], max_size=shape[0]))
    return torch.tensor(rows).to(dtype)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """An input, a kernel and settings that fit together."""
    settings = {
        "padding": draw(sizes(0, 3)),
        "stride": draw(sizes(1, 3)),
        "dilation": draw(sizes(1, 3)),
    }
    kernel = both(draw(sizes(1, 4)))
    axes = zip(kernel, both(settings["padding"]), both(settings["dilation"]), strict=True)
    least = [max(1, step * (size - 1) + 1 - 2 * pad) for size, pad, step in axes]
    shape = (least[0] + draw(st.integers(0, 4)), least[1] + draw(st.integers(0, 4)))
    dtypes = [draw(st.sampled_from(WHOLE + FRACTIONAL)) for _ in range(2)]
    # Sums of up to 16 products that even bfloat16 holds exactly.
    limit = 3 if any(dtype.is_floating_point for dtype in dtypes) else 2**20
    X, K = (
        draw(matrices(shape, dtype, limit))
        for shape, dtype in zip((shape, kernel), dtypes, strict=True)
    )
    return X, K, settings


def reference(X: Tensor, K: Tensor, settings: dict[str, Any]) -> Tensor:
    """What torch makes of it in float64, which holds all these sums exactly."""
    padding, stride, dilation = (both(settings[key]) for key in ("padding", "stride", "dilation"))
    values, weight = X.double()[None, None], K.double()[None, None]
    return F.conv2d(values, weight, None, stride, padding, dilation)[0, 0]


@pytest.mark.parametrize("operation", OPERATIONS)
@given(case=cases(), forms=st.tuples(*[st.sampled_from(sorted(FORMS))] * 2))
def test_equals_torch_exactly(
    operation: Operation,
    case: tuple[Tensor, Tensor, dict[str, Any]],
    forms: tuple[str, str],
) -> None:
    X, K, settings = case
    kept = X.clone(), K.clone()
    inputs = [
        values if values.dtype == torch.bfloat16 else FORMS[form](values)
        for values, form in zip((X, K), forms, strict=True)
    ]
    result = operation(*inputs, **settings)
    expected = reference(X, K.double().flip(0, 1) if operation is conv2d else K, settings)
    assert torch.equal(result.double(), expected)
    assert result.is_floating_point() == (X.is_floating_point() or K.is_floating_point())
    assert torch.equal(X, kept[0])
    assert torch.equal(K, kept[1])


@pytest.mark.parametrize(
    ("operation", "theirs"),
    [
        (corr2d, signal.correlate2d),
        (corr2d_unfold, signal.correlate2d),
        (conv2d, signal.convolve2d),
    ],
)
@given(data=st.data())
def test_equals_scipy(
    operation: Operation, theirs: Callable[..., Any], data: st.DataObject
) -> None:
    h, w = (data.draw(st.integers(1, 4)) for _ in range(2))
    shape = h + data.draw(st.integers(0, 4)), w + data.draw(st.integers(0, 4))
    X, K = (data.draw(matrices(size, torch.int64, 1000)) for size in (shape, (h, w)))
    for mode, padding in (("valid", 0), ("full", (h - 1, w - 1))):
        result = operation(X, K, padding=padding)
        np.testing.assert_array_equal(result.numpy(), theirs(X.numpy(), K.numpy(), mode))


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int8])
def test_small_whole_numbers_do_not_overflow(operation: Operation, dtype: torch.dtype) -> None:
    largest = 1 if dtype == torch.bool else torch.iinfo(dtype).max
    ones = torch.full((20, 20), largest).to(dtype)
    result = operation(ones, ones)
    assert result.dtype == torch.int64
    assert result.tolist() == [[400 * largest**2]]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("dtype", FRACTIONAL)
def test_fractional_types_are_kept(operation: Operation, dtype: torch.dtype) -> None:
    X, K = torch.ones(4, 4, dtype=dtype), torch.ones(2, 2, dtype=dtype)
    assert operation(X, K).dtype == dtype
    assert operation(X, K.long()).dtype == dtype


def test_published_results() -> None:
    # Dive into Deep Learning, figure 7.2.1.
    assert corr2d([[0, 1, 2], [3, 4, 5], [6, 7, 8]], [[0, 1], [2, 3]]).tolist() == [
        [19, 25],
        [37, 43],
    ]
    # Dumoulin and Visin, A guide to convolution arithmetic for deep learning, figure 1.1.
    image = [[3, 3, 2, 1, 0], [0, 0, 1, 3, 1], [3, 1, 2, 2, 3], [2, 0, 0, 2, 2], [2, 0, 0, 0, 1]]
    kernel = [[0, 1, 2], [2, 2, 0], [0, 1, 2]]
    assert corr2d(image, kernel).tolist() == [[12, 12, 17], [10, 17, 19], [9, 6, 14]]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_gradients(operation: Operation) -> None:
    generator = torch.Generator().manual_seed(0)
    X, K = (
        torch.rand(shape, dtype=torch.float64, generator=generator).requires_grad_()
        for shape in ((5, 6), (2, 3))
    )

    def strided(X: Tensor, K: Tensor) -> Tensor:
        return operation(X, K, padding=1, stride=(2, 1), dilation=(1, 2))

    assert torch.autograd.gradcheck(strided, (X, K))


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    ("X", "K", "settings", "error", "words"),
    [
        ([], [[1]], {}, ValueError, "X is empty"),
        ([[1]], np.zeros((0, 3)), {}, ValueError, "K is empty"),
        ([1, 2, 3], [[1]], {}, ValueError, r"X of shape \(height, width\), got \(3,\)"),
        (torch.ones(1, 1, 3, 3), [[1]], {}, ValueError, r"X\[0, 0\]"),
        (torch.ones(3, 3), torch.ones(1, 2, 2), {}, ValueError, r"K\[0\]"),
        (torch.ones(2, 3, 3), [[1]], {}, ValueError, r"got \(2, 3, 3\)$"),
        ([[1, 2], [3, float("nan")]], [[1]], {}, ValueError, r"X holds NaN.* index \(1, 1\)"),
        ([[1]], [[float("-inf")]], {}, ValueError, "K holds NaN or infinite"),
        ([[1j]], [[1]], {}, TypeError, "real numbers for X.* complex"),
        ([[1]], torch.ones(1, 1, dtype=torch.complex64), {}, TypeError, "K.* complex"),
        ([["1"]], [[1]], {}, TypeError, "numbers for X"),
        (None, [[1]], {}, TypeError, "numbers for X, got NoneType"),
        ([[1, 2], [3]], [[1]], {}, ValueError, "rows of X differ in length"),
        (torch.ones(3, 3), torch.ones(2, 4), {}, ValueError, "over 4 pixels .* only 3"),
        (torch.ones(3, 3), torch.ones(2, 2), {"dilation": 3}, ValueError, "over 4 .* only 3"),
        ([[1]], [[1]], {"padding": -1}, ValueError, "padding must be 0 or more, got -1"),
        ([[1]], [[1]], {"padding": (0, 0.5)}, TypeError, "whole number for padding, got 0.5"),
        ([[1]], [[1]], {"padding": "same"}, TypeError, "whole number for padding, got 'same'"),
        ([[1]], [[1]], {"stride": 0}, ValueError, "stride must be 1 or more, got 0"),
        ([[1]], [[1]], {"stride": 1.5}, TypeError, "whole number for stride, got 1.5"),
        ([[1]], [[1]], {"dilation": (1, 0)}, ValueError, "dilation must be 1 or more"),
        ([[1]], [[1]], {"stride": (1, 1, 1)}, ValueError, "stride as one number or a pair"),
    ],
)
def test_refuses(
    operation: Operation,
    X: Any,
    K: Any,
    settings: dict[str, Any],
    error: type[Exception],
    words: str,
) -> None:
    with pytest.raises(error, match=words):
        operation(X, K, **settings)


@given(n=sizes(1, 12), k=sizes(1, 6), p=sizes(0, 4), s=sizes(1, 4), d=sizes(1, 4))
def test_output_size_is_that_of_a_layer(n: Any, k: Any, p: Any, s: Any, d: Any) -> None:
    layer = nn.Conv2d(1, 1, both(k), padding=both(p), stride=both(s), dilation=both(d))
    try:
        expected = tuple(layer(torch.zeros(1, 1, *both(n))).shape[2:])
    except RuntimeError:  # the kernel does not fit
        with pytest.raises(ValueError, match="the kernel reaches over"):
            output_size(n, k, p, s, d)
        return
    result = output_size(n, k, p, s, d)
    assert both(result) == expected
    assert isinstance(result, int) == all(isinstance(size, int) for size in (n, k, p, s, d))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ((32, 5), 28),  # LeNet-5, first layer
        ((227, 11, 0, 4), 55),  # AlexNet, first layer
        ((224, 7, 3, 2), 112),  # ResNet, first layer
    ],
)
def test_published_output_sizes(settings: tuple[int, ...], expected: int) -> None:
    assert output_size(*settings) == expected


@pytest.mark.parametrize("missing", range(1, 4))
def test_advised_padding_is_the_least_that_fits(missing: int) -> None:
    with pytest.raises(ValueError, match="a padding of") as caught:
        output_size(5, 5 + missing)
    advised = int(str(caught.value).split("padding of ")[1].split()[0])
    assert output_size(5, 5 + missing, advised)
    with pytest.raises(ValueError, match="reaches over"):
        output_size(5, 5 + missing, advised - 1)


@pytest.mark.parametrize("kernel_size", [1, 3, (2, 3)])
def test_layer_equals_that_of_torch(kernel_size: int | tuple[int, int]) -> None:
    ours, theirs = Conv2D(kernel_size).double(), nn.Conv2d(1, 1, kernel_size).double()
    with torch.no_grad():
        ours.bias.fill_(0.5)
        theirs.weight.copy_(ours.weight[None, None])
        theirs.bias.copy_(ours.bias)  # type: ignore[union-attr]
    image = torch.rand(6, 7, dtype=torch.float64)
    inputs = [image.clone().requires_grad_() for _ in range(2)]
    outputs = ours(inputs[0]), theirs(inputs[1][None])[0]
    torch.testing.assert_close(*outputs)
    slopes = torch.rand_like(outputs[0])
    for output in outputs:
        (output * slopes).sum().backward()
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad)
    for name, parameter in theirs.named_parameters():
        own = ours.get_parameter(name).grad
        assert own is not None
        torch.testing.assert_close(own, parameter.grad.reshape(own.shape))  # type: ignore[union-attr]


def test_layer_starts_with_a_positive_kernel_and_no_bias() -> None:
    layer = Conv2D((20, 30))
    assert layer.weight.shape == (20, 30)
    assert 0 <= layer.weight.min() < 0.1
    assert 0.9 < layer.weight.max() <= 1
    assert layer.bias.tolist() == [0]


@pytest.mark.parametrize(
    ("size", "error"), [(0, ValueError), (2.5, TypeError), ((3, -1), ValueError), (None, TypeError)]
)
def test_layer_refuses_a_size(size: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="kernel_size"):
        Conv2D(size)
