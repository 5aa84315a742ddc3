"""Silence that is set into a stream."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fishs2.audio.rests import Rests


@given(
    cuts=st.lists(st.integers(0, 40), max_size=6),
    rests=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9)), max_size=4),
)
def test_rests_stand_where_they_were_asked_for_however_the_stream_is_cut(
    cuts: list[int], rests: list[tuple[int, int]]
) -> None:
    sound = np.arange(1, 41, dtype=np.float32)
    rests = sorted(rests)
    set_in = Rests()
    for at, num_samples in rests:
        set_in.add(at, num_samples)

    pieces = [given for piece in np.split(sound, sorted(cuts)) for given in set_in.follow(piece)]
    pieces += set_in.end()

    expected = sound
    for at, num_samples in reversed(rests):
        expected = np.insert(expected, at, np.zeros(num_samples, np.float32))
    assert np.array_equal(np.concatenate(pieces), expected)


def test_a_rest_is_given_as_soon_as_it_is_due() -> None:
    rests = Rests()
    assert sum(map(len, rests.follow(np.ones(5, np.float32)))) == 5
    rests.add(5, 7)

    assert sum(map(len, rests.follow(np.zeros(0, np.float32)))) == 7


def test_one_behind_the_end_is_given_at_the_end() -> None:
    rests = Rests()
    rests.add(6, 7)

    assert sum(map(len, rests.follow(np.ones(5, np.float32)))) == 5
    assert sum(map(len, rests.end())) == 7
