"""Calls between two processes behave as calls within one, and only plain data crosses."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from labs.grading.peer import Peer
from labs.grading.pipe import Garbage, Gone, Pipe
from labs.grading.wire import KINDS, Other, Wire


class Side(Peer):
    """One of two that do for each other whatever function is named."""

    functions: dict[str, Callable[..., Any]]

    def receive(self) -> bytearray:
        return self.pipe.receive()[1]

    def perform(self, what: list[Any], of: Any, args: Any, kwargs: Any) -> Any:
        if what[0] == "gradients":
            return self.gradients(what[1], *args)
        if what[0] == "function":
            return self.objects[what[1]](*args, **kwargs)
        if what[0] == "method":
            return (of if what[1] == "forward" else getattr(of, what[1]))(*args, **kwargs)
        return self.functions[what[1]](*args, **kwargs)


@pytest.fixture
def sides() -> Iterator[tuple[Side, Side]]:
    ends = socket.socketpair()
    asks, answers = Side(Pipe(ends[0]), 0), Side(Pipe(ends[1]), 1)

    def work() -> None:
        try:
            while True:
                answers.serve(answers.load(answers.receive()))
        except Gone:
            pass

    thread = threading.Thread(target=work)
    thread.start()
    yield asks, answers
    ends[0].close()
    thread.join()
    ends[1].close()


def call(sides: tuple[Side, Side], function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    sides[1].functions = {"f": function}
    return sides[0].ask(["name", "f"], args, kwargs)


VALUES: list[Any] = [
    *(None, True, False, 0, -(10**30), 1.5, float("inf"), "", "é\n", b"\0"),
    *([], (), {}, [1, (2, [3])], {"a": [1], 2: (None,), (1, 2): "x"}),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_plain_values_come_back_as_they_are(sides: tuple[Side, Side], value: Any) -> None:
    came = call(sides, lambda x: [x], value)[0]
    assert came == value
    assert type(came) is type(value)


@pytest.mark.parametrize(
    "value",
    [
        torch.randn(3, 4).T,
        torch.arange(10)[::3],
        torch.zeros(0, 3),
        torch.tensor(True),
        torch.tensor([1 + 2j]),
        torch.ones(2, dtype=torch.bfloat16),
        torch.ones(1).expand(3),
    ],
)
def test_tensors_keep_type_values_and_strides(sides: tuple[Side, Side], value: Any) -> None:
    came, stride = call(sides, lambda x: (x.clone(), x.stride()), value)
    assert torch.equal(came, value)
    assert came.dtype == value.dtype
    assert stride == value.stride()


def test_arrays_and_numbers_of_numpy(sides: tuple[Side, Side]) -> None:
    came = call(sides, lambda x: (x * 2, x.sum(), np.float64(1.5)), np.arange(6).reshape(2, 3))
    assert np.array_equal(came[0], [[0, 2, 4], [6, 8, 10]])
    assert (type(came[1]), type(came[2])) == (np.int64, np.float64)


@pytest.mark.parametrize(
    "value",
    [
        np.array([1.5, -2.0], ">f8"),
        np.asfortranarray([[1, 2, 3], [4, 5, 6]]),
        np.arange(10)[::-3],
        np.array(True),
        np.zeros((0, 3)),
        np.array([1 + 2j], np.complex64),
    ],
    ids=["other bytes first", "columns first", "backwards", "0-d", "empty", "complex"],
)
def test_arrays_of_every_make_keep_their_values(sides: tuple[Side, Side], value: Any) -> None:
    came = call(sides, lambda x: x.copy(), value)
    assert np.array_equal(came, value)
    assert (came.shape, came.dtype.name) == (value.shape, value.dtype.name)


@pytest.mark.parametrize(
    "value",
    [{1}, object(), range(3), Other, 1j],
    ids=["set", "object", "range", "class", "complex"],
)
def test_anything_else_equals_nothing(sides: tuple[Side, Side], value: Any) -> None:
    [came] = call(sides, lambda: [value])
    assert isinstance(came, Other)
    assert came != value
    with pytest.raises(TypeError, match="expected plain data"):
        bool(came)


class Agrees(list[Any]):
    def __eq__(self, other: object) -> bool:
        return True


def test_a_derived_class_is_its_data(sides: tuple[Side, Side]) -> None:
    came = call(sides, lambda: Agrees([1]))
    assert type(came) is list
    assert came != [2]


def test_what_is_changed_there_is_changed_here(sides: tuple[Side, Side]) -> None:
    tensor, numbers, names = torch.zeros(3), [1, 2, [3]], {"a": 1}

    def change(x: Any, y: Any, z: Any) -> None:
        x[1] = 5
        y.pop()
        z["b"] = 2

    call(sides, change, tensor, numbers, names)
    assert tensor.tolist() == [0, 5, 0]
    assert numbers == [1, 2]
    assert names == {"a": 1, "b": 2}
    assert sides[0].changed


@pytest.mark.parametrize(
    "change",
    [
        lambda x, y: x.add_(1),
        lambda x, y: x.requires_grad_(),
        lambda x, y: y.pop(),
        lambda x, y: y.append(1),
        lambda x, y: y[0].add_(1),
        lambda x, y: y.reverse(),
    ],
)
def test_every_change_is_seen(sides: tuple[Side, Side], change: Any) -> None:
    call(sides, lambda x, y: None, torch.zeros(2), [torch.zeros(1), 2])
    assert not sides[0].changed
    call(sides, change, torch.zeros(2), [torch.zeros(1), 2])
    assert sides[0].changed


def test_an_argument_and_a_view_of_it_stay_what_they_are(sides: tuple[Side, Side]) -> None:
    x = torch.arange(6.0)
    assert call(sides, lambda x: x, x) is x
    view = call(sides, lambda x: x[2:4], x)
    assert view.tolist() == [2, 3]
    assert view.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()
    copied = call(sides, lambda x: x.clone(), x)
    assert copied.untyped_storage().data_ptr() != x.untyped_storage().data_ptr()


def test_errors_keep_their_type(sides: tuple[Side, Side]) -> None:
    def fail() -> None:
        raise ZeroDivisionError("no")

    with pytest.raises(ZeroDivisionError, match="no"):
        call(sides, fail)


def test_functions_are_asked_back(sides: tuple[Side, Side]) -> None:
    asked: list[int] = []

    def square(n: int) -> int:
        asked.append(n)
        return n * n

    assert call(sides, lambda f: sum(f(n) for n in range(4)), square) == 14
    assert asked == [0, 1, 2, 3]


def test_a_network_of_known_layers_is_rebuilt(sides: tuple[Side, Side]) -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU())
    x = torch.randn(2, 1, 5, 5)
    want = net(x)
    came = call(sides, lambda: net)
    assert [type(layer) for layer in came] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    assert torch.allclose(came(x), want)


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([2.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight if self.training else -x

    def double(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return 2 * x * self.weight


def test_a_network_that_stays_has_values_modes_and_gradients(sides: tuple[Side, Side]) -> None:
    net = Own()
    came = call(sides, lambda: net)
    x = torch.tensor([3.0], requires_grad=True)
    y = came(x)
    y.backward()
    assert (y.item(), x.grad, came.weight.grad) == (6, torch.tensor([2.0]), torch.tensor([3.0]))
    with torch.no_grad():
        came.weight.fill_(5)
    assert came(x).item() == 15
    assert came.eval()(x).item() == -3
    assert not net.training


def test_a_network_that_is_handed_over_is_trained_there(sides: tuple[Side, Side]) -> None:
    net, twin = nn.Linear(2, 1), nn.Linear(2, 1)
    twin.load_state_dict(net.state_dict())
    x = torch.randn(4, 2)

    def step(net: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor) -> None:
        optimizer.zero_grad()
        net(x).sum().backward()
        optimizer.step()
        net.eval()

    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    other = torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.9)
    for _ in range(3):
        call(sides, step, net, optimizer, x)
        step(twin, other, x)
    assert torch.allclose(net.weight, twin.weight)
    assert not net.training


@given(st.binary(max_size=200))
def test_any_bytes_are_garbage_or_a_value(raw: bytes) -> None:
    with contextlib.suppress(Garbage):
        Wire(0).load(raw)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*sorted(KINDS), "read"]), inner, max_size=1)
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_tree_is_garbage_or_a_value(tree: Any) -> None:
    text = json.dumps(tree).encode()
    with contextlib.suppress(Garbage):
        Wire(0).load(struct.pack("<I", len(text)) + text + bytes(64))
