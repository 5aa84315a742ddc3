"""Sound for telephones: one byte for each sample, as G.711 has them."""

import io

import av
import numpy as np
import pytest

from fishs2.audio.encode import StreamEncoder
from fishs2.audio.formats import FORMATS, TELEPHONE_FORMATS, choose_format
from fishs2.audio.pcm import from_int16
from fishs2.errors import EngineError, UserError
from tests.encoding import MemoryEncoder

MULAW = {0: 0xFF, 32_767: 0x80, -32_768: 0x00, 1_000: 0xCE, -1_000: 0x4E}
ALAW = {8: 0xD5, 32_767: 0xAA, -32_768: 0x2A, 1_000: 0xFA, -1_000: 0x7A}
"""Samples of 16 bits and their bytes, from the tables of G.711."""


@pytest.mark.parametrize("make_encoder", [StreamEncoder, MemoryEncoder])
@pytest.mark.parametrize(("name", "table"), [("ulaw", MULAW), ("alaw", ALAW)])
def test_samples_are_those_of_the_standard(
    make_encoder: type[StreamEncoder], name: str, table: dict[int, int]
) -> None:
    encoder = make_encoder(choose_format(name, engine_rate_hz=24_000))
    pcm = from_int16(np.array(list(table), np.int16))

    written = b"".join([encoder.encode(pcm[:2]), encoder.encode(pcm[2:]), encoder.flush()])

    assert list(written) == list(table.values())


@pytest.mark.parametrize(("name", "container"), [("ulaw", "mulaw"), ("alaw", "alaw")])
def test_players_hear_the_same_sound(name: str, container: str) -> None:
    time_s = np.arange(4_000) / 8_000
    tone = (0.5 * np.sin(2 * np.pi * 440 * time_s)).astype(np.float32)
    encoder = StreamEncoder(choose_format(name, engine_rate_hz=8_000))
    written = b"".join([encoder.encode(tone[:1_500]), encoder.encode(tone[1_500:])])

    options = {"sample_rate": "8000"}
    with av.open(io.BytesIO(written), "r", container, options=options) as opened:
        heard = np.concatenate([f.to_ndarray().reshape(-1) for f in opened.decode(audio=0)])

    assert len(heard) == len(tone)
    assert np.abs(from_int16(heard) - tone).max() < 0.02


@pytest.mark.parametrize("name", TELEPHONE_FORMATS)
def test_telephones_have_one_rate(name: str) -> None:
    chosen = choose_format(name, engine_rate_hz=44_100)

    assert (chosen.sample_rate_hz, chosen.bit_rate) == (8_000, None)
    with pytest.raises(UserError, match="use one of 8000"):
        choose_format(name, engine_rate_hz=44_100, sample_rate_hz=16_000)
    with pytest.raises(UserError, match="no bit rate"):
        choose_format(name, engine_rate_hz=44_100, bit_rate=64_000)


@pytest.mark.parametrize("name", TELEPHONE_FORMATS)
def test_what_is_no_sound_is_refused(name: str) -> None:
    encoder = StreamEncoder(choose_format(name, engine_rate_hz=8_000))

    assert encoder.encode(np.zeros(0, np.float32)) == b""
    with pytest.raises(EngineError):
        encoder.encode(np.full(10, np.nan, np.float32))


def test_other_dialects_have_no_names_for_them() -> None:
    assert not set(FORMATS) & set(TELEPHONE_FORMATS)
