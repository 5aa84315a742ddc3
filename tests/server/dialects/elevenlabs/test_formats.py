"""`output_format` of ElevenLabs."""

import pytest

from fishs2.audio.formats import choose_format
from fishs2.errors import UserError
from fishs2.server.dialects.elevenlabs.formats import OutputFormat, read_output_format

THEIRS = [
    *(f"mp3_{hz}" for hz in ("22050_32", "24000_48", "44100_32", "44100_64", "44100_96")),
    *("mp3_44100_128", "mp3_44100_192"),
    *(f"pcm_{hz}" for hz in (8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)),
    *(f"opus_48000_{kbps}" for kbps in (32, 64, 96, 128, 192)),
    *(f"wav_{hz}" for hz in (8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)),
    *("ulaw_8000", "alaw_8000"),
]


@pytest.mark.parametrize("name", THEIRS)
def test_all_of_theirs_can_be_made(name: str) -> None:
    asked = read_output_format(name)
    made = choose_format(
        asked.name,
        engine_rate_hz=44_100,
        sample_rate_hz=asked.sample_rate_hz,
        bit_rate=asked.bit_rate,
    )

    parts = [made.name, str(made.sample_rate_hz)]
    parts += [str(made.bit_rate // 1000)] if made.bit_rate else []
    assert "_".join(parts) == name


@pytest.mark.parametrize("given", [None, "", " MP3_44100_128 "])
def test_default_is_theirs(given: str | None) -> None:
    assert read_output_format(given) == OutputFormat("mp3", 44_100, 128_000)


@pytest.mark.parametrize(
    "given", ["mp3", "mp3_44100", "pcm_24000_16", "flac_44100", "wav_", "x" * 40]
)
def test_another_is_refused_with_examples(given: str) -> None:
    with pytest.raises(UserError, match="ulaw_8000") as refused:
        read_output_format(given)

    assert (refused.value.code, refused.value.param) == ("unsupported_format", "output_format")
    assert given not in refused.value.message.split()
