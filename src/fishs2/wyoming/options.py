"""What whoever runs a server decides for Wyoming; plain values."""

from dataclasses import dataclass

MAX_CONNECTIONS = 64
"""A home has a handful of rooms, and each asks for one speech at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WyomingOptions:
    """host, port: where it listens; 0 is a free port. key: id or name of the key that its speech is
    counted on, as the protocol has none. is_announced: by mDNS, so that Home Assistant finds it.
    client_stall_s, live_idle_s: seconds. max_input_chars, live_max_chars: of one speech.
    """

    host: str
    port: int
    key: str | None
    is_announced: bool
    client_stall_s: float
    live_idle_s: float
    live_max_chars: int
    max_input_chars: int
    max_connections: int = MAX_CONNECTIONS

    @property
    def max_event_bytes(self) -> int:
        """Of the JSON of one event: a character takes at most twelve bytes, as two escapes."""
        return 12 * self.max_input_chars + 65_536
