"""How eSpeak's rate and pitch settings come out in seconds and hertz.

Prints, per voice, median F0 at each pitch setting (also over F0 at setting 50: `_F0_RATIOS` of
engines/builtin.py), and active seconds at each rate, times the rate: constant where spoken time
goes as 1 / rate.

    .venv/bin/python -m benchmarks.builtin_calibration
"""

import asyncio

import numpy as np

from fishs2.engines.espeak.pool import EspeakPool
from fishs2.engines.espeak.prosody import Prosody, measure_speech
from fishs2.engines.espeak.worker import SAMPLE_RATE_HZ, Order

TEXT = (
    "The quick brown fox jumps over the lazy dog. It was raining, and nobody came. "
    "She sells sea shells by the sea shore, and I am sure they are fine."
)
VOICES = ("gmw/en-US", "gmw/en-US+f3", "gmw/de", "roa/fr", "sit/cmn")
PITCHES = (0, 10, 25, 40, 50, 60, 75, 90, 99)
RATES_WPM = (80, 100, 120, 150, 175, 200, 250, 300, 350, 400, 449, 450)


async def measure(pool: EspeakPool, order: Order) -> Prosody | None:
    pieces = [piece.pcm async for piece in pool.speak(order)]
    pcm = np.frombuffer(b"".join(pieces), dtype=np.int16).astype(np.float32) / 32768.0
    return measure_speech(pcm, SAMPLE_RATE_HZ)


async def main() -> None:
    pool = EspeakPool(1)
    await pool.start()
    for voice in VOICES:
        middle = await measure(pool, Order(voice=voice, text=TEXT))
        assert middle is not None
        for pitch in PITCHES:
            heard = await measure(pool, Order(voice=voice, text=TEXT, pitch=pitch))
            if heard is not None:
                ratio = heard.median_f0_hz / middle.median_f0_hz
                print(f"{voice:14} pitch {pitch:3} {heard.median_f0_hz:7.1f} Hz  x {ratio:.3f}")
        for rate_wpm in RATES_WPM:
            heard = await measure(pool, Order(voice=voice, text=TEXT, rate_wpm=rate_wpm))
            if heard is None:
                print(f"{voice:14} rate  {rate_wpm:3}   cannot be measured")
            else:
                product = heard.active_s * rate_wpm
                print(f"{voice:14} rate  {rate_wpm:3} {heard.active_s:7.2f} s  {product:7.0f}")
    await pool.close()


if __name__ == "__main__":
    asyncio.run(main())
