"""The short way to the samples of a WAV is the long way, or none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fishs2.audio.decode import decode_audio
from fishs2.audio.plain_wav import read_plain_wav
from fishs2.errors import UserError
from tests.recordings import make_voice, write_wav

WAV = write_wav(make_voice()[:4_000])
"""It has a chunk that says what has made it."""

BARE = WAV[:36] + WAV[WAV.index(b"data") :]


@pytest.mark.parametrize("wav", [WAV, BARE], ids=["with a list", "bare"])
def test_plain_wav_is_read_as_ffmpeg_reads_it(wav: bytes) -> None:
    expected = decode_audio(wav, max_seconds=90)

    heard = read_plain_wav(wav, max_seconds=90)

    assert heard is not None
    assert heard.sample_rate_hz == expected.sample_rate_hz
    np.testing.assert_array_equal(heard.pcm, expected.pcm)


@pytest.mark.parametrize(
    "source",
    [
        b"",
        WAV[:78],
        WAV[:-2],
        WAV + b"LIST",
        b"RIFX" + WAV[4:],
        write_wav(np.stack([make_voice()] * 2, axis=1), layout="stereo"),
        write_wav(make_voice(), codec="pcm_f32le"),
    ],
    ids=["nothing", "no sound", "cut", "more behind it", "big-endian", "stereo", "floats"],
)
def test_every_other_file_is_left_to_ffmpeg(source: bytes) -> None:
    assert read_plain_wav(source, max_seconds=90) is None


def test_what_is_too_long_is_left_to_ffmpeg() -> None:
    assert read_plain_wav(WAV, max_seconds=0.01) is None


@given(changes=st.lists(st.tuples(st.integers(0, 79), st.integers(0, 255)), max_size=3))
@settings(max_examples=300, deadline=None)
def test_damaged_header_gives_the_same_samples_or_none(changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(WAV)
    for position, value in changes:
        damaged[position] = value
    heard = read_plain_wav(bytes(damaged), max_seconds=90)
    if heard is None:
        return
    try:
        expected = decode_audio(bytes(damaged), max_seconds=90)
    except UserError:
        pytest.fail("FFmpeg refuses it")

    np.testing.assert_array_equal(heard.pcm, expected.pcm)
    assert heard.sample_rate_hz == expected.sample_rate_hz
