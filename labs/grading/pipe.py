"""One end of a connection between two processes, for whole messages of bounded length."""

from __future__ import annotations

import select
import socket
import struct
import time

LARGEST = 128 * 2**20  # bytes of a message


class Garbage(Exception):
    """What came is no message of this kind."""


class Gone(Exception):
    """The other process ended, or shut its side."""


class Late(Exception):
    """Nothing came in time."""


class Pipe:
    """One end of a connection, for whole messages."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        end.setblocking(True)

    def send(self, message: bytes, until: float | None = None) -> None:
        """Send a message; raise Late if the other side does not take it in time."""
        if len(message) > LARGEST:
            raise ValueError(f"a message of {len(message) / 1e6:.0f} MB is too large")
        left = memoryview(struct.pack("<I", len(message)) + message)
        while left:
            try:
                left = left[self.end.send(left, socket.MSG_DONTWAIT) :]
            except BlockingIOError:
                self._wait(until, write=True)
            except OSError as error:
                raise Gone from error

    def receive(self, until: float | None = None) -> bytes:
        """Return the next message; raise Late if the whole of it has not come in time."""
        size: int = struct.unpack("<I", self._read(4, until))[0]
        if size > LARGEST:
            raise Garbage(f"a message of {size / 1e6:.0f} MB")
        return bytes(self._read(size, until))

    def _read(self, size: int, until: float | None) -> bytearray:
        data = bytearray()
        while len(data) < size:
            try:
                part = self.end.recv(min(size - len(data), 2**20), socket.MSG_DONTWAIT)
            except BlockingIOError:
                self._wait(until, write=False)
                continue
            except OSError as error:
                raise Gone from error
            if not part:
                raise Gone
            data += part
        return data

    def _wait(self, until: float | None, *, write: bool) -> None:
        left = None if until is None else max(0.0, until - time.monotonic())
        ends = [self.end]
        if not any(select.select([] if write else ends, ends if write else [], [], left)):
            raise Late


def clean(text: str) -> str:
    """Return text that every encoding can hold."""
    return text.encode("utf-8", "replace").decode()
