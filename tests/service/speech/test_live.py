"""What live speech makes of its text."""

import pytest

from fishs2.service.speech.live import pause_after


@pytest.mark.parametrize(
    ("text", "pause_s"),
    [("Hi.\n \n", 0.6), ("Hi.\n", 0.3), ("Hi.", 0.3), ("\n\nhi", 0.0), ("Hi ", 0.0)],
)
def test_pause_after_a_text_follows_from_its_end(text: str, pause_s: float) -> None:
    assert pause_after(text) == pause_s


def test_many_line_breaks_before_the_words_cost_nothing() -> None:
    # A search from each of them would take hours, and the test's own limit would end it.
    assert pause_after("\n" * 3_000_000 + "hi") == 0
