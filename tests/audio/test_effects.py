import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fishs2.audio.effects import EffectChain, Effects
from fishs2.audio.encode import StreamEncoder
from fishs2.audio.formats import AudioFormat
from fishs2.audio.pcm import Pcm, Resampler, from_int16
from fishs2.errors import UserError

RATE_HZ = 24_000


def apply(pcm: Pcm, effects: Effects, piece_samples: int = 500) -> Pcm:
    chain = EffectChain(effects, RATE_HZ)
    pieces = [
        chain.apply(pcm[start : start + piece_samples])
        for start in range(0, len(pcm), piece_samples)
    ]
    return np.concatenate([*pieces, *chain.drain()])


def make_tone(seconds: float, pitch_hz: float = 220.0, peak: float = 0.5) -> Pcm:
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return (peak * np.sin(2 * np.pi * pitch_hz * time_s)).astype(np.float32)


def test_neutral_effects_hand_the_input_back() -> None:
    chain, pcm = EffectChain(Effects(), RATE_HZ), make_tone(0.1)

    assert chain.apply(pcm) is pcm
    assert not any(len(piece) for piece in chain.drain())


def test_negative_volume_scales_and_nothing_else() -> None:
    tone = make_tone(0.5)

    np.testing.assert_allclose(apply(tone, Effects(volume_db=-20.0)), 0.1 * tone, atol=1e-7)


def test_volume_without_peaks_scales_and_nothing_else() -> None:
    quiet, tone = make_tone(0.5, peak=0.05), make_tone(0.5)

    np.testing.assert_allclose(apply(quiet, Effects(volume_db=20.0)), tone, atol=1e-6)


def test_twenty_decibels_never_clip() -> None:
    loud = apply(make_tone(1.0), Effects(volume_db=20.0))

    at_the_top = np.abs(loud) >= 0.9999 * np.abs(loud).max()
    run = longest = 0
    for is_at_the_top in at_the_top:
        run = run + 1 if is_at_the_top else 0
        longest = max(longest, run)
    assert np.abs(loud).max() < 0.9
    assert longest <= 3


@pytest.mark.parametrize("speed", [0.24, 4.01, -1.0, float("nan"), float("inf")])
def test_speed_out_of_range_is_refused(speed: float) -> None:
    with pytest.raises(UserError, match=r"0\.25 to 4\.0") as caught:
        Effects(speed=speed)

    assert (caught.value.code, caught.value.param) == ("unsupported_speed", "speed")


@pytest.mark.parametrize("volume_db", [-20.1, 20.1, float("nan")])
def test_volume_out_of_range_is_refused(volume_db: float) -> None:
    with pytest.raises(UserError, match=r"-20\.0 to 20\.0") as caught:
        Effects(volume_db=volume_db)

    assert (caught.value.code, caught.value.param) == ("unsupported_volume", "volume")


@given(
    piece_samples=st.lists(st.integers(0, 4000), max_size=10),
    effects=st.sampled_from([Effects(), Effects(volume_db=12.0), Effects(0.7, 3.0), Effects(1.9)]),
    name=st.sampled_from(["pcm", "flac", "aac", "mp3"]),
)
@settings(max_examples=25, deadline=None)
def test_the_whole_chain_gives_the_same_bytes_in_any_pieces(
    piece_samples: list[int], effects: Effects, name: str
) -> None:
    tone = make_tone(0.4)
    cuts = np.cumsum(piece_samples, dtype=int)

    in_pieces = encode_through_chain(np.split(tone, cuts[cuts < len(tone)]), effects, name)

    assert in_pieces == encode_through_chain([tone], effects, name)


@pytest.mark.parametrize("effects", [Effects(), Effects(volume_db=-6.0), Effects(volume_db=15.0)])
def test_a_tone_through_the_chain_in_pieces_has_no_clicks(effects: Effects) -> None:
    pieces = np.split(make_tone(1.0), [1, 2, 500, 5000, 5007, 12_000])

    heard = from_int16(np.frombuffer(encode_through_chain(pieces, effects, "pcm"), np.int16))

    time_s = np.arange(len(heard)) / 48_000
    basis = np.stack([np.sin(2 * np.pi * 220 * time_s), np.cos(2 * np.pi * 220 * time_s)])
    middle = slice(4800, -4800)  # sound that starts and ends at once rings in any resampler
    weights, *_ = np.linalg.lstsq(basis[:, middle].T, heard[middle], rcond=None)
    residual = heard[middle] - weights @ basis[:, middle]
    assert np.abs(residual).max() < 1e-3
    assert len(heard) == pytest.approx(48_000, abs=1)


def encode_through_chain(pieces: list[Pcm], effects: Effects, name: str) -> bytes:
    chain, resampler = EffectChain(effects, RATE_HZ), Resampler(RATE_HZ, 48_000)
    bit_rate = 64_000 if name in ("mp3", "aac") else None
    encoder = StreamEncoder(AudioFormat(name, 48_000, bit_rate))  # type: ignore[arg-type]
    encoded = [encoder.encode(resampler.resample(chain.apply(piece))) for piece in pieces]
    encoded += [encoder.encode(resampler.resample(piece)) for piece in chain.drain()]
    encoded.append(encoder.encode(resampler.flush()))
    return b"".join([*encoded, encoder.flush()])
