"""Messages on a stream: four bytes of length, then `wire` data."""

from __future__ import annotations

import socket
import struct
import time
from typing import Any

from llmsafety_lab.checking.wire import LIMIT, NotPlain


class Closed(Exception):
    """The other side has gone."""


def send(connection: socket.socket, data: bytes) -> None:
    """Send one message.

    Raises
    ------
    Closed
        If nobody listens any more.
    """
    try:
        connection.sendall(struct.pack(">I", len(data)) + data)
    except OSError:
        raise Closed from None


def receive(connection: socket.socket, deadline: float | None = None) -> bytes:
    """Wait for one message.

    Raises
    ------
    Closed
        If the connection ends, in a message's middle too.
    TimeoutError
        If the message is not there by ``deadline`` (of `time.monotonic`).
    NotPlain
        If the message says that it is longer than `wire.LIMIT`.
    """
    (length,) = struct.unpack(">I", _exactly(connection, 4, deadline))
    if length > LIMIT:
        raise NotPlain(f"a message of {length / 2**20:.0f} MB")
    return _exactly(connection, length, deadline)


def _exactly(connection: socket.socket, length: int, deadline: float | None) -> bytes:
    data = bytearray()
    while len(data) < length:
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            connection.settimeout(left)
        try:
            part: Any = connection.recv(min(length - len(data), 1 << 20))
        except TimeoutError:
            raise
        except OSError:
            raise Closed from None
        if not part:
            raise Closed
        data += part
    return bytes(data)
