"""Memory that was freed, given back to the system.

glibc keeps what lies between pieces that are in use, and Python keeps what refers to itself until
many other objects have come: after a peak of speech a server would hold what it had needed then.
"""

import ctypes
import gc
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_EVERY_S = 20.0
"""It takes 4 ms for 90 MB, and next to nothing where there is nothing to give."""


@contextmanager
def giving_back(is_idle: Callable[[], bool], *, every_s: float = _EVERY_S) -> Iterator[None]:
    """Give freed memory back now and then, in a thread, while inside.

    is_idle: whether nobody would notice that everything stands still for a moment; called in the
    thread. What there is on entering is taken to stay.
    """
    # Python's own collections, too, then look only at what came later: 10 ms instead of 150.
    gc.freeze()
    is_over = threading.Event()

    def work() -> None:
        seen = num_collections()
        while not is_over.wait(every_s):
            if is_idle() and num_collections() != seen:
                gc.collect()
                seen = num_collections()
            give_back()

    thread = threading.Thread(target=work, name="fishs2-memory", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        gc.unfreeze()


def give_back() -> None:
    """Give what is free in whole pages back to the system, where that has to be asked for."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)


def num_collections() -> int:
    """How often Python has looked for what refers to itself: where nothing happens, it does not."""
    return sum(int(generation["collections"]) for generation in gc.get_stats())
