"""Silence before speech is kept back, and what was heard before is left out."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fishs2.audio.pcm import Pcm
from fishs2.engines.base import SILENCE
from fishs2.errors import EngineError, RunawaySpeechError, UserError
from fishs2.service.speech.onset import Echo, Onset
from tests.fakes import FakeEngine

QUIET = np.full(10, SILENCE, np.float32)
LOUD = np.full(10, -2 * SILENCE, np.float32)
FREE = FakeEngine().capabilities
PLAIN = replace(FREE, name="builtin", spelling="plain")
SPEECH = np.arange(40, dtype=np.float32)


def cut(pcm: Pcm, borders: list[int]) -> list[Pcm]:
    return np.split(pcm, sorted(borders))


def test_silence_comes_with_the_sound_that_follows_it() -> None:
    onset = Onset("Hello.", FREE)

    assert [len(onset.follow(pcm)) for pcm in (QUIET, QUIET, LOUD, QUIET)] == [0, 0, 3, 1]
    onset.end()


@pytest.mark.parametrize("pcm", [QUIET, -QUIET, QUIET[:0], QUIET * np.nan])
def test_what_is_not_loud_enough_is_no_sound(pcm: Pcm) -> None:
    onset = Onset("Hello.", FREE)

    assert list(onset.follow(pcm)) == []
    with pytest.raises(RunawaySpeechError, match="no sound"):
        onset.end()


def test_engine_that_knows_no_letter_of_a_text_leaves_it_to_the_client() -> None:
    onset = Onset("\U00013000", PLAIN)
    onset.follow(QUIET)

    with pytest.raises(UserError, match="the builtin engine can speak") as refused:
        onset.end()
    assert refused.value.code == "empty_input"


@pytest.mark.parametrize("text", ["...", "[laugh]", "<|speaker:1|> \u2014"])
def test_text_without_speech_may_be_silent(text: str) -> None:
    onset = Onset(text, FREE)

    assert [each is QUIET for each in onset.follow(QUIET)] == [True]
    onset.end()


@pytest.mark.parametrize("text", ["$", "🙂", "[laugh] %"])
def test_signs_without_a_sound_are_left_out(text: str) -> None:
    onset = Onset(text, FREE)

    assert list(onset.follow(QUIET)) == []
    onset.end()


def follow(taken: Pcm, pieces: list[Pcm]) -> Pcm:
    echo = Echo([taken])
    new = [echo.follow(pcm) for pcm in pieces]
    echo.end()
    return np.concatenate(new)


borders = st.lists(st.integers(0, len(SPEECH)), max_size=5)


@given(borders, borders, st.integers(0, len(SPEECH)))
def test_speech_goes_on_where_it_broke_off_however_it_is_cut(
    before: list[int], after: list[int], num_heard: int
) -> None:
    echo = Echo(cut(SPEECH[:num_heard], before))

    rest = np.concatenate([echo.follow(pcm) for pcm in cut(SPEECH, after)])
    echo.end()

    assert np.array_equal(rest, SPEECH[num_heard:])


@given(borders, st.integers(1, len(SPEECH)), st.data())
def test_a_single_other_sample_or_an_early_end_is_an_error(
    after: list[int], num_heard: int, data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, num_heard - 1))
    other = SPEECH.copy()
    other[index] += 0.5
    with pytest.raises(EngineError, match="does not speak the rest"):
        follow(SPEECH[:num_heard], cut(other, after))
    with pytest.raises(EngineError, match="does not speak the rest"):
        follow(SPEECH[:num_heard], [SPEECH[:index]])
