"""Plain data between two processes of which one must not trust the other.

A message is one frame: its length, then JSON, then the raw bytes of arrays. What it can hold is
closed: None, bool, int, float, str, bytes, list, tuple, dict, NumPy arrays and numbers, tensors;
networks and optimisers of PyTorch by number, with their state as data; functions by number. Nothing
is ever unpickled, and no method of an object from the other side is called. A value of any other
type arrives as `Other`, which equals nothing.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import torch
from torch import nn

from labs.grading.networks import put, state
from labs.grading.pipe import LARGEST, Data, Garbage, clean

MOST_TEXT = 8 * 2**20  # bytes of its JSON
DEEPEST = 30  # lists within lists
DTYPES = (
    *("float16", "bfloat16", "float32", "float64", "complex64", "complex128", "bool"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
)
TENSORS = {name: getattr(torch, name) for name in DTYPES}
NAMES = {dtype: name for name, dtype in TENSORS.items()}
ARRAYS = {name for name in DTYPES if name != "bfloat16"}


class Other:
    """What stands for a value that cannot cross; it equals nothing, and holds nothing."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"<an object of type {self._name}>"

    def __bool__(self) -> bool:
        raise TypeError(f"expected plain data, got {self!r}")


class Wire:
    """Both directions between messages and values, and the objects that both sides know.

    Args:
        side: 0 for the judge, 1 for the student: each numbers its own objects.
    """

    def __init__(self, side: int) -> None:
        self.side = side
        self.objects: dict[int, Any] = {}
        self.numbers: dict[int, int] = {}  # by id; the objects are kept in `objects`
        self.calls: list[list[Any]] = []  # of calls that run: what their arguments hold

    def number(self, value: Any) -> int:
        """Return the number of an object that both sides know, or will know."""
        if id(value) not in self.numbers:
            self.know(2 * len(self.objects) + self.side, value)
        return self.numbers[id(value)]

    def know(self, number: int, value: Any) -> None:
        """Remember an object, of either side."""
        self.objects[number], self.numbers[id(value)] = value, number

    def forget(self) -> None:
        """Forget all objects."""
        self.objects.clear()
        self.numbers.clear()

    def dump(self, value: Any, *, tokens: bool = False) -> bytes:
        """Return a message. With tokens, what came as an argument goes back as its number."""
        return self.pack(value, tokens=tokens)[0]

    def pack(
        self, value: Any, *, tokens: bool = False, fresh: bool = False
    ) -> tuple[bytes, list[Any]]:
        """Return a message, and the arrays, lists and dictionaries in it, in order.

        Fresh: only tensors that are as they came go back as a number.
        """
        packer = _Packer(self, self.calls[-1] if tokens and self.calls else [], fresh)
        text = json.dumps(packer.pack(value, 0)).encode()
        head = struct.pack("<I", len(text)) + text
        return b"".join([head, *packer.blobs]), packer.met

    def load(self, message: Data) -> Any:
        """Return the value of a message, or raise Garbage."""
        return self.unpack(message)[0]

    def unpack(self, message: Data) -> tuple[Any, list[Any]]:
        """Return a value, and the arrays, lists and dictionaries in it, in order."""
        try:
            size = struct.unpack("<I", message[:4])[0]
            if size > min(MOST_TEXT, len(message) - 4):
                raise Garbage("the text of a message is too long")
            tree = json.loads(message[4 : 4 + size])
            reader = _Reader(self, memoryview(message)[4 + size :])
            return reader.read(tree, 0), reader.met
        except Garbage:
            raise
        except (RecursionError, MemoryError):
            raise Garbage("too much") from None
        except Exception as error:  # whatever a hostile message makes of the calls above
            raise Garbage(f"{type(error).__name__}: {error}") from error

    def module(self, told: dict[str, Any]) -> nn.Module:
        """Return what stands here for a network of the other side, from its state."""
        raise Garbage("an unknown network")

    def function(self, number: int) -> Any:
        """Return what stands here for a function of the other side."""
        raise Garbage("an unknown function")


