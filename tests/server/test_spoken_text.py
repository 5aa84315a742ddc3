"""What the builtin engine says of texts that were not written to be spoken, by a real server."""

import httpx
import numpy as np
import pytest

from fishs2.audio.decode import decode_audio
from tests.serving import PATIENCE_S


def speak(server: str, text: str, voice: str = "en-us", **fields: object) -> httpx.Response:
    body = {"model": "tts-1", "input": text, "voice": voice, "response_format": "wav", **fields}
    return httpx.post(f"{server}/v1/audio/speech", json=body, timeout=PATIENCE_S)


def pcm(server: str, text: str, voice: str = "en-us", **fields: object) -> bytes:
    answer = speak(server, text, voice, **fields)
    assert answer.status_code == 200, answer.text
    return answer.content


def longest_pause_s(wav: bytes) -> float:
    audio = decode_audio(wav, max_seconds=60)
    quiet = np.abs(audio.pcm) < 1e-3
    edges = np.flatnonzero(np.diff(np.concatenate([[0], quiet.astype(np.int8), [0]])))
    return float((edges[1::2] - edges[::2]).max() / audio.sample_rate_hz)


@pytest.mark.parametrize(
    ("text", "plain", "voice"),
    [
        ("Room ４０２ please", "Room 402 please", "en-us"),
        ("The code is ٤٢ now", "The code is 42 now", "en-us"),
        ("१२३ und ๔๕", "123 und 45", "de"),
        ("１２３", "123", "ja"),
        ("①②③", "1 2 3", "en-us"),
        ("𝟒𝟐 𝐇𝐞𝐥𝐥𝐨 Ⓗⓔⓛⓛⓞ 🅷🅴🅻🅻🅾", "42 Hello Hello HELLO", "en-us"),
        ("Ⓐ", "A", "en-us"),
        ("＆", "&", "en-us"),
        ("an oﬃcial ﬁne", "an official fine", "en-us"),
        ("I donʼt, don＇t, don´t know", "I don't, don't, don't know", "en-us"),
        ("Louis ⅩⅣ", "Louis XIV", "en-us"),
        ("in\u00advis\u200bible \u202bmarks\u202c", "invisible marks", "en-us"),
        ("cafe\u0301 h\u0336e\u0336l\u0336l\u0336o\u0336", "café hello", "en-us"),
        ("10² m and 1½ cups", "10 squared m and 1 and a half cups", "en-us"),
        ("10² und H₂O", "10 2 und H2O", "de"),
        ("I ❤️ you", "I red heart you", "en-us"),
        ("👍🏽 😀😀", "👍 😀 😀", "en-us"),
        ("👩‍💻 and 🏳️‍🌈", "woman technologist and rainbow flag", "en-us"),
        ("Ich ❤️ dich", "Ich rotes Herz dich", "de"),
        ("Kocham ❤️ cię", "Kocham ❤ cię", "pl"),
        ("See [docs](https://a.example/x) now.", "See docs now.", "en-us"),
        ("[laughing] Come in. (happy) Sit.", "Come in. Sit.", "en-us"),
        ("The debt is $500.", "The debt is 500 dollars.", "en-us"),
        ("about $5.3 billion", "about 5.3 billion dollars", "en-us"),
        ("in 1984", "in nineteen eighty-four", "en-us"),
        ("die $500", "die 500 $", "de"),
    ],
)
def test_it_sounds_as_the_plain_spelling_does(
    builtin_server: str, text: str, plain: str, voice: str
) -> None:
    assert pcm(builtin_server, text, voice) == pcm(builtin_server, plain, voice)


IN_ENGLISH_TOO = "A first paragraph that an English voice can read aloud.\n\nꦏꦏ\n\nAnd a third."


@pytest.mark.parametrize(
    "text",
    ["* * *\n\n=====", "\ue000\u200b", "[laughing]", "⁂", "ꦏꦏ", "Ꭰ", "♪", IN_ENGLISH_TOO],
)
def test_what_cannot_be_said_is_refused(builtin_server: str, text: str) -> None:
    answer = speak(builtin_server, text)
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "empty_input"


@pytest.mark.parametrize(("text", "voice"), [("😀", "ja"), ("🫠", "pl"), ("$", "ja"), ("€", "cmn")])
def test_what_a_voice_has_no_words_for_is_refused_too(
    builtin_server: str, text: str, voice: str
) -> None:
    answer = speak(builtin_server, text, voice)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "empty_input")


def test_brackets_of_an_author_keep_their_words(builtin_server: str) -> None:
    whole = pcm(builtin_server, "[John] went home [sic].")
    assert len(whole) > 1.3 * len(pcm(builtin_server, "went home."))


@pytest.mark.parametrize("mark", ["* * *", "---", "###", "~~~", "⁂", "— — —"])
def test_a_break_between_scenes_is_a_pause(builtin_server: str, mark: str) -> None:
    wav = pcm(builtin_server, f"One.\n\n{mark}\n\nTwo.")
    assert 0.3 <= longest_pause_s(wav) <= 2.0
    assert len(wav) < 1.2 * 2 * 22_050 + len(pcm(builtin_server, "One.\n\nTwo."))


@pytest.mark.parametrize("letter", ["b", "x", "I"])
def test_letters_that_repeat_are_each_said(builtin_server: str, letter: str) -> None:
    one, three, six = (len(pcm(builtin_server, " ".join([letter] * n))) for n in (1, 3, 6))
    assert six - three == pytest.approx((three - one) * 3 / 2, rel=0.15)


def test_sentences_that_meet_are_two(builtin_server: str) -> None:
    assert pcm(builtin_server, "He said hi.Then left.") == pcm(
        builtin_server, "He said hi. Then left."
    )
    assert pcm(builtin_server, "I use Node.js and example.com.") != pcm(
        builtin_server, "I use Node. js and example. com."
    )


def test_emoji_can_be_skipped(builtin_server: str) -> None:
    assert pcm(builtin_server, "I ❤️ you 👍🏽.", emoji="skip") == pcm(builtin_server, "I you.")
    answer = speak(builtin_server, "❤️", emoji="skip")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "empty_input")
    assert speak(builtin_server, "❤️", emoji="dance").status_code == 422
