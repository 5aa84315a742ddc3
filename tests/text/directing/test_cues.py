"""Marks in a text, and what happens at them."""

from fishs2.text.directing.cues import MARK, PLAIN, Cue, Manner, find_stretches, select_marks
from fishs2.text.directing.pauses import direct_pauses
from fishs2.text.sourced import Sourced


def test_a_text_is_cut_at_its_cues() -> None:
    directed = direct_pauses(Sourced.of("[pause:1s]One[pause:2s][pause:3s] two"))

    stretches = list(find_stretches(directed.text, directed.cues))

    assert [each.text.text for each in stretches] == ["", "One", "", " two"]
    assert [each.cue.pause_s if each.cue else None for each in stretches] == [1.0, 2.0, 3.0, None]


def test_a_mark_that_somebody_wrote_is_text() -> None:
    directed = direct_pauses(Sourced.of(f"One {MARK} two[pause]"))

    assert next(find_stretches(directed.text, directed.cues)).text.text == f"One {MARK} two"


def test_a_manner_holds_until_the_next() -> None:
    fast = Manner(speed=2.0)
    text = Sourced.of(f"a{MARK}b{MARK}c{MARK}d")
    cues = {(1, 2): Cue(manner=fast), (3, 4): Cue(pause_s=1.0), (5, 6): Cue(manner=PLAIN)}

    manners = [each.manner for each in find_stretches(text, cues)]

    assert manners == [PLAIN, fast, fast, PLAIN]


def test_the_marks_alone_keep_their_places() -> None:
    directed = direct_pauses(Sourced.of("...[pause:1s]..."))

    marks = select_marks(directed.text)

    assert marks.text == MARK
    assert marks.span(0, 1) == (3, 13)
