"""One end of a connection between two processes, for whole messages of bounded length.

A message has a kind, one byte. Its data is not copied on the way: batches of pictures cross here.
"""

from __future__ import annotations

import select
import socket
import struct
import time

LARGEST = 128 * 2**20  # bytes of a message
Data = bytes | bytearray


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

    def send(self, kind: bytes, message: Data, until: float | None = None) -> None:
        """Send a message; raise Late if the other side does not take it in time."""
        if len(message) > LARGEST:
            raise ValueError(f"a message of {len(message) / 1e6:.0f} MB is too large")
        self._write(struct.pack("<I", 1 + len(message)) + kind, until)
        self._write(message, until)

    def _write(self, data: Data, until: float | None) -> None:
        left = memoryview(data)
        while left:
            try:
                left = left[self.end.send(left, socket.MSG_DONTWAIT) :]
            except BlockingIOError:
                self._wait(until, write=True)
            except OSError as error:
                raise Gone from error

    def receive(self, until: float | None = None) -> tuple[bytes, bytearray]:
        """Return the next message and its kind; raise Late if not all of it has come in time."""
        size, kind = struct.unpack("<Ic", self._read(5, until))
        if not 1 <= size <= LARGEST + 1:
            raise Garbage(f"a message of {size / 1e6:.0f} MB")
        return kind, self._read(size - 1, until)

    def _read(self, size: int, until: float | None) -> bytearray:
        data = bytearray(size)
        left = memoryview(data)
        while left:
            try:
                count = self.end.recv_into(left, flags=socket.MSG_DONTWAIT)
            except BlockingIOError:
                self._wait(until, write=False)
                continue
            except OSError as error:
                raise Gone from error
            if not count:
                raise Gone
            left = left[count:]
        return data

    def _wait(self, until: float | None, *, write: bool) -> None:
        left = None if until is None else max(0.0, until - time.monotonic())
        ends = [self.end]
        if not any(select.select([] if write else ends, ends if write else [], [], left)):
            raise Late


def clean(text: str) -> str:
    """Return text that every encoding can hold."""
    return text.encode("utf-8", "replace").decode()
