"""Where words are in sound, by marks of the engine or by syllables and silences."""

import numpy as np
import pytest

from fishs2.audio.pcm import Pcm
from fishs2.engines.base import WordMark
from fishs2.service.speech.timing.placing import (
    Loudness,
    Placed,
    place_by_marks,
    place_by_syllables,
)
from fishs2.text.words import find_words

RATE_HZ = 10_000


def tone(seconds: float) -> Pcm:
    return np.full(round(seconds * RATE_HZ), 0.5, np.float32)


def quiet(seconds: float) -> Pcm:
    return np.zeros(round(seconds * RATE_HZ), np.float32)


def loudness(*parts: Pcm) -> Loudness:
    return Loudness(np.concatenate(parts), RATE_HZ)


def place(text: str, sound: Loudness, *marks: WordMark) -> list[Placed]:
    words = list(find_words(text))
    return place_by_marks(words, marks, sound) if marks else place_by_syllables(text, words, sound)


@pytest.mark.parametrize("at_s", [1.5, 1.503, 1.512])
def test_marked_word_has_nothing_of_the_next_one(at_s: float) -> None:
    sound = loudness(tone(1.0), quiet(0.5), tone(0.5))
    first, second = place("One, two.", sound, WordMark(0, 3, 0.0), WordMark(5, 8, at_s))

    assert first.end_s == pytest.approx(1.0, abs=0.01)
    assert second.start_s == at_s


def test_marked_word_has_nothing_of_the_one_before() -> None:
    sound = loudness(tone(1.0), quiet(0.5), tone(0.5))
    first, second = place("One, two.", sound, WordMark(0, 3, 0.0), WordMark(5, 8, 0.99))

    assert first.end_s == 0.99
    assert second.start_s == pytest.approx(1.5, abs=0.01)


def test_marked_word_ends_before_the_silence_behind_it() -> None:
    sound = loudness(tone(1.0), quiet(0.5), tone(0.5), quiet(0.2))
    first, second = place("One, two.", sound, WordMark(0, 3, 0.0), WordMark(5, 8, 1.4))

    assert (first.start_s, first.end_s) == pytest.approx((0.0, 1.0), abs=0.01)
    assert (second.start_s, second.end_s) == pytest.approx((1.5, 2.0), abs=0.01)


def test_word_without_a_mark_lies_between_its_neighbours() -> None:
    sound = loudness(tone(2.0))
    words = place("of the money", sound, WordMark(0, 2, 0.0), WordMark(7, 12, 1.0))

    assert [word.start_s for word in words] == pytest.approx([0.0, 3 / 7, 1.0], abs=0.01)
    assert words[0].end_s == words[1].start_s


def test_marks_within_a_word_and_beyond_the_sound_do_no_harm() -> None:
    marks = [WordMark(0, 4, 0.0), WordMark(5, 10, 0.4), WordMark(11, 12, 9.0)]
    words = place("well-known x", loudness(tone(1.0)), *marks)

    assert [(word.start_s, word.end_s) for word in words] == [(0.0, 1.0), (1.0, 1.0)]


def test_pauses_are_those_of_the_marks_in_the_text() -> None:
    sound = loudness(quiet(0.2), tone(0.4), quiet(0.3), tone(2.0), quiet(0.3))
    words = place("Oh, and then a great many more words came", sound)

    assert words[0].start_s == pytest.approx(0.2, abs=0.01)
    assert words[0].end_s == pytest.approx(0.6, abs=0.01)
    assert words[1].start_s == pytest.approx(0.9, abs=0.01)
    assert words[-1].end_s == pytest.approx(2.9, abs=0.01)


def test_words_are_as_long_as_their_syllables() -> None:
    first, second = place("a banana", loudness(tone(4.0)))

    assert first.end_s == pytest.approx(1.0, abs=0.1)
    assert second.end_s == 4.0


def test_border_is_at_the_dip() -> None:
    dip = np.float32(0.1) * tone(0.02)
    _, second = place("bana bana", loudness(tone(1.04), dip, tone(0.94)))

    assert second.start_s == pytest.approx(1.05, abs=0.01)


@pytest.mark.parametrize("sound", [quiet(1.0), quiet(0.0), np.full(5_000, np.nan, np.float32)])
def test_silence_is_shared_out(sound: Pcm) -> None:
    words = place("one two three", Loudness(sound, RATE_HZ))

    times = [time for word in words for time in (word.start_s, word.end_s)]
    assert times == sorted(times)
    assert all(np.isfinite(times))
