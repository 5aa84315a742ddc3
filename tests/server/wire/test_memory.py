"""A peak of memory is not for ever."""

import sys
import threading

import psutil
import pytest

from fishs2.server.wire.memory import give_back, giving_back

PIECE_BYTES = 20_000


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


def test_thread_that_gives_back_ends() -> None:
    def names() -> set[str]:
        return {thread.name for thread in threading.enumerate()}

    with giving_back(every_s=0.001):
        assert "fishs2-memory" in names()
    assert "fishs2-memory" not in names()
