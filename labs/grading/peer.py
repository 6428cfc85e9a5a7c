"""Calls between the judge and a student's process: what one asks for, the other answers with data.

Arguments arrive as copies. What a call changed in them is changed in the caller's own, too, as it
would be if both were in one process; and a result that is an argument, or a part of one, is so on
the caller's side as well. A network that cannot be rebuilt stays where it is: on the other side
stands a `Part` that holds its parameters, and asks for values and for gradients.
"""

from __future__ import annotations

import builtins
import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from labs.grading.networks import build
from labs.grading.pipe import Garbage, Pipe, clean
from labs.grading.wire import Wire

MOST_GRAPHS = 32  # that wait for their gradients
LONGEST = 1000  # characters of an error
ERRORS = {
    name: kind
    for name, kind in vars(builtins).items()
    if isinstance(kind, type)
    and issubclass(kind, Exception)
    and kind not in (StopIteration, StopAsyncIteration)
    and not name.startswith("Unicode")
}


class Peer(Wire):
    """One of the two processes."""

    def __init__(self, pipe: Pipe, side: int) -> None:
        super().__init__(side)
        self.pipe = pipe
        self.graphs: dict[int, tuple[torch.Tensor, list[torch.Tensor]]] = {}
        self.copies: list[nn.Module] = []
        self.asked = self.made = 0  # questions, and graphs
        self.changed = False

    # What the two sides do differently.

    def receive(self) -> bytearray:
        """Return the next message of the other side."""
        raise NotImplementedError

    def send(self, message: bytes) -> None:
        """Send a message to the other side."""
        self.pipe.send(b"S", message)

    def perform(self, what: list[Any], of: Any, args: Any, kwargs: Any) -> Any:
        """Do what the other side asks for."""
        raise NotImplementedError

    def failed(self, error: BaseException) -> list[Any]:
        """Return what the other side learns of an error: names of its type, and its text."""
        names = [kind.__name__ for kind in type(error).__mro__]
        return [names, clean(str(error))[:LONGEST]]

    # What both do.

    def forget(self) -> None:
        """Forget all objects and graphs."""
        super().forget()
        self.graphs.clear()
        self.copies.clear()

    def ask(
        self,
        what: list[Any],
        args: Any = (),
        kwargs: Any = None,
        of: Any = None,
        graph: bool = False,
    ) -> Any:
        """Ask the other side, and return its result or raise its error.

        Args:
            what: What to do, in words.
            args: Arguments by place.
            kwargs: Arguments by name.
            of: A network whose method is called.
            graph: Return (result, number): by the number, gradients can be had.
        """
        kwargs = kwargs or {}
        packed = self.dump(of)
        arguments, met = self.pack((tuple(args), kwargs), tokens=True, fresh=True)
        self.asked += 1
        number = self.asked
        head = {"ask": what, "number": number, "graph": graph, "grad": torch.is_grad_enabled()}
        message = self.dump(head | {"of": packed, "arguments": arguments})
        self.calls.append(met)
        try:
            self.send(message)
            while True:
                told = self.load(self.receive())
                if type(told) is dict and "ask" in told:
                    self.serve(told)
                elif type(told) is dict and told.get("number") == number:
                    break
                else:
                    raise Garbage("an answer to another question")
            if told["of"]:
                self._update(of, told["of"])
            if told["arguments"]:
                self.calls, calls = self.calls[:-1], self.calls
                try:
                    theirs = self.load(told["arguments"])
                finally:
                    self.calls = calls
                self.changed |= self._restore((tuple(args), kwargs), theirs)
            if told["error"]:
                self._raise(*told["error"])
            result = self.load(told["result"])
            return (result, told["graph"]) if graph else result
        except (KeyError, TypeError, AttributeError) as error:
            if getattr(error, "theirs", False):
                raise
            raise Garbage(f"no answer: {error!r}") from error
        finally:
            self.calls.pop()

    def _update(self, of: Any, told: bytes) -> None:
        """Give a network, or a copy of it, the state that a call has left on the other side."""
        number = self.number(of)
        known, self.objects[number] = self.objects[number], of
        try:
            self.load(told)
        finally:
            self.objects[number] = known

    def _raise(self, names: Any, text: Any) -> None:
        kind = next((ERRORS[n] for n in names if n in ERRORS), Exception)
        if names[0] not in ERRORS:
            text = f"{names[0]}: {text}" if text else names[0]
        error = kind(str(text)[:LONGEST]) if text else kind()
        error.theirs = True  # type: ignore[attr-defined]
        raise error

    def serve(self, told: dict[str, Any]) -> None:
        """Do what the other side asks for, and send what came of it."""
        answer: dict[str, Any] = {"of": b"", "arguments": b"", "error": None, "graph": 0}
        of = self.load(told["of"])
        (args, kwargs), met = self.unpack(told["arguments"])
        self.calls.append(met)
        asked = self.asked
        try:
            with torch.set_grad_enabled(told["grad"] is True):
                if told["graph"] is True:
                    result = self._with_graph(told["ask"], of, args, kwargs, answer)
                else:
                    result = self.perform(told["ask"], of, args, kwargs)
            answer["result"] = self.dump(result, tokens=True)
        except BaseException as error:
            answer["error"] = self.failed(error)
            answer["result"] = b""
        finally:
            self.calls.pop()
        after = self.dump(of)
        answer["of"] = after if after != told["of"] else b""
        after = self.pack((args, kwargs), tokens=True, fresh=True)[0]
        same = after == told["arguments"] and asked == self.asked
        answer["arguments"] = b"" if same else after
        self.send(self.dump(answer | {"number": told["number"]}))

    def _with_graph(self, what: Any, of: Any, args: Any, kwargs: Any, answer: Any) -> Any:
        with torch.enable_grad():
            result = self.perform(what, of, args, kwargs)
        if isinstance(result, torch.Tensor) and result.requires_grad:
            answer["graph"] = self.made = self.made + 1
            self.graphs[answer["graph"]] = result, leaves(args, of)
            while len(self.graphs) > MOST_GRAPHS:
                del self.graphs[next(iter(self.graphs))]
            return result.detach().clone()
        return result

    def gradients(self, graph: Any, gradient: torch.Tensor) -> list[Any]:
        """Return the gradients of a graph's leaves."""
        result, inputs = self.graphs[graph]
        with torch.enable_grad():
            found = torch.autograd.grad(
                result, inputs, gradient, retain_graph=True, allow_unused=True
            )
        return list(found)

    def _restore(self, mine: Any, theirs: Any) -> bool:
        """Change what was given as the other side changed its copy; say whether that was data."""
        if isinstance(mine, nn.Module | torch.optim.Optimizer) or mine is theirs:
            return False
        if isinstance(mine, tuple | list) and type(mine) is type(theirs):
            parts = [self._restore(*pair) for pair in zip(mine, theirs, strict=False)]
            differs = True in parts or len(mine) != len(theirs)
            if isinstance(mine, list) and differs:
                kept = zip(mine, theirs, strict=False)
                mine[:] = [*(m if _inside(m) else t for m, t in kept), *theirs[len(mine) :]]
            return differs
        if isinstance(mine, dict) and isinstance(theirs, dict) and [*mine] == [*theirs]:
            parts = [self._restore(mine[key], theirs[key]) for key in mine]
            mine.update((k, v) for k, v in theirs.items() if not _inside(mine[k]))
            return True in parts
        if self.pack(mine)[0] == self.pack(theirs)[0]:
            return False
        if isinstance(mine, dict) and isinstance(theirs, dict):
            mine.clear()
            mine.update(theirs)
        elif isinstance(mine, torch.Tensor) and isinstance(theirs, torch.Tensor):
            if mine.shape == theirs.shape and mine.dtype == theirs.dtype:
                mine.detach().copy_(theirs.detach())
            if mine.is_leaf and mine.is_floating_point():
                mine.requires_grad_(theirs.requires_grad)
        elif hasattr(mine, "__array_interface__") and mine.shape == getattr(theirs, "shape", None):
            mine[...] = theirs
        return True

    def module(self, told: dict[str, Any]) -> nn.Module:
        """Return what stands here for a network of the other side."""
        network = build(told, self, _part)
        if not told["build"]:
            network.__dict__["peer"] = self
        return network

    def function(self, number: int) -> Callable[..., Any]:
        """Return what stands here for a function of the other side."""

        def ask(*args: Any, **kwargs: Any) -> Any:
            return self.ask(["function", number], args, kwargs)

        return ask


