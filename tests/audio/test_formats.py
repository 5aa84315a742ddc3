import pytest

from fishs2.audio.formats import AudioFormat, choose_format
from fishs2.errors import UserError


@pytest.mark.parametrize(
    ("name", "engine_rate_hz", "expected"),
    [
        ("wav", 44_100, AudioFormat("wav", 44_100)),
        ("wav", 96_000, AudioFormat("wav", 48_000)),
        ("pcm", 44_100, AudioFormat("pcm", 24_000)),
        ("flac", 22_050, AudioFormat("flac", 22_050)),
        ("mp3", 44_100, AudioFormat("mp3", 44_100, 128_000)),
        ("mp3", 22_050, AudioFormat("mp3", 22_050, 64_000)),
        ("mp3", 40_000, AudioFormat("mp3", 44_100, 128_000)),
        ("opus", 22_050, AudioFormat("opus", 48_000, 64_000)),
        ("aac", 24_000, AudioFormat("aac", 44_100, 96_000)),
        ("aac", 48_000, AudioFormat("aac", 48_000, 96_000)),
    ],
)
def test_default_format_keeps_what_the_engine_made(
    name: str, engine_rate_hz: int, expected: AudioFormat
) -> None:
    assert choose_format(name, engine_rate_hz=engine_rate_hz) == expected


def test_a_bit_rate_too_high_for_the_engine_rate_raises_the_sample_rate() -> None:
    chosen = choose_format("mp3", engine_rate_hz=24_000, bit_rate=192_000)

    assert chosen == AudioFormat("mp3", 44_100, 192_000)


@pytest.mark.parametrize("name", ["", "MP3", "ogg", "x" * 1000])
def test_unknown_format_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(UserError, match="wav, pcm, mp3, opus, aac, flac") as caught:
        choose_format(name, engine_rate_hz=24_000)

    assert (caught.value.code, caught.value.param) == ("unsupported_format", "response_format")
    assert len(caught.value.message) < 200


@pytest.mark.parametrize(
    ("name", "rate_hz", "allowed"),
    [
        ("wav", 7_999, "8000 to 48000"),
        ("pcm", 48_001, "8000 to 48000"),
        ("flac", 0, "8000 to 48000"),
        ("mp3", 44_000, "44100"),
        ("opus", 44_100, "8000, 12000, 16000, 24000, 48000"),
        ("aac", 7_350, "8000"),
    ],
)
def test_sample_rate_a_format_cannot_carry_is_refused(
    name: str, rate_hz: int, allowed: str
) -> None:
    with pytest.raises(UserError, match=allowed) as caught:
        choose_format(name, engine_rate_hz=24_000, sample_rate_hz=rate_hz)

    assert (caught.value.code, caught.value.param) == ("unsupported_sample_rate", "sample_rate")


@pytest.mark.parametrize(
    ("name", "rate_hz", "bit_rate"),
    [
        ("mp3", 44_100, 100_000),
        ("mp3", 24_000, 192_000),
        ("mp3", 8_000, 128_000),
        ("opus", 48_000, 5_000),
        ("aac", 16_000, 128_000),
        ("wav", 24_000, 64_000),
    ],
)
def test_bit_rate_a_format_cannot_have_is_refused(name: str, rate_hz: int, bit_rate: int) -> None:
    with pytest.raises(UserError, match=str(bit_rate)) as caught:
        choose_format(name, engine_rate_hz=24_000, sample_rate_hz=rate_hz, bit_rate=bit_rate)

    assert caught.value.code == "unsupported_bit_rate"
