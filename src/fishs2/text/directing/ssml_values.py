"""What attributes of SSML say, as numbers of ours. Source: SSML 1.1, sections 3.2.3 and 3.2.4.

It leaves open what its words are; these are what the large services make of them.
"""

import math
import re

from fishs2.errors import UserError
from fishs2.text.directing.cues import Manner
from fishs2.text.directing.pauses import PAUSE_S, read_pause

MIN_RATE, MAX_RATE = 0.25, 4.0
"""What a part may be spoken beside the rest, all of its elements together."""

MIN_VOLUME_DB, MAX_VOLUME_DB = -40.0, 20.0
SILENT_DB = -200.0
"""Below the last bit of every format."""

_RATES = {"x-slow": 0.5, "slow": 0.75, "medium": 1.0, "default": 1.0, "fast": 1.5, "x-fast": 2.0}
_VOLUMES_DB = {
    "silent": SILENT_DB,
    "x-soft": -12.0,
    "soft": -6.0,
    "medium": 0.0,
    "default": 0.0,
    "loud": 6.0,
    "x-loud": 12.0,
}
_STRENGTHS_S = {
    "none": 0.0,
    "x-weak": PAUSE_S / 4,
    "weak": PAUSE_S / 2,
    "medium": PAUSE_S,
    "strong": 2 * PAUSE_S,
    "x-strong": 3 * PAUSE_S,
}
_NUMBER = re.compile(r"(?P<sign>[+-]?)(?P<number>\d{1,6}(?:\.\d{1,6})?|\.\d{1,6})(?P<unit>%|dB|)")


class WrongValueError(ValueError):
    """An attribute says what it cannot; the message goes on after its name."""


def read_manner(before: Manner, *, rate: str | None, volume: str | None) -> Manner:
    """The manner inside a `prosody`. before: outside of it. Raises WrongValueError.

    Words are what they are beside the rest of the text; numbers change what is around them.
    """
    speed = before.speed if rate is None else _read_rate(rate.strip(), before.speed)
    volume_db = before.volume_db
    if volume is not None:
        volume_db = _read_volume(volume.strip(), before.volume_db)
    return Manner(speed, volume_db)


def _read_rate(given: str, outside: float) -> float:
    if given.lower() in _RATES:
        return _RATES[given.lower()]
    match = _NUMBER.fullmatch(given)
    if match is None or match["unit"] == "dB":
        raise WrongValueError(
            f'rate="{given[:40]}" is no rate; use {", ".join(_RATES)}, a percentage such as 80% or '
            "+20%, or a number such as 1.5"
        )
    number = float(match["number"]) / (100 if match["unit"] else 1)
    if match["sign"]:
        number = 1 + (number if match["sign"] == "+" else -number)
    speed = outside * number
    if not MIN_RATE <= speed <= MAX_RATE:
        raise WrongValueError(
            f'rate="{given[:40]}" makes it {speed:g} times as fast; the limits are {MIN_RATE:g} '
            f"and {MAX_RATE:g}"
        )
    return speed


def _read_volume(given: str, outside_db: float) -> float:
    if given.lower() in _VOLUMES_DB:
        return _VOLUMES_DB[given.lower()]
    match = _NUMBER.fullmatch(given)
    if match is None:
        raise WrongValueError(
            f'volume="{given[:40]}" is no volume; use {", ".join(_VOLUMES_DB)}, decibels such as '
            "+6dB, or a number from 0 to 100"
        )
    volume_db = _decibels(match, outside_db)
    if volume_db != SILENT_DB and not MIN_VOLUME_DB <= volume_db <= MAX_VOLUME_DB:
        raise WrongValueError(
            f'volume="{given[:40]}" makes it {volume_db:+g} dB louder; the limits are '
            f"{MIN_VOLUME_DB:g} and {MAX_VOLUME_DB:+g} dB"
        )
    return volume_db


def _decibels(match: re.Match[str], outside_db: float) -> float:
    number = float(match["number"])
    signed = -number if match["sign"] == "-" else number
    if match["unit"] == "dB":
        # Nothing makes a silent part louder.
        return SILENT_DB if outside_db == SILENT_DB else outside_db + signed
    # Of 100, which is as loud as the rest; with a sign, that much more or less of it.
    share = 1 + signed / 100 if match["sign"] else number / 100
    return 20 * math.log10(share) if share > 0 else SILENT_DB


def read_break(*, time: str | None, strength: str | None) -> float:
    """How long a `break` is, in seconds. Raises WrongValueError, UserError `pause_too_long`."""
    if time is not None:
        try:
            return read_pause(time)
        except UserError as error:
            if error.code == "pause_too_long":
                raise
            raise WrongValueError(f'time="{time[:40]}" is no time; write 800ms or 1.5s') from None
    if strength is None:
        return PAUSE_S
    if strength.strip().lower() not in _STRENGTHS_S:
        raise WrongValueError(
            f'strength="{strength[:40]}" is no strength; use {", ".join(_STRENGTHS_S)}'
        )
    return _STRENGTHS_S[strength.strip().lower()]
