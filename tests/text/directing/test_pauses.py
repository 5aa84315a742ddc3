"""Pauses in a text: which there are, how long, and what is refused."""

import pytest

from fishs2.errors import UserError
from fishs2.text.directing.cues import MARK
from fishs2.text.directing.pauses import MAX_PAUSES, PAUSE_S, SilenceCount, direct_pauses
from fishs2.text.sourced import Sourced


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("[pause]", PAUSE_S),
        ("[Pause]", PAUSE_S),
        ("[pause:1.5s]", 1.5),
        ("[pause: 1,5 s]", 1.5),
        ("[pause:800ms]", 0.8),
        ("[pause:2]", 2.0),
        ("[pause=.5s]", 0.5),
        ("[pause 3 seconds]", 3.0),
        ("[pause:0s]", 0.0),
        ("[pause:10s]", 10.0),
    ],
)
def test_a_pause_is_a_cue_at_its_place(written: str, seconds: float) -> None:
    directed = direct_pauses(Sourced.of(f"One {written} two"))

    assert directed.text.text == f"One {MARK} two"
    ((place, cue),) = directed.cues.items()
    assert place == (4, 4 + len(written))
    assert cue.pause_s == pytest.approx(seconds)


@pytest.mark.parametrize(
    "written",
    ["[short pause]", "[long pause]", "[pause for effect]", "(pause)", "[paused]", "pause"],
)
def test_what_an_engine_may_act_on_stays_its_own(written: str) -> None:
    assert not direct_pauses(Sourced.of(f"One {written} two")).cues


@pytest.mark.parametrize(
    "written",
    ["[pause:abc]", "[pause:-1s]", "[pause:]", "[pause:1h]", "[pause:1e3s]", "[pause 1x]"],
)
def test_nonsense_is_refused_with_what_to_write(written: str) -> None:
    with pytest.raises(UserError, match=r"\[pause:1.5s\]") as caught:
        direct_pauses(Sourced.of(f"One {written} two"))

    assert caught.value.code == "invalid_pause"


@pytest.mark.parametrize("written", ["[pause:10.001s]", "[pause:999999999]", "[pause:10001ms]"])
def test_one_that_is_too_long_is_refused(written: str) -> None:
    with pytest.raises(UserError, match="10 s") as caught:
        direct_pauses(Sourced.of(written))

    assert caught.value.code == "pause_too_long"


@pytest.mark.parametrize(
    ("text", "code"),
    [("[pause:10s]" * 61, "pause_too_long"), ("[pause:1ms]" * (MAX_PAUSES + 1), "too_many_pauses")],
)
def test_all_of_a_request_are_bounded_together(text: str, code: str) -> None:
    count, half = SilenceCount(), len(text) // 22 * 11
    count.add(direct_pauses(Sourced.of(text[:half])))

    with pytest.raises(UserError) as caught:
        count.add(direct_pauses(Sourced.of(text[half:])))

    assert caught.value.code == code


def test_opening_brackets_cost_no_more_than_their_number() -> None:
    # Quadratic time would take hours, and the test's own limit would end it.
    assert not direct_pauses(Sourced.of("[pause:" * 100_000)).cues
