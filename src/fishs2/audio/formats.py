"""The audio formats that can be asked for, and which rates each of them carries.

`choose_format` turns a request into an `AudioFormat` or refuses it; `encode` makes the bytes. The
content type of an answer is the server's.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from fishs2.errors import UserError

FormatName = Literal["wav", "pcm", "mp3", "opus", "aac", "flac", "ulaw", "alaw"]
FORMATS: tuple[FormatName, ...] = ("wav", "pcm", "mp3", "opus", "aac", "flac")
"""Those that can be asked for by name everywhere."""
TELEPHONE_FORMATS: tuple[FormatName, ...] = ("ulaw", "alaw")
"""Sound as telephones carry it, without a header. Source: ITU-T G.711."""

AAC_PRIMING_SAMPLES = 1024
"""Silence that every AAC decoder puts before the sound; ADTS has no field that would tell it to
drop it (ISO 14496-3, 1.A.3)."""

_PCM_DEFAULT_HZ = 24_000  # what clients of the OpenAI API assume of headerless PCM
_UNCOMPRESSED_MIN_HZ, _UNCOMPRESSED_MAX_HZ = 8_000, 48_000
_MPEG1_MIN_HZ = 32_000  # below it mp3 is MPEG-2, below 16 kHz MPEG-2.5: half the frame
_MPEG2_MIN_HZ = 16_000

_TELEPHONE_HZ = 8_000

_RATES_HZ: dict[FormatName, tuple[int, ...]] = {
    **dict.fromkeys(TELEPHONE_FORMATS, (_TELEPHONE_HZ,)),
    "mp3": (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
    # Rates that the encoder takes; players decode all of them at 48 kHz (RFC 7845, 5.1).
    "opus": (8_000, 12_000, 16_000, 24_000, 48_000),
    "aac": (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
}

# ISO 11172-3 and 13818-3, layer III, without the free format.
_MPEG1_KBPS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG2_KBPS = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_MPEG25_KBPS = (8, 16, 24, 32, 40, 48, 56, 64)

_OPUS_BIT_RATES = (6_000, 256_000)  # one channel, RFC 6716 section 2.1.1 and the encoder's limit
_AAC_BIT_RATES = (16_000, 192_000)


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """What an encoder makes.

    bit_rate: bits per second, or None where the format has none to choose (wav, pcm, flac,
    ulaw, alaw).
    """

    name: FormatName
    sample_rate_hz: int
    bit_rate: int | None = None

    @property
    def priming_s(self) -> float:
        """Seconds of silence that players put before the sound."""
        return AAC_PRIMING_SAMPLES / self.sample_rate_hz if self.name == "aac" else 0.0

    @property
    def frame_samples(self) -> int:
        """Samples that the codec encodes in one piece: the finest step of its durations."""
        if self.name == "mp3":
            return 1152 if self.sample_rate_hz >= _MPEG1_MIN_HZ else 576
        if self.name == "opus":
            return self.sample_rate_hz // 50
        if self.name == "aac":
            return 1024
        if self.name == "flac":
            # At most 64 ms, so that a stream starts early; a power of two, so that the residual
            # can be split into partitions. The encoder's own 4608 makes speech no smaller.
            return max(512, 1 << (self.sample_rate_hz // 16).bit_length() - 1)
        return 1


def choose_format(
    name: str,
    *,
    engine_rate_hz: int,
    sample_rate_hz: int | None = None,
    bit_rate: int | None = None,
) -> AudioFormat:
    """Give the format for a request; what is None is chosen to lose nothing of the engine's sound.

    bit_rate: bits per second. Raises UserError `unsupported_format`, `unsupported_sample_rate` or
    `unsupported_bit_rate`.
    """
    known = next((format_name for format_name in get_args(FormatName) if format_name == name), None)
    if known is None:
        raise UserError(
            f"response_format {name[:40]!r} is not supported; use one of {', '.join(FORMATS)}",
            code="unsupported_format",
            param="response_format",
        )
    if sample_rate_hz is None:
        sample_rate_hz = _default_rate(known, engine_rate_hz, bit_rate)
    _check_sample_rate(known, sample_rate_hz)
    if bit_rate is None:
        return AudioFormat(known, sample_rate_hz, _default_bit_rate(known, sample_rate_hz))
    _check_bit_rate(known, sample_rate_hz, bit_rate)
    return AudioFormat(known, sample_rate_hz, bit_rate)


def _default_rate(name: FormatName, engine_rate_hz: int, bit_rate: int | None) -> int:
    if name == "pcm":
        return _PCM_DEFAULT_HZ
    if name in TELEPHONE_FORMATS:
        return _TELEPHONE_HZ
    if name == "opus":
        return 48_000
    if name == "aac":
        # The 1024 samples before the sound last 23 ms at 44.1 kHz, but 43 ms at 24 kHz.
        return 48_000 if engine_rate_hz > 44_100 else 44_100
    if name == "mp3":
        if bit_rate is not None and bit_rate // 1000 > _MPEG2_KBPS[-1]:
            engine_rate_hz = max(engine_rate_hz, 44_100)
        return next((hz for hz in _RATES_HZ["mp3"] if hz >= engine_rate_hz), 48_000)
    return min(max(engine_rate_hz, _UNCOMPRESSED_MIN_HZ), _UNCOMPRESSED_MAX_HZ)


def _check_sample_rate(name: FormatName, sample_rate_hz: int) -> None:
    rates_hz = _RATES_HZ.get(name)
    if rates_hz is None:
        if _UNCOMPRESSED_MIN_HZ <= sample_rate_hz <= _UNCOMPRESSED_MAX_HZ:
            return
        allowed = f"use {_UNCOMPRESSED_MIN_HZ} to {_UNCOMPRESSED_MAX_HZ}"
    else:
        if sample_rate_hz in rates_hz:
            return
        allowed = f"use one of {', '.join(map(str, rates_hz))}"
    raise UserError(
        f"sample_rate {sample_rate_hz} is not supported for {name}; {allowed}",
        code="unsupported_sample_rate",
        param="sample_rate",
    )


def _default_bit_rate(name: FormatName, sample_rate_hz: int) -> int | None:
    """Choose a rate at which one voice has no audible loss."""
    if name == "opus":
        return 64_000
    if name == "mp3":
        if sample_rate_hz >= _MPEG1_MIN_HZ:
            return 128_000
        return 64_000 if sample_rate_hz >= _MPEG2_MIN_HZ else 32_000
    if name == "aac":
        if sample_rate_hz >= _MPEG1_MIN_HZ:
            return 96_000
        return 64_000 if sample_rate_hz >= _MPEG2_MIN_HZ else 32_000
    return None


def _check_bit_rate(name: FormatName, sample_rate_hz: int, bit_rate: int) -> None:
    if name == "mp3":
        table = _mp3_kbps(sample_rate_hz)
        if bit_rate % 1000 == 0 and bit_rate // 1000 in table:
            return
        allowed = f"use one of {', '.join(str(kbps * 1000) for kbps in table)}"
    elif name in ("opus", "aac"):
        low, high = _OPUS_BIT_RATES if name == "opus" else _aac_bit_rates(sample_rate_hz)
        if low <= bit_rate <= high:
            return
        allowed = f"use {low} to {high}"
    else:
        allowed = "the format has no bit rate, leave it out"
    raise UserError(
        f"bit_rate {bit_rate} is not supported for {name} at {sample_rate_hz} Hz; {allowed}",
        code="unsupported_bit_rate",
        param="bit_rate",
    )


def _mp3_kbps(sample_rate_hz: int) -> tuple[int, ...]:
    if sample_rate_hz >= _MPEG1_MIN_HZ:
        return _MPEG1_KBPS
    return _MPEG2_KBPS if sample_rate_hz >= _MPEG2_MIN_HZ else _MPEG25_KBPS


def _aac_bit_rates(sample_rate_hz: int) -> tuple[int, int]:
    low, high = _AAC_BIT_RATES
    # A frame of one channel holds at most 6144 bits (ISO 14496-3, 4.5.3), and 1024 samples.
    return low, min(high, 6 * sample_rate_hz)
