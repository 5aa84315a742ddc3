"""How many files and connections the system lets this process have open at once.

Windows has no such limit for connections. The lowest free number is what the system gives, so that
the number of a new connection tells how many descriptors are in use.
"""

import os
import sys
from contextlib import suppress

_WANTED = 65_536
"""Enough for all connections that the settings allow, with a file for each."""

_SPARE = 96
"""Left for what work in progress opens: uploads, voices, the database, processes of engines."""

_LAST_SPARE = 48
"""Left where a connection cannot even be told that there is no room."""


def raise_limit() -> None:
    """Ask the system for as many descriptors as it lets us have, up to what we can use."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED if hard == resource.RLIM_INFINITY else min(hard, _WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # Some systems name a hard limit that they do not give.
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def limit() -> int | None:
    """How many may be open; None is no limit."""
    if sys.platform == "win32":
        return None
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def are_short(number: int) -> bool:
    """Whether no new work should begin, where a new descriptor has this number."""
    most = limit()
    return most is not None and number >= most - _SPARE


def are_gone(number: int) -> bool:
    """Whether not even an answer is possible any more."""
    most = limit()
    return most is not None and number >= most - _LAST_SPARE


def lowest_free() -> int:
    """The number that the next descriptor gets. Raises OSError where there is none."""
    number = os.open(os.devnull, os.O_RDONLY)
    os.close(number)
    return number


def backlog(wanted: int) -> int:
    """How many connections may wait to be accepted: all of them may be accepted at once."""
    most = limit()
    return wanted if most is None else max(16, min(wanted, most // 8))
