"""Memory that was freed, given back to the system.

glibc keeps what lies between pieces that are in use: after a peak of speech a server would hold
for good what it had needed then. Other systems' libraries do this by themselves.
"""

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_EVERY_S = 20.0
"""It takes 4 ms for 90 MB, and next to nothing where there is nothing to give."""


@contextmanager
def giving_back(every_s: float = _EVERY_S) -> Iterator[None]:
    """Give freed memory back now and then, in a thread, while inside."""
    is_over = threading.Event()

    def work() -> None:
        while not is_over.wait(every_s):
            give_back()

    thread = threading.Thread(target=work, name="fishs2-memory", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def give_back() -> None:
    """Give what is free in whole pages back to the system, where that has to be asked for."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)