class _Packer:
    """One value on its way out."""

    def __init__(self, wire: Wire, tokens: list[Any], fresh: bool) -> None:
        self.wire = wire
        self.blobs: list[bytes | memoryview] = []
        self.size = 0
        self.met: list[Any] = []
        self.views = [
            (number, value)
            for number, value in enumerate(tokens)
            if isinstance(value, torch.Tensor) and not (fresh and value._version)
        ]
        known = self.views if fresh else enumerate(tokens)
        self.tokens = {id(value): number for number, value in known}

    def pack(self, value: Any, depth: int) -> Any:
        if value is None or type(value) in (bool, int, str):
            return value
        if depth > DEEPEST:
            return {"other": "list, too deep"}
        if id(value) in self.tokens:
            return {"token": self.tokens[id(value)]}
        return self._pack(value, depth + 1)

    def _pack(self, value: Any, depth: int) -> Any:
        # Arrays first: np.float64 is a float, too. Of a class that is derived, the data is meant.
        if isinstance(value, torch.Tensor):
            return self._tensor(value)
        if isinstance(value, np.generic) and value.dtype.name in ARRAYS:
            return {"number": [value.dtype.name, self._blob(value.tobytes())]}
        if isinstance(value, np.ndarray) and value.dtype.name in ARRAYS:
            self.met.append(value)
            plain = np.ascontiguousarray(value, value.dtype.newbyteorder("="))  # as it is read
            raw = self._blob(plain.reshape(-1).view(np.uint8).data)
            return {"array": [value.dtype.name, list(value.shape), raw]}
        for kind in (int, float, str):
            if isinstance(value, kind):
                return kind(value)
        if isinstance(value, bytes):
            return {"bytes": [self._blob(value), len(value)]}
        if isinstance(value, tuple):
            return {"tuple": [self.pack(each, depth) for each in tuple.__iter__(value)]}
        if isinstance(value, list):
            self.met.append(value)
            return {"list": [self.pack(each, depth) for each in list.__iter__(value)]}
        if isinstance(value, dict):
            self.met.append(value)
            pairs = dict.items(value)
            return {"dict": [[self.pack(k, depth), self.pack(v, depth)] for k, v in pairs]}
        if isinstance(value, nn.Module):
            told = state(value, self.wire)
            return {"module": [self.wire.number(value), self.pack(told, depth)]}
        if isinstance(value, torch.optim.Optimizer):
            return self._optimizer(value, depth)
        if callable(value) and not isinstance(value, type):
            return {"function": self.wire.number(value)}
        return {"other": type(value).__name__}

    def _blob(self, raw: bytes | memoryview) -> int:
        self.blobs.append(raw)
        self.size += len(raw)
        if self.size > LARGEST:
            raise ValueError("more data than a message can hold")
        return self.size - len(raw)

    def _tensor(self, value: torch.Tensor) -> Any:
        if value.layout != torch.strided or value.dtype not in NAMES or value.is_quantized:
            return {"other": f"Tensor ({value.layout}, {value.dtype})"}
        if value.device.type == "meta":
            return {"other": "Tensor without data"}
        asks = value.requires_grad or (value.is_leaf and value.grad is not None)
        plain = value.detach().cpu().resolve_conj().resolve_neg()
        for number, known in self.views:
            if known.dtype == plain.dtype and _start(known) == _start(plain) != 0:
                offset = plain.storage_offset() - known.storage_offset()
                return {"view": [number, list(plain.shape), list(plain.stride()), offset]}
        if min(plain.stride(), default=1) < 0 or _reach(plain.shape, plain.stride()) > 4 * max(
            1, plain.numel()
        ):
            plain = plain.contiguous()
        stride = plain.stride()
        flat = plain.as_strided((_reach(plain.shape, stride),), (1,))
        raw = flat.contiguous().view(torch.uint8).numpy().data
        self.met.append(value)
        where = self._blob(raw)
        return {"tensor": [NAMES[value.dtype], list(value.shape), list(stride), where, asks]}

    def _optimizer(self, value: torch.optim.Optimizer, depth: int) -> Any:
        groups = [
            [
                self.pack({k: v for k, v in group.items() if k != "params"}, depth),
                [self.wire.number(parameter) for parameter in group["params"]],
            ]
            for group in value.param_groups
        ]
        return {"optimizer": [self.wire.number(value), type(value).__name__, groups]}


