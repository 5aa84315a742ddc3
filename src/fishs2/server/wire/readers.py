"""What a client has taken of what was written to it, as far as the system tells.

    written -> buffer of the transport -> socket -> network -> socket of the client -> the client
              `num_unsent`: in the first two     `num_unread`: in the last    `window`: room in that

Only Linux tells of the last, and of what it holds only on this machine; elsewhere what has arrived
counts as read.
"""

import asyncio
import socket
import struct
import sys

from fishs2.server.wire.peers import look_at_peer

_KEPT_BYTES = 16_384
"""How much the system is to keep that it cannot send yet: what it has cannot be held back."""

_SMALL_SOCKET_BYTES = 65_536
"""Of all that a socket keeps, where it cannot tell apart what is on its way."""

_WINDOW_OFFSET = 228
"""Of tcpi_snd_wnd in struct tcp_info, 4 bytes. Source: linux/tcp.h, since Linux 5.4."""


def keep_little(listener: socket.socket) -> None:
    """Let connections take no more from us than the network carries off; they inherit it."""
    lowat = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if lowat is None:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SMALL_SOCKET_BYTES)
    else:
        # Unlike a small buffer it slows down nobody who is far away.
        listener.setsockopt(socket.IPPROTO_TCP, lowat, _KEPT_BYTES)


class Reader:
    """The client of one connection. For one event loop."""

    def __init__(self, transport: asyncio.Transport, *, stall_s: float) -> None:
        """stall_s: how long it may take nothing, while something waits for it."""
        self._transport = transport
        self._socket: socket.socket | None = transport.get_extra_info("socket")
        self.stall_s = stall_s
        self._clock: asyncio.TimerHandle | None = None
        self._last_unsent = 0
        # Whoever writes waits until the socket has everything.
        transport.set_write_buffer_limits(high=0)

    @property
    def num_unsent(self) -> int:
        """Bytes that have not arrived; once it has gone, those that had not when last asked."""
        if not self._transport.is_closing():
            self._last_unsent = self._transport.get_write_buffer_size() + self._in_socket()
        return self._last_unsent

    @property
    def num_unread(self) -> int | None:
        """Bytes that have arrived and were not read; None where nobody knows."""
        if self._socket is None or self._transport.is_closing():
            return None
        peer = look_at_peer(self._socket)
        return None if peer is None else peer.num_unread

    @property
    def window(self) -> int | None:
        """How many more bytes the client said that it could take; None where nobody knows.

        It said so when the last bytes arrived, before it read them.
        """
        if self._socket is None or sys.platform != "linux":
            return None
        size = _WINDOW_OFFSET + 4
        try:
            told = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, size)
        except (OSError, ValueError):
            return None
        # Older systems do not tell.
        return struct.unpack_from("I", told, _WINDOW_OFFSET)[0] if len(told) == size else None

    def pause(self) -> None:
        """Something waits to be sent: from now on it must take some, or is cut off."""
        self._wait(self.num_unsent)

    def resume(self) -> None:
        """It has taken everything."""
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _wait(self, num_unsent: int) -> None:
        self.resume()
        loop = asyncio.get_running_loop()
        self._clock = loop.call_later(self.stall_s, self._cut_off_unless_moved, num_unsent)

    def _cut_off_unless_moved(self, num_before: int) -> None:
        buffered = self._transport.get_write_buffer_size() + self._in_socket()
        if buffered >= num_before:
            self._transport.abort()
        else:
            self._wait(buffered)

    def _in_socket(self) -> int:
        if self._socket is None or sys.platform != "linux":
            return 0
        import fcntl
        import termios

        try:
            answer = fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, b"\0" * 4)
        except (OSError, ValueError):
            return 0
        return int(struct.unpack("i", answer)[0])
