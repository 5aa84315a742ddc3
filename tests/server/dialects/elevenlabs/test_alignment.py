"""When each character sounds, for ElevenLabs' clients."""

import base64
import json
import random
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from elevenlabs.client import ElevenLabs

from fishs2.server.dialects.elevenlabs.alignment import Alignment, CharacterTimes, in_ms
from fishs2.service.speech.timing.times import Timed
from fishs2.text.words import find_words
from tests.server.recorded import Recorded

TEXT = " “Hello”, said she.  It was 7.30!\n\n[sigh] And 好的 then…  "


@dataclass(slots=True)
class FakeText:
    """The text of a speech, in parts."""

    sources: list[str] = field(default_factory=list)

    def source(self, start: int, end: int) -> str:
        return "".join(self.sources)[start:end]


def timed_words(text: str, *, from_s: float = 0.0) -> list[Timed]:
    """Each word sounds for 0.3 s, 0.2 s after the last one."""
    return [
        Timed(text[start:end], from_s + index / 2, from_s + index / 2 + 0.3, start, end)
        for index, (start, end) in enumerate(find_words(text))
    ]


def joined(parts: list[Alignment]) -> Alignment:
    return Alignment(
        [each for part in parts for each in part.chars],
        [each for part in parts for each in part.starts_s],
        [each for part in parts for each in part.ends_s],
    )


def check_order(told: dict[str, Any], text: str, seconds: float) -> None:
    """Every character, once, in order, in the time of the audio."""
    starts, ends = told["character_start_times_seconds"], told["character_end_times_seconds"]
    assert "".join(told["characters"]) == text
    assert len(starts) == len(ends) == len(told["characters"])
    times = [each for pair in zip(starts, ends, strict=True) for each in pair]
    assert times == sorted(times)
    assert 0 <= times[0] < times[-1] <= seconds + 0.01


def test_characters_are_spread_evenly_over_their_word() -> None:
    told = CharacterTimes(FakeText(["Hello, you"])).finish(timed_words("Hello, you"))

    assert told.chars == list("Hello, you")
    assert told.starts_s[:5] == pytest.approx([0, 0.06, 0.12, 0.18, 0.24])
    assert told.starts_s[5:8] == [*told.ends_s[5:7], 0.5] == pytest.approx([0.3, 0.3, 0.5])
    assert told.ends_s[-1] == pytest.approx(0.8)


def test_mark_before_a_word_begins_with_it() -> None:
    told = CharacterTimes(FakeText(["Hi “you”"])).finish(timed_words("Hi “you”"))

    by_char = dict(zip(told.chars, told.starts_s, strict=True))
    assert (by_char["“"], by_char["”"]) == (0.5, 0.8)


def test_text_that_grows_is_told_once_and_in_order() -> None:
    words, source = timed_words(TEXT), random.Random(3)
    for _ in range(20):
        text = FakeText([])
        times = CharacterTimes(text)
        cuts = sorted(source.sample(range(1, len(TEXT)), 4))
        parts = []
        for start, end in pairwise([0, *cuts, len(TEXT)]):
            text.sources.append(TEXT[start:end])
            parts.append(times.take([each for each in words if each.char_end <= end]))
        parts.append(times.finish(words))
        told = joined(parts)
        assert "".join(told.chars) == TEXT
        assert told.starts_s == sorted(told.starts_s)
        assert all(a <= b for a, b in zip(told.starts_s, told.ends_s, strict=True))
        starts = dict(zip(range(len(TEXT)), told.starts_s, strict=True))
        assert all(starts[word.char_start] == word.start_s for word in words)


def test_what_follows_a_word_is_told_with_it() -> None:
    text = FakeText(["It rains. ", "“Again.”"])
    times = CharacterTimes(text)
    words = timed_words("".join(text.sources))

    assert "".join(times.take(words[:2]).chars) == "It rains. "
    assert "".join(times.finish(words).chars) == "“Again.”"