def _start(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _reach(shape: Any, stride: Any) -> int:
    """Return how many values of memory a tensor lies on."""
    if 0 in shape:
        return 0
    return 1 + int(sum((n - 1) * s for n, s in zip(shape, stride, strict=True)))


class _Reader:
    """One message on its way in; nothing in it is trusted."""

    def __init__(self, wire: Wire, blobs: memoryview) -> None:
        self.wire, self.blobs = wire, blobs
        self.met: list[Any] = []

    def read(self, tree: Any, depth: int) -> Any:
        if tree is None or type(tree) in (bool, int, float):
            return tree
        if type(tree) is str:
            return clean(tree)
        if type(tree) is not dict or len(tree) != 1 or depth > DEEPEST + 12:
            raise Garbage("no value")
        [(kind, content)] = tree.items()
        read = getattr(self, f"_{kind}", None) if kind in KINDS else None
        if read is None:
            raise Garbage(f"a value of kind {kind[:20]!r}")
        return read(content, depth + 1)

    def _other(self, name: Any, depth: int) -> Other:
        return Other(clean(str(name))[:100])

    def _list(self, content: Any, depth: int) -> list[Any]:
        made: list[Any] = []
        self.met.append(made)
        made += [self.read(each, depth) for each in content]
        return made

    def _tuple(self, content: Any, depth: int) -> tuple[Any, ...]:
        return tuple([self.read(each, depth) for each in content])

    def _dict(self, content: Any, depth: int) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        self.met.append(made)
        made.update((self.read(k, depth), self.read(v, depth)) for k, v in content)
        return made

    def _raw(self, where: Any, size: int) -> memoryview:
        if type(where) is not int or where < 0 or where + size > len(self.blobs):
            raise Garbage("data that is not there")
        return self.blobs[where : where + size]

    def _bytes(self, content: Any, depth: int) -> bytes:
        where, size = content
        if size < 0:
            raise Garbage("less than nothing")
        return bytes(self._raw(where, size))

    def _number(self, content: Any, depth: int) -> Any:
        name, where = content
        return self._values(name, (), where)[()]

    def _array(self, content: Any, depth: int) -> Any:
        name, shape, where = content
        self.met.append(array := self._values(name, _sizes(shape), where))
        return array

    def _values(self, name: Any, shape: tuple[int, ...], where: Any) -> Any:
        if name not in ARRAYS:
            raise Garbage("a type of number")
        dtype, count = np.dtype(name), int(np.prod(shape, dtype=object))
        if count * dtype.itemsize > LARGEST:
            raise Garbage("a large array")
        raw = bytearray(self._raw(where, count * dtype.itemsize))
        return np.frombuffer(raw, dtype).reshape(shape)

    def _tensor(self, content: Any, depth: int) -> torch.Tensor:
        name, shape, stride, where, asks = content
        dtype, shape, stride = TENSORS[name], _sizes(shape), _sizes(stride)
        count, reach = int(np.prod(shape, dtype=object)), _reach(shape, stride)
        if max(count, reach) * dtype.itemsize > LARGEST:
            raise Garbage("a large tensor")
        raw = bytearray(self._raw(where, reach * dtype.itemsize))
        flat = torch.frombuffer(raw, dtype=dtype) if reach else torch.empty(0, dtype=dtype)
        made = flat.as_strided(shape, stride)
        if asks is True and (dtype.is_floating_point or dtype.is_complex):
            made.requires_grad_()
        self.met.append(made)
        return made

    def _met(self, number: Any) -> Any:
        if type(number) is not int or not self.wire.calls:
            raise Garbage("an argument that is none")
        if not 0 <= number < len(self.wire.calls[-1]):
            raise Garbage("an argument that was never given")
        return self.wire.calls[-1][number]

    def _token(self, number: Any, depth: int) -> Any:
        return self._met(number)

    def _view(self, content: Any, depth: int) -> torch.Tensor:
        number, shape, stride, offset = content
        mine, shape, stride = self._met(number), _sizes(shape), _sizes(stride)
        if type(mine) is not torch.Tensor or type(offset) is not int:
            raise Garbage("a view of no tensor")
        most = _reach(mine.shape, mine.stride())
        if offset < 0 or offset + _reach(shape, stride) > most:
            raise Garbage("a view of more than there is")
        if int(np.prod(shape, dtype=object)) * mine.dtype.itemsize > LARGEST:
            raise Garbage("a large view")
        return mine.detach().as_strided(shape, stride, mine.storage_offset() + offset)

    def _function(self, number: Any, depth: int) -> Any:
        known = self.wire.objects.get(_own(number))
        if known is None:
            if number % 2 == self.wire.side:
                raise Garbage("a function that was never given")
            self.wire.know(number, known := self.wire.function(number))
        if isinstance(known, nn.Module | torch.optim.Optimizer):
            raise Garbage("no function")
        return known

    def _module(self, content: Any, depth: int) -> Any:
        number, tree = content
        told = self.read(tree, depth)
        known = self._known(number, nn.Module)
        if known is None:
            self.wire.know(number, known := self.wire.module(told))
        else:
            put(known, told)
        return known

    def _optimizer(self, content: Any, depth: int) -> Any:
        number, name, told = content
        groups = []
        for settings, numbers in told:
            parameters = [self.wire.objects.get(_own(each)) for each in numbers]
            parameters = [
                each if isinstance(each, nn.Parameter) else nn.Parameter(torch.zeros(()))
                for each in parameters
            ]
            groups.append(self.read(settings, depth) | {"params": parameters})
        known = self._known(number, torch.optim.Optimizer)
        if known is None:
            kind: Any = getattr(torch.optim, str(name), None)
            if not isinstance(kind, type) or not issubclass(kind, torch.optim.Optimizer):
                raise Garbage("an unknown optimiser")
            made: Any = kind
            self.wire.know(number, known := made(groups))
        return known

    def _known(self, number: Any, kind: type) -> Any:
        known = self.wire.objects.get(_own(number))
        if known is None and number % 2 == self.wire.side:
            raise Garbage("an object that was never given")
        if known is not None and not isinstance(known, kind):
            raise Garbage("an object of another kind")
        return known


KINDS = {
    *("other", "list", "tuple", "dict", "bytes", "number", "array", "tensor"),
    *("token", "view", "function", "module", "optimizer"),
}


def _own(number: Any) -> int:
    if type(number) is not int or number < 0:
        raise Garbage("no number")
    return number


def _sizes(sizes: Any) -> tuple[int, ...]:
    if type(sizes) is not list or len(sizes) > DEEPEST:
        raise Garbage("no shape")
    for size in sizes:
        if type(size) is not int or size < 0:
            raise Garbage("no size")
    return tuple(sizes)
