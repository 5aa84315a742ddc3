"""What a worker process is made of inside: messages over its pipes, and its end with the server's.

`processes.piped` is the other side. The standard library only, and no import that costs: eSpeak's
worker starts in 15 ms.

Every message is a header (kind, order number, payload bytes) and a payload:

    server -> worker   ORDER    what to do
                       ABORT    nothing; stop the order with this number
    worker -> server   READY    what the server must know; the order number is 0
                       PIECE    of what the order makes
                       FAILED   why; DONE or LAST follows, unless it is about the start
                       DONE     nothing; the order has ended, by itself or by ABORT
                       LAST     the same, and the worker leaves

Orders are worked on one at a time. A worker leaves when stdin ends, so it outlives no server, and
only then: a Ctrl-C or SIGTERM meant for the server reaches the whole process group, and the server
may still want to finish its work.
"""

import os
import queue
import signal
import struct
import threading
from enum import IntEnum

HEADER = struct.Struct("<BII")  # kind, order number, payload bytes
_MAX_READ_BYTES = 1 << 18


class Kind(IntEnum):
    """What a message says."""

    ORDER = 1
    ABORT = 2
    READY = 3
    PIECE = 4
    DONE = 5
    FAILED = 6
    LAST = 7


class Inbox:
    """Orders and aborts from stdin, read on a thread of its own so that an abort is seen early."""

    def __init__(self, stdin_fd: int) -> None:
        self._stdin_fd = stdin_fd
        # Unbounded: the server sends an order only to an idle worker.
        self._orders: queue.SimpleQueue[tuple[int, bytes]] = queue.SimpleQueue()
        self._last_aborted = 0
        threading.Thread(target=self._read_messages, daemon=True).start()

    def wait_for_order(self) -> tuple[int, bytes]:
        """The next order: its number and payload."""
        return self._orders.get()

    def is_aborted(self, number: int) -> bool:
        """Whether nobody wants this order any more."""
        return number <= self._last_aborted

    def _read_messages(self) -> None:
        while True:
            kind, number, payload_bytes = HEADER.unpack(self._read_exactly(HEADER.size))
            payload = self._read_exactly(payload_bytes)
            if kind == Kind.ABORT:
                self._last_aborted = number
            elif kind == Kind.ORDER:
                self._orders.put((number, payload))

    def _read_exactly(self, num_bytes: int) -> bytes:
        read = bytearray()
        while len(read) < num_bytes:
            piece = os.read(self._stdin_fd, min(num_bytes - len(read), _MAX_READ_BYTES))
            if not piece:
                # The server is gone. The main thread may be deep in a C library or in a blocked
                # write, and there is nothing to tidy up.
                os._exit(0)
            read += piece
        return bytes(read)


class Outbox:
    """Messages to the server. Main thread only."""

    def __init__(self, stdout_fd: int) -> None:
        self._stdout_fd = stdout_fd

    def send(self, kind: Kind, number: int, payload: bytes = b"") -> None:
        """Send a message; waits while the pipe is full."""
        rest = memoryview(HEADER.pack(kind, number, len(payload)) + payload)
        while rest:
            try:
                rest = rest[os.write(self._stdout_fd, rest) :]
            except OSError:
                os._exit(0)  # nobody reads any more


def claim_stdout() -> int:
    """Return a descriptor of stdout for messages; what C code prints goes to stderr instead."""
    messages_fd = os.dup(1)
    os.dup2(2, 1)
    return messages_fd


def ignore_signals() -> None:
    """Leave it to the server when this process ends."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        if number := getattr(signal, name, None):
            signal.signal(number, signal.SIG_IGN)
