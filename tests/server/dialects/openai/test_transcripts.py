"""Subtitles and times, by hand-made segments."""

from fishs2.listening.base import Heard, Segment, Tongue
from fishs2.server.dialects.openai.transcripts import write_srt, write_verbose, write_vtt

SEGMENTS = (Segment(" Tom & <b>\nJerry -->", 0.0, 1.9996), Segment(" Later.", 3_599.5, 7_261.25))


def test_subtitles_have_hours_and_whole_milliseconds() -> None:
    assert write_srt(SEGMENTS) == (
        "1\n00:00:00,000 --> 00:00:02,000\nTom & <b> Jerry -->\n\n"
        "2\n00:59:59,500 --> 02:01:01,250\nLater.\n\n"
    )


def test_markup_of_webvtt_is_written_as_text() -> None:
    assert write_vtt(SEGMENTS).startswith(
        "WEBVTT\n\n00:00:00.000 --> 00:00:02.000\nTom &amp; &lt;b&gt; Jerry --&gt;\n\n"
    )


def test_language_is_named_in_english() -> None:
    heard = Heard(Tongue("yue", 0.5), 10.0, SEGMENTS)

    assert write_verbose(heard, ["segment"])["language"] == "cantonese"
    assert write_verbose(heard, ["segment"], "translate")["language"] == "english"
