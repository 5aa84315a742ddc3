"""`output_format` of ElevenLabs: codec, rate and bit rate in one word, `mp3_44100_128`.

Source: ElevenLabs API reference, text to speech.
"""

import re
from dataclasses import dataclass

from fishs2.errors import UserError

DEFAULT_FORMAT = "mp3_44100_128"

_WITH_BIT_RATE = re.compile(r"(mp3|opus)_(\d{4,5})_(\d{2,3})")
_PLAIN = re.compile(r"(pcm|wav|ulaw|alaw)_(\d{4,5})")


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """One of ours. bit_rate: bits per second; None where the format has none."""

    name: str
    sample_rate_hz: int
    bit_rate: int | None = None


def read_output_format(given: str | None) -> OutputFormat:
    """What a name means; none is ElevenLabs' default. Raises UserError `unsupported_format`."""
    name = (given or "").strip().lower() or DEFAULT_FORMAT
    if match := _WITH_BIT_RATE.fullmatch(name):
        return OutputFormat(match[1], int(match[2]), 1000 * int(match[3]))
    if match := _PLAIN.fullmatch(name):
        return OutputFormat(match[1], int(match[2]))
    raise UserError(
        f"output_format is not known; use one such as {DEFAULT_FORMAT}, opus_48000_64, pcm_24000, "
        "wav_44100, ulaw_8000 or alaw_8000",
        code="unsupported_format",
        param="output_format",
    )