def _inside(value: Any) -> bool:
    """Say whether a value was changed in place."""
    return isinstance(value, list | dict | torch.Tensor | nn.Module) or hasattr(
        value, "__array_interface__"
    )


def leaves(args: Any, of: Any) -> list[torch.Tensor]:
    """Return the tensors of a call that gradients are asked for: arguments, then parameters."""
    inputs = [arg for arg in args if isinstance(arg, torch.Tensor) and arg.requires_grad]
    return inputs + [p for p in of.parameters() if p.requires_grad]


class Part(nn.Module):
    """A network of the other side, or one of its layers: it holds parameters, and asks."""

    wire_part: str

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Ask the other side for what the network makes of its arguments."""
        return self.wire_ask("forward", args, kwargs)

    def wire_ask(self, method: str, args: Any, kwargs: Any) -> Any:
        """Ask for the result of a method."""
        peer: Peer = self.__dict__["peer"]
        what, inputs = ["method", method], leaves(args, self)
        if torch.is_grad_enabled() and inputs:
            return _Ask.apply(peer, self, what, args, kwargs, *inputs)
        return peer.ask(what, args, kwargs, of=self)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("_") or "peer" not in self.__dict__:
                raise
            return lambda *args, **kwargs: self.wire_ask(name, args, kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> Part:
        made = self.__class__.__new__(self.__class__)
        memo[id(self)] = made
        for name, value in self.__dict__.items():
            made.__dict__[name] = value if name == "peer" else copy.deepcopy(value, memo)
        if "peer" in self.__dict__:  # the other side knows one of the two
            self.peer.copies.append(made)
            self.peer.numbers[id(made)] = self.peer.numbers[id(self)]
        return made

    def __repr__(self) -> str:
        return f"<a network of class {self.wire_part}>"


def _part(kind: Any) -> nn.Module:
    """Return a part that is, for `isinstance`, a layer of its kind."""
    base = getattr(nn, str(kind).removeprefix("Lazy"), None)
    if not isinstance(base, type) or not issubclass(base, nn.Module):
        base = nn.Module
    part: Any = type(str(kind)[:100], (Part,) if base is nn.Module else (Part, base), {})
    made: nn.Module = object.__new__(part)
    nn.Module.__init__(made)
    made.__dict__["wire_part"] = kind
    return made


class _Ask(torch.autograd.Function):
    """A question whose answer has gradients."""

    @staticmethod
    def forward(ctx: Any, peer: Any, of: Any, what: Any, args: Any, kwargs: Any, *_: Any) -> Any:
        result, ctx.graph = peer.ask(what, args, kwargs, of=of, graph=True)
        ctx.peer = peer
        if isinstance(result, torch.Tensor):
            result = result.detach()
            if not ctx.graph:
                ctx.mark_non_differentiable(result)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        found = ctx.peer.ask(["gradients", ctx.graph], (gradients[0],))
        return (None, None, None, None, None, *found)
