"""Rates, volumes and breaks of SSML in numbers of ours."""

import pytest

from fishs2.text.directing.cues import PLAIN, Manner
from fishs2.text.directing.ssml_values import (
    SILENT_DB,
    WrongValueError,
    read_break,
    read_manner,
)


@pytest.mark.parametrize(
    ("rate", "outside", "speed"),
    [
        ("x-slow", 1.0, 0.5),
        ("Fast", 0.5, 1.5),
        ("default", 2.0, 1.0),
        ("80%", 1.0, 0.8),
        ("+20%", 1.5, 1.8),
        ("-50%", 1.0, 0.5),
        ("1.5", 2.0, 3.0),
        (" .5 ", 1.0, 0.5),
    ],
)
def test_a_rate_is_a_word_or_changes_what_is_around_it(
    rate: str, outside: float, speed: float
) -> None:
    assert read_manner(Manner(speed=outside), rate=rate, volume=None).speed == pytest.approx(speed)


@pytest.mark.parametrize(
    ("volume", "outside_db", "volume_db"),
    [
        ("silent", 0.0, SILENT_DB),
        ("soft", 3.0, -6.0),
        ("x-loud", 0.0, 12.0),
        ("+6dB", -2.0, 4.0),
        ("-3.5dB", 0.0, -3.5),
        ("+6dB", SILENT_DB, SILENT_DB),
        ("50", 0.0, -6.02),
        ("0", 0.0, SILENT_DB),
        ("+100%", 0.0, 6.02),
        ("-50%", 0.0, -6.02),
    ],
)
def test_a_volume_is_a_word_decibels_or_a_share(
    volume: str, outside_db: float, volume_db: float
) -> None:
    manner = read_manner(Manner(volume_db=outside_db), rate=None, volume=volume)

    assert manner.volume_db == pytest.approx(volume_db, abs=0.01)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("rate", "quick"),
        ("rate", "0"),
        ("rate", "5"),
        ("rate", "-100%"),
        ("rate", "nan"),
        ("rate", "6dB"),
        ("rate", ""),
        ("volume", "noisy"),
        ("volume", "+21dB"),
        ("volume", "-41dB"),
        ("volume", "1e3"),
    ],
)
def test_what_is_no_rate_or_volume_is_refused_with_its_value(attribute: str, value: str) -> None:
    given = {"rate": None, "volume": None, attribute: value}

    with pytest.raises(WrongValueError, match=f'{attribute}="'):
        read_manner(PLAIN, **given)


@pytest.mark.parametrize(
    ("time", "strength", "seconds"),
    [
        ("800ms", None, 0.8),
        ("1.5s", "none", 1.5),
        ("0s", None, 0.0),
        (None, None, 0.6),
        (None, "none", 0.0),
        (None, "x-strong", 1.8),
    ],
)
def test_a_break_is_a_time_or_a_strength(
    time: str | None, strength: str | None, seconds: float
) -> None:
    assert read_break(time=time, strength=strength) == pytest.approx(seconds)


@pytest.mark.parametrize(("time", "strength"), [("long", None), ("-1s", None), (None, "huge")])
def test_what_is_no_break_is_refused(time: str | None, strength: str | None) -> None:
    with pytest.raises(WrongValueError, match=r"use none|write 800ms"):
        read_break(time=time, strength=strength)
