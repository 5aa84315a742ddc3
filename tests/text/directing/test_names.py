"""Speakers by name at the start of lines."""

import pytest

from fishs2.errors import UserError
from fishs2.text.directing.names import tag_speakers
from fishs2.text.sourced import Sourced

CAST = ["Narrator", "Tom", "Tom Thumb"]


@pytest.mark.parametrize(
    ("text", "tagged"),
    [
        ("[Tom] Hi.\n[narrator] He left.", "<|speaker:1|>Hi.\n<|speaker:0|>He left."),
        ("Tom: Hi.\n**Tom Thumb:** Ho.", "<|speaker:1|>Hi.\n<|speaker:2|>Ho."),
        ("I said to Tom: go [Tom].", "I said to Tom: go [Tom]."),
        ("Ann: Hi.", "Ann: Hi."),
        ("[whispering] Hi.\n[pause] Ho.", "[whispering] Hi.\n[pause] Ho."),
        ("[1] Note.", "[1] Note."),
    ],
)
def test_names_of_the_cast_begin_turns(text: str, tagged: str) -> None:
    assert tag_speakers(Sourced.of(text), CAST).text == tagged


def test_a_name_that_nobody_has_is_refused() -> None:
    with pytest.raises(UserError, match='"Ann"') as caught:
        tag_speakers(Sourced.of("Hi.\n[Ann] Ho."), CAST)

    assert caught.value.code == "unknown_speaker"


def test_number_beyond_the_cast_is_nobodys() -> None:
    assert tag_speakers(Sourced.of("<|speaker:1|>Hi."), CAST[:2]).text == "<|speaker:1|>Hi."
    with pytest.raises(UserError, match="speaker 2, but the cast has 2") as caught:
        tag_speakers(Sourced.of("<|speaker:2|>Hi."), CAST[:2])
    assert (caught.value.code, caught.value.param) == ("unknown_speaker", "cast")
