"""When the words of a known text sound."""

from hypothesis import given
from hypothesis import strategies as st

from fishs2.listening.base import HeardWord
from fishs2.listening.placing import place_words


def heard_words(*words: tuple[str, float, float]) -> list[HeardWord]:
    return [HeardWord(f" {text}", start_s, end_s, 1.0) for text, start_s, end_s in words]


def test_words_that_were_heard_have_the_times_that_they_were_heard_at() -> None:
    heard = heard_words(("hello", 0.2, 0.6), ("world", 0.9, 1.4))

    placed = place_words("Hello, world!", heard, seconds=2.0)

    assert [(word.start, word.end) for word in placed] == [(0, 6), (7, 13)]
    assert [(word.start_s, word.end_s) for word in placed] == [(0.2, 0.6), (0.9, 1.4)]


def test_word_that_was_heard_as_another_lies_between_its_neighbours() -> None:
    heard = heard_words(("one", 0.0, 0.3), ("tulip", 0.4, 0.8), ("three", 1.0, 1.4))

    _, second, _ = place_words("one zwo three", heard, seconds=1.5)

    assert 0.3 <= second.start_s <= second.end_s <= 1.0


def test_number_in_digits_gets_the_time_of_its_words() -> None:
    heard = heard_words(("in", 0.0, 0.2), ("nineteen ninety", 0.3, 1.1), ("he", 1.2, 1.4))

    number = place_words("In 1990 he", heard, seconds=1.5)[1]

    assert 0.2 <= number.start_s < number.end_s <= 1.2


def test_nothing_heard_is_spread_over_the_sound() -> None:
    placed = place_words("one two", [], seconds=2.0)

    assert placed[0].start_s == 0
    assert placed[-1].end_s == 2.0


def test_spans_of_the_caller_are_kept() -> None:
    heard = [HeardWord("你好世界", 0.0, 2.0, 1.0)]

    placed = place_words("你好世界", heard, seconds=2.0, spans=[(0, 2), (2, 4)])

    assert [(word.start_s, word.end_s) for word in placed] == [(0.0, 1.0), (1.0, 2.0)]


@given(
    st.text(),
    st.lists(st.tuples(st.text(), st.floats(0, 9), st.floats(0, 1))),
)
def test_words_are_in_order_within_the_sound_and_never_overlap(
    text: str, heard: list[tuple[str, float, float]]
) -> None:
    starts = sorted(start for _, start, _ in heard)
    words = [
        HeardWord(said, start_s, start_s + seconds, 1.0)
        for (said, _, seconds), start_s in zip(heard, starts, strict=True)
    ]

    placed = place_words(text, words, seconds=10.0)

    assert [text[word.start : word.end] for word in placed] == text.split()
    times = [time for word in placed for time in (word.start_s, word.end_s)]
    assert times == sorted(times)
    assert all(0 <= time <= 10 for time in times)
