"""Messages on a stream, four bytes of length, then `wire` data, and the line over which a check asks a process."""

from __future__ import annotations

import socket
import struct
import time
from typing import Any

from llmsafety_lab.checking.expect import Failed
from llmsafety_lab.checking.wire import LIMIT, NotPlain


class Closed(Exception):
    """The other side has gone."""


class TimedOut(Failed):
    """The answer has used up its time."""


class Ended(Failed):
    """The answer's process has ended: it used more than it may, or ended itself."""


class Line:
    """Carries requests to a student's process and its answers back, until its time is over.

    After that `ended` says why nothing more comes; until then it is None.
    """

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self.ended: Failed | None = None
        self._connection = connection
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds

    def __call__(self, data: bytes) -> bytes:
        """Send a request and return the answer.

        Raises
        ------
        Failed
            If no answer comes (`TimedOut`, `Ended`), or one that is not plain data.
        """
        if self.ended is None:
            try:
                send(self._connection, data)
                return receive(self._connection, self._deadline)
            except TimeoutError:
                self.ended = TimedOut(f"The answer took longer than the {self._seconds:.3g} seconds that it may take.")
            except Closed:
                self.ended = Ended(
                    "The answer's process ended before it had answered.",
                    hint="It used more memory, processor time or threads than an exercise may use, or it ended itself.",
                )
            except NotPlain as error:
                self.ended = Failed(f"The answer sent {error}.")
        raise self.ended from None


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
