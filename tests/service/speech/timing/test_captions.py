"""Captions as players read them."""

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from fishs2.service.speech.timing.captions import Caption, make_captions, write_captions
from fishs2.service.speech.timing.times import Timed
from fishs2.text.words import find_words


def timed(text: str, *, start_s: float = 0.0, each_s: float = 0.3, offset: int = 0) -> list[Timed]:
    return [
        Timed(text[a:b], start_s + n * each_s, start_s + (n + 1) * each_s, offset + a, offset + b)
        for n, (a, b) in enumerate(find_words(text))
    ]


def sentence(text: str, words: list[Timed], offset: int = 0) -> Timed:
    return Timed(text, words[0].start_s, words[-1].end_s, offset, offset + len(text))


def test_files_are_in_their_formats() -> None:
    captions = [Caption("A <b> & c --> d", 0.0, 1.5), Caption("Two\nlines", 3_661.001, 3_662.0)]

    assert write_captions(captions, "srt") == (
        "1\n00:00:00,000 --> 00:00:01,500\nA <b> & c → d\n\n"
        "2\n01:01:01,001 --> 01:01:02,000\nTwo\nlines\n"
    )
    assert write_captions(captions, "vtt") == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nA &lt;b&gt; &amp; c --&gt; d\n\n"
        "01:01:01.001 --> 01:01:02.000\nTwo\nlines\n"
    )
    assert json.loads(write_captions(captions, "json"))["captions"][0] == {
        "start": 0.0,
        "end": 1.5,
        "text": "A <b> & c --> d",
    }


def test_sentence_is_cut_between_words_and_keeps_its_marks() -> None:
    text = "“Well,” he said; " * 12 + "and went."
    words = timed(text)
    captions = make_captions([sentence(text, words)], words)

    assert len(captions) > 2
    assert " ".join(caption.text.replace("\n", " ") for caption in captions) == text
    for caption in captions:
        assert all(len(line) <= 42 for line in caption.text.split("\n"))
        assert caption.text.count("\n") < 2
        assert caption.end_s - caption.start_s <= 7.001


def test_no_caption_has_parts_of_two_sentences_and_short_ones_stay() -> None:
    first, second = "No.", "Then it was over."
    words = timed(first, each_s=0.2) + timed(second, start_s=0.5, offset=4)
    sentences = [sentence(first, words[:1]), sentence(second, words[1:], offset=4)]
    captions = make_captions(sentences, words)

    assert [caption.text for caption in captions] == [first, second]
    assert captions[0].end_s == 0.5
    assert captions[1].end_s == words[-1].end_s


@given(st.text(min_size=1, max_size=300).filter(lambda text: list(find_words(text))))
def test_captions_of_any_text_are_in_order(text: str) -> None:
    words = timed(text)
    captions = make_captions([sentence(text, words)], words)

    for before, after in pairwise(captions):
        assert before.start_s <= before.end_s <= after.start_s
    assert captions[-1].end_s >= words[-1].end_s
    for kind in ("srt", "vtt", "json"):
        assert write_captions(captions, kind)
