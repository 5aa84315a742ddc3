import pytest

from fishs2.bench.texts import MIN_CHARS, TextMaker


def test_no_text_comes_twice_even_short_ones() -> None:
    maker = TextMaker(1)

    texts = [maker.make(num) for num in [MIN_CHARS, 50, 200, 400] * 200]

    assert len(set(texts)) == len(texts)


def test_seed_decides_the_texts() -> None:
    def first(seed: int) -> list[str]:
        maker = TextMaker(seed)
        return [maker.make(100) for _ in range(5)]

    assert first(3) == first(3)
    assert not set(first(3)) & set(first(4))


@pytest.mark.parametrize("num_chars", [MIN_CHARS, 26, 27, 50, 199, 200, 1_600])
def test_texts_are_as_long_as_asked_and_end_as_sentences(num_chars: int) -> None:
    maker = TextMaker(2)

    for _ in range(50):
        text = maker.make(num_chars)
        assert num_chars - 16 <= len(text) <= num_chars
        assert text.startswith("The ")
        assert text.endswith(".")
        assert ".." not in text


def test_texts_that_would_soon_repeat_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 25"):
        TextMaker(1).make(MIN_CHARS - 1)
