"""Who says what, and where silence is asked for."""

from fishs2.text.cleaning.cleaning import Cleaning
from fishs2.text.directing.pauses import direct_pauses
from fishs2.text.directing.telling import Cutting, Told, tell, tell_together
from fishs2.text.sourced import Sourced
from fishs2.text.turns import find_turns

S2 = Cutting(max_chars=200, cleaning=Cleaning(speaks_tags=True))
PLAIN_READER = Cutting(max_chars=200)


def told(text: str, cutting: Cutting = PLAIN_READER) -> list[str | float]:
    directed = direct_pauses(Sourced.of(text))
    turns = find_turns(directed.text)
    return [named(each) for each in tell(turns, directed.cues, cutting)]


def named(each: Told | float) -> str | float:
    return each if isinstance(each, float) else f"{each.speaker}: {each.text.text}"


def test_pauses_stand_where_they_are_written() -> None:
    text = "[pause:1s]Hello [pause:2s][pause:3s], dear. [pause:4s]\n\nBye.[pause:5s]"

    assert told(text) == [1.0, "0: Hello", 2.0, 3.0, "0: , dear.", 4.0, "0: Bye.", 5.0]


def test_a_turn_of_nothing_but_pauses_is_silent() -> None:
    text = "<|speaker:0|>Hi.<|speaker:1|>[pause:1s] ...<|speaker:0|>Bye."

    assert told(text) == ["0: Hi.", 1.0, "0: Bye."]


def test_a_style_holds_behind_a_pause() -> None:
    assert told("[whispering] I know [pause:1s] you. [sigh] [pause:2s] [laughing] Ha!", S2) == [
        "0: [whispering] I know",
        1.0,
        "0: [whispering] you. [sigh]",
        2.0,
        "0: [laughing] Ha!",
    ]


def test_a_direction_alone_holds_for_what_is_said_behind_the_pause() -> None:
    assert told("[whispering] [pause:1s] I know.", S2) == [1.0, "0: [whispering]  I know."]


def test_a_style_holds_to_the_end_of_its_paragraph() -> None:
    text = "[whispering] " + "This is one of several sentences here. " * 6 + "\n\nLoud again."

    *whispered, loud = told(text, S2)

    assert len(whispered) > 1
    assert all(str(each).startswith("0: [whispering] ") for each in whispered)
    assert loud == "0: Loud again."


def test_what_happens_once_is_not_said_again() -> None:
    text = "[sigh] " + "This is one of several sentences here. " * 6

    assert sum("[sigh]" in str(each) for each in told(text, S2)) == 1


def test_an_utterance_with_its_style_again_is_no_longer_than_it_may_be() -> None:
    text = "[speaking in a low voice] " + "word and another word " * 60 + ". More. " * 30

    cutting = Cutting(max_chars=90, cleaning=Cleaning(speaks_tags=True))

    assert max(len(str(each)) for each in told(text, cutting)) <= 90 + len("0: ")


def test_turns_that_are_spoken_together_are_parted_at_pauses() -> None:
    directed = direct_pauses(
        Sourced.of("<|speaker:0|>Hi.<|speaker:1|>Oh, [pause:1s] hi.<|speaker:0|>Bye.")
    )

    together = tell_together(find_turns(directed.text), directed.cues, S2)

    assert [each if isinstance(each, float) else each.text.text for each in together] == [
        "<|speaker:0|>Hi.\n<|speaker:1|>Oh,",
        1.0,
        "<|speaker:1|>hi.\n<|speaker:0|>Bye.",
    ]
