"""Print what the audio layer costs: CPU time per second of sound, and the wait for bytes.

    .venv/bin/python -m benchmarks.encode_cost

Speech is imitated by pulses through two resonances, with pauses; codecs cost about as much for it
as for real speech.
"""

import time
from collections.abc import Callable
from functools import partial

import numpy as np

from fishs2.audio.effects import EffectChain, Effects
from fishs2.audio.encode import AudioEncoder, StreamEncoder
from fishs2.audio.formats import FORMATS, AudioFormat, choose_format
from fishs2.audio.pcm import Pcm, Resampler
from tests.encoding import MemoryEncoder

_SECONDS = 10
_ENGINE_RATE_HZ = 44_100
_PIECE_SAMPLES = 2048  # one frame of S2 Pro's codec


def imitate_speech(sample_rate_hz: int) -> Pcm:
    time_s = np.arange(_SECONDS * sample_rate_hz) / sample_rate_hz
    pulses = np.zeros(len(time_s))
    pulses[:: sample_rate_hz // 120] = 1
    ring_s = time_s[: sample_rate_hz // 20]
    ring = np.exp(-ring_s * 220) * np.sin(2 * np.pi * 700 * ring_s)
    ring += 0.5 * np.exp(-ring_s * 440) * np.sin(2 * np.pi * 1800 * ring_s)
    loudness = np.clip(np.sin(2 * np.pi * 3 * time_s), 0, 1)
    speech = np.convolve(pulses, ring)[: len(time_s)] * loudness
    pcm: Pcm = (0.7 * speech / np.abs(speech).max()).astype(np.float32)
    return pcm


def cpu_ms_per_second(work: Callable[[], None]) -> float:
    """Best of three runs."""
    costs = []
    for _ in range(3):
        started = time.process_time()
        work()
        costs.append(time.process_time() - started)
    return 1000 * min(costs) / _SECONDS


def encode(
    make_encoder: Callable[[AudioFormat], AudioEncoder], audio_format: AudioFormat, pcm: Pcm
) -> None:
    encoder = make_encoder(audio_format)
    for start in range(0, len(pcm), _PIECE_SAMPLES):
        encoder.encode(pcm[start : start + _PIECE_SAMPLES])
    encoder.flush()


def change(effects: Effects, pcm: Pcm) -> None:
    chain = EffectChain(effects, _ENGINE_RATE_HZ)
    for start in range(0, len(pcm), _PIECE_SAMPLES):
        chain.apply(pcm[start : start + _PIECE_SAMPLES])
    list(chain.drain())


def resample(out_rate_hz: int, pcm: Pcm) -> None:
    resampler = Resampler(_ENGINE_RATE_HZ, out_rate_hz)
    for start in range(0, len(pcm), _PIECE_SAMPLES):
        resampler.resample(pcm[start : start + _PIECE_SAMPLES])
    resampler.flush()


def first_bytes_ms(audio_format: AudioFormat, pcm: Pcm) -> float:
    """Sound that must go in, sample by sample, before bytes come out."""
    encoder = StreamEncoder(audio_format)
    for num_samples in range(1, len(pcm)):
        if encoder.encode(pcm[num_samples - 1 : num_samples]):
            return 1000 * num_samples / audio_format.sample_rate_hz
    raise AssertionError("no bytes came")


def main() -> None:
    print("format  rate Hz  bit/s   stream ms/s  file ms/s  first bytes after ms")
    for name in FORMATS:
        for rate_hz in (24_000, 48_000 if name == "opus" else 44_100):
            audio_format = choose_format(name, engine_rate_hz=rate_hz, sample_rate_hz=rate_hz)
            pcm = imitate_speech(rate_hz)
            stream = cpu_ms_per_second(partial(encode, StreamEncoder, audio_format, pcm))
            file = cpu_ms_per_second(partial(encode, MemoryEncoder, audio_format, pcm))
            wait = first_bytes_ms(audio_format, pcm)
            bit_rate = audio_format.bit_rate or 0
            print(f"{name:6}  {rate_hz:7}  {bit_rate:6}  {stream:11.2f}  {file:9.2f}  {wait:.1f}")
    pcm = imitate_speech(_ENGINE_RATE_HZ)
    print(f"\neffect at {_ENGINE_RATE_HZ} Hz   ms per second of input")
    for effects in (
        *(Effects(speed=speed) for speed in (0.25, 0.5, 0.8, 1.25, 2.0, 4.0)),
        *(Effects(volume_db=volume_db) for volume_db in (-6.0, 6.0, 20.0)),
    ):
        cost = cpu_ms_per_second(partial(change, effects, pcm))
        print(f"speed {effects.speed:4} volume {effects.volume_db:5} dB  {cost:.2f}")
    for rate_hz in (24_000, 48_000):
        cost = cpu_ms_per_second(partial(resample, rate_hz, pcm))
        print(f"resample to {rate_hz}  {cost:.2f}")


if __name__ == "__main__":
    main()
