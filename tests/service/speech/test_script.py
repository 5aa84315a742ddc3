"""Who says what: one voice or several, engines that clone and others."""

import numpy as np
import pytest

from fishs2.engines.base import Capabilities, Reference, Utterance
from fishs2.errors import UserError
from fishs2.service.speech.script import Line, fit_chars, write_script
from fishs2.service.voices.choice import ChosenVoice
from fishs2.text.directing.pauses import direct_pauses
from fishs2.text.directing.telling import Cutting
from fishs2.text.sourced import Sourced

TALK = "<|speaker:0|>How are you?<|speaker:1|>Fine, thanks. <|speaker:0|>Good!"


def capabilities(*, cloning: str = "full", speaks_tags: bool = True) -> Capabilities:
    return Capabilities(
        name="fake",
        backend="cpu",
        sample_rate_hz=24_000,
        num_turns=1,
        max_utterance_chars=200,
        cloning=cloning,  # type: ignore[arg-type]
        speaks_tags=speaks_tags,
    )


def reference(key: str) -> Reference:
    return Reference(np.zeros(10, np.float32), 24_000, "What is said.", key=key)


CAST = [ChosenVoice("a", (reference("a"),)), ChosenVoice("b", (reference("b"),))]
CUTTING = Cutting(max_chars=200)
CLONING = capabilities()
APPROXIMATE = capabilities(cloning="approximate", speaks_tags=False)


def script(
    text: str,
    cast: list[ChosenVoice],
    engine: Capabilities = CLONING,
    cutting: Cutting = CUTTING,
) -> list[Line]:
    like = Utterance(text="", latency="low", num_threads=3)
    directed = direct_pauses(Sourced.of(text))
    return write_script(directed, cast, like=like, engine=engine, cutting=cutting)


def texts(lines: list[Line]) -> list[str]:
    return [line.utterance.text for line in lines]


@pytest.mark.parametrize("engine", [CLONING, APPROXIMATE])
def test_tags_of_speakers_mean_nothing_to_a_single_voice(engine: Capabilities) -> None:
    lines = script(TALK + "<|speaker:7|>", CAST[:1], engine)

    assert " ".join(texts(lines)) == "How are you? Fine, thanks. Good!"
    assert all(line.utterance.references == CAST[0].references for line in lines)


def test_engine_that_clones_gets_all_references_and_the_turns_with_their_tags() -> None:
    lines = script(TALK, CAST)

    assert texts(lines) == [
        "<|speaker:0|>How are you?\n<|speaker:1|>Fine, thanks.\n<|speaker:0|>Good!"
    ]
    assert [each.key for each in lines[0].utterance.references] == ["a", "b"]
    assert (lines[0].utterance.latency, lines[0].utterance.num_threads) == ("low", 3)


def test_any_other_engine_speaks_each_turn_in_its_voice_without_tags() -> None:
    lines = script(TALK, CAST, APPROXIMATE)

    assert texts(lines) == ["How are you?", "Fine, thanks.", "Good!"]
    assert [line.utterance.voice for line in lines] == ["a", "b", "a"]
    assert [line.utterance.references[0].key for line in lines] == ["a", "b", "a"]


def test_long_turns_are_cut_and_every_piece_keeps_its_tag() -> None:
    long = "This sentence is quite long, as sentences in books often are. " * 3
    lines = script(f"<|speaker:1|>{long}<|speaker:0|>Yes.", CAST, cutting=Cutting(max_chars=100))

    assert len(lines) == 3
    assert all(line.utterance.text.startswith("<|speaker:1|>This") for line in lines)
    assert lines[-1].utterance.text.endswith("are.\n<|speaker:0|>Yes.")
    assert all(len(line.utterance.text) <= 100 for line in lines)


def test_no_more_than_five_turns_are_spoken_in_one_go() -> None:
    lines = script("<|speaker:0|>Yes.<|speaker:1|>No." * 4, CAST)

    assert [text.count("<|speaker:") for text in texts(lines)] == [5, 3]


def test_turns_without_anything_to_pronounce_are_left_out() -> None:
    assert texts(script("  <|speaker:1|> ... <|speaker:0|>Yes.", CAST)) == ["<|speaker:0|>Yes."]
    assert script("<|speaker:1|>...", CAST) == []
    assert script(" - ", CAST[:1]) == []


def test_turn_of_a_speaker_who_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match="speaker 2") as refused:
        script("<|speaker:2|>Hello.", CAST)
    assert refused.value.code == "unknown_speaker"


def test_speaker_without_a_recording_is_refused_where_all_are_cloned() -> None:
    cast = [CAST[0], ChosenVoice("own")]
    with pytest.raises(UserError, match="speaker 1"):
        script(TALK, cast)
    assert texts(script(TALK, cast, APPROXIMATE)) == ["How are you?", "Fine, thanks.", "Good!"]


def test_short_utterances_take_in_the_next_sentence() -> None:
    text = "One. Two. Three. Four. Five."

    assert len(script(text, CAST[:1])) == 1
    assert texts(script(text, CAST[:1], cutting=Cutting(200, short_chars=0))) == [
        "One.",
        "Two. Three. Four.",
        "Five.",
    ]


def test_chinese_is_cut_by_how_long_it_takes_to_say() -> None:
    assert fit_chars("A plain sentence.", 400) == 400
    assert fit_chars("天" * 300, 400) == 133
    assert 190 < fit_chars("天 a" * 30, 400) < 250