def test_words_whose_times_overlap_stay_in_order() -> None:
    words = [Timed("One", 0.0, 1.0, 0, 3), Timed("two", 0.5, 0.7, 4, 7)]

    told = CharacterTimes(FakeText(["One two"])).finish(words)

    assert told.starts_s == sorted(told.starts_s)
    assert told.ends_s[-1] == 1.0


def test_frames_of_long_alignments_are_small_and_durations_add_up() -> None:
    text = "word " * 400
    told = CharacterTimes(FakeText([text])).finish(timed_words(text))

    frames = list(in_ms(told, is_absolute=True))

    assert "".join(char for each in frames for char in each["chars"]) == text
    assert max(len(json.dumps({"a": each, "b": each})) for each in frames) < 60_000
    starts = [start for each in frames for start in each["charStartTimesMs"]]
    assert starts[5 * 100] == 50_000
    assert starts == sorted(starts)


def test_clock_of_messages_that_restart_adds_up() -> None:
    text = "word " * 400
    told = CharacterTimes(FakeText([text])).finish(timed_words(text))

    clock_ms, starts = 0, []
    for each in in_ms(told, is_absolute=False):
        starts += [clock_ms + start for start in each["charStartTimesMs"]]
        clock_ms += each["charStartTimesMs"][-1] + each["charDurationsMs"][-1]

    assert starts == [
        start for each in in_ms(told, is_absolute=True) for start in each["charStartTimesMs"]
    ]


def test_whole_answer_has_audio_and_the_time_of_each_character(
    sdk: ElevenLabs, server: Recorded
) -> None:
    answer = sdk.text_to_speech.convert_with_timestamps(
        "default", text=TEXT, output_format="pcm_24000"
    )

    seconds = len(base64.b64decode(answer.audio_base_64)) / 48_000
    assert answer.alignment is not None
    assert answer.normalized_alignment == answer.alignment
    check_order(answer.alignment.model_dump(), TEXT, seconds)


def test_lines_have_all_of_the_audio_and_of_the_text(sdk: ElevenLabs) -> None:
    text = TEXT * 20
    lines = list(
        sdk.text_to_speech.stream_with_timestamps("default", text=text, output_format="pcm_24000")
    )

    seconds = sum(len(base64.b64decode(each.audio_base_64)) for each in lines) / 48_000
    told = [each.alignment for each in lines if each.alignment is not None]
    assert len(told) > 1
    names = ("characters", "character_start_times_seconds", "character_end_times_seconds")
    whole = {name: [x for each in told for x in getattr(each, name)] for name in names}
    check_order(whole, text, seconds)


def test_answers_say_how_times_were_made_and_are_lines_of_json(server: Recorded) -> None:
    path = "/v1/text-to-speech/default"
    whole = server.client.post(f"{path}/with-timestamps", json={"text": TEXT})
    lines = server.client.post(f"{path}/stream/with-timestamps", json={"text": TEXT})

    for answer in (whole, lines):
        assert answer.headers["x-fishs2-times"] == "estimated"
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["character-cost"] == str(len(TEXT))
    assert int(whole.headers["content-length"]) == len(whole.content)
    keys = {"audio_base64", "alignment", "normalized_alignment"}
    assert set(whole.json()) == keys
    assert all(set(json.loads(line)) == keys for line in lines.text.splitlines())


@pytest.mark.parametrize("end", ["with-timestamps", "stream/with-timestamps"])
def test_errors_have_the_shape_of_the_others(server: Recorded, end: str) -> None:
    for voice, body, status in (
        ("nobody", {"text": "Hi."}, "voice_not_found"),
        ("default", {"text": "..."}, "empty_input"),
        ("default", {}, "invalid_request"),
    ):
        answer = server.client.post(f"/v1/text-to-speech/{voice}/{end}", json=body)
        assert 400 <= answer.status_code < 500
        assert answer.json()["detail"]["status"] == status
