"""A peak of memory is not for ever."""

import gc
import sys
import threading
import weakref

import psutil
import pytest

from fishs2.server.wire.memory import give_back, giving_back

PIECE_BYTES = 20_000


class Ring:
    """Refers to itself."""

    def __init__(self) -> None:
        self.me = self


def resident_bytes() -> int:
    return int(psutil.Process().memory_info().rss)


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc has to be asked")
def test_what_lies_between_pieces_in_use_is_given_back() -> None:
    pieces = [bytearray(PIECE_BYTES) for _ in range(4_000)]
    kept = pieces[::10]
    before = resident_bytes()
    pieces.clear()

    give_back()

    assert before - resident_bytes() > 20_000_000
    assert len(kept) == 400


def test_what_refers_to_itself_is_freed_when_nobody_is_there() -> None:
    is_freed, is_idle = threading.Event(), threading.Event()
    gc.disable()
    try:
        with giving_back(is_idle.is_set, every_s=0.001):
            ring = Ring()
            weakref.finalize(ring, is_freed.set)
            # So old that only a look at everything finds it.
            gc.collect()
            del ring
            gc.collect(0)
            assert not is_freed.is_set()
            is_idle.set()
            is_freed.wait()
    finally:
        gc.enable()


def test_thread_that_gives_back_ends() -> None:
    def names() -> set[str]:
        return {thread.name for thread in threading.enumerate()}

    with giving_back(lambda: True, every_s=0.001):
        assert "fishs2-memory" in names()
    assert "fishs2-memory" not in names()
