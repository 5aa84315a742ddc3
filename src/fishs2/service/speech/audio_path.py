"""From the engine's PCM to the bytes of an answer: effects, then resampling, then the codec.

One path for each answer, however many utterances it has, so that borders between them cannot be
heard.
"""

import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import numpy as np

from fishs2.audio.effects import EffectChain, Effects
from fishs2.audio.encode import AudioEncoder, FileEncoder, StreamEncoder
from fishs2.audio.formats import AudioFormat
from fishs2.audio.loudness import StreamLoudness, WholeLoudness
from fishs2.audio.pcm import Pcm, Resampler
from fishs2.audio.rests import Rests
from fishs2.service.speech.admission import SoundInHand, nothing_in_hand
from fishs2.service.speech.coding import CodingThreads
from fishs2.service.speech.sound import Sound
from fishs2.store.spool import Spool


class AudioPaths:
    """Makes the paths of one started engine; they share its threads. For one event loop."""

    def __init__(self, engine_rate_hz: int, *, temp_dir: Path) -> None:
        """temp_dir: where whole files are that are too large for memory."""
        self._engine_rate_hz = engine_rate_hz
        self._temp_dir = temp_dir
        # Codecs and filters release the GIL; more threads than cores would only add latency.
        self._coding = CodingThreads(os.cpu_count() or 1)

    def stream(
        self,
        audio_format: AudioFormat,
        effects: Effects,
        *,
        in_hand: SoundInHand = nothing_in_hand,
        has_louder_parts: bool = False,
    ) -> "AudioPath":
        """A path whose bytes come as the sound does.

        in_hand: of whoever listens. has_louder_parts: `turn` may ask for them.
        """
        chain = EffectChain(
            effects,
            self._engine_rate_hz,
            loudness=StreamLoudness,
            has_louder_parts=has_louder_parts,
        )
        path = self._path(audio_format, effects, chain, StreamEncoder(audio_format), lambda: True)
        path.in_hand = in_hand
        return path

    @asynccontextmanager
    async def file(
        self, audio_format: AudioFormat, effects: Effects, *, has_louder_parts: bool = False
    ) -> AsyncGenerator[tuple["AudioPath", Sound]]:
        """A path that gives nothing and makes one file, complete after its flush, in this block."""
        file, kept = Spool(self._temp_dir), Spool(self._temp_dir)
        try:
            loudness = partial(WholeLoudness, kept=kept)
            chain = EffectChain(
                effects,
                self._engine_rate_hz,
                loudness=loudness,
                has_louder_parts=has_louder_parts,
            )
            encoder = FileEncoder(audio_format, file)
            path = self._path(audio_format, effects, chain, encoder, lambda: file.is_light)
            yield path, Sound(file, self._coding.threads)
        finally:
            for spool in (file, kept):
                if spool.is_light:
                    spool.close()
                else:
                    # The disk has to free it, and a thread may still be at work on it.
                    self._coding.threads.submit(spool.close)

    def _path(
        self,
        audio_format: AudioFormat,
        effects: Effects,
        chain: EffectChain,
        encoder: AudioEncoder,
        is_light: Callable[[], bool],
    ) -> "AudioPath":
        """is_light: whether what the encoder gives is no work for a disk."""
        rate_hz = self._engine_rate_hz
        # 16-bit integers of a chunk take 0.1 ms; to hand it to a thread costs more.
        is_cheap = (
            audio_format.name in ("wav", "pcm")
            and audio_format.sample_rate_hz == rate_hz
            and effects == Effects()
        )
        return AudioPath(
            chain,
            Resampler(rate_hz, audio_format.sample_rate_hz),
            encoder,
            rates_hz=(rate_hz, audio_format.sample_rate_hz),
            coding=self._coding,
            is_light=lambda: is_cheap and is_light(),
        )

    def close(self) -> None:
        """End the threads. No path may be in use."""
        self._coding.close()


class AudioPath:
    """Takes the PCM of one answer, in order; one call at a time.

    in_hand: of whoever listens; who has the least goes first.
    audio_s: seconds of the sound so far, after the effects. has_sound: whether the engine has given
    any. Rests go past the effects and the resampler, which never hear of them: the speech around a
    rest sounds as it would without, and a rest is as long as it was asked for, to the sample.
    """

    def __init__(
        self,
        effects: EffectChain,
        resampler: Resampler,
        encoder: AudioEncoder,
        *,
        rates_hz: tuple[int, int],
        coding: CodingThreads,
        is_light: Callable[[], bool],
    ) -> None:
        """rates_hz: of the engine and of the answer. coding: where what is not light is done."""
        self._effects = effects
        self._resampler = resampler
        self._encoder = encoder
        self._engine_rate_hz, self._rate_hz = rates_hz
        self._rests = Rests()
        self._coding = coding
        self._is_light = is_light
        self._has_turned = False
        self.in_hand: SoundInHand = nothing_in_hand
        self.audio_s = 0.0
        self.has_sound = False

    @property
    def speed(self) -> float:
        """How much faster the sound becomes that comes."""
        return self._effects.speed

    async def encode(self, pcm: Pcm) -> bytes:
        """Return what the codec has ready after float32 [n] more of the engine."""
        self.has_sound = self.has_sound or len(pcm) > 0
        return await self._do(partial(self._apply, pcm))

    async def rest(self, seconds: float) -> bytes:
        """Return what it has ready after silence of so many seconds, which no effect changes."""
        return await self._do(partial(self._rest, seconds))

    async def turn(self, *, speed: float, volume_db: float) -> bytes:
        """The same after a part has ended; one begins that is so much faster and louder."""
        self._has_turned = True
        return await self._do(partial(self._turn, speed, volume_db))

    async def flush(self) -> bytes:
        """Return the rest. Nothing may follow."""
        return await self._do(self._finish)

    async def _do(self, work: Callable[[], bytes]) -> bytes:
        if self._is_light() and not self._has_turned:
            return work()
        return await self._coding.run(work, self.in_hand)

    def _rest(self, seconds: float) -> bytes:
        ready = self._encode(self._effects.cut())
        at = round(self._effects.num_samples * self._rate_hz / self._engine_rate_hz)
        self._rests.add(at, round(seconds * self._rate_hz))
        self.audio_s += seconds
        return ready + self._join(np.zeros(0, np.float32))

    def _turn(self, speed: float, volume_db: float) -> bytes:
        return self._encode(self._effects.turn(speed=speed, volume_db=volume_db))

    def _apply(self, pcm: Pcm) -> bytes:
        return self._encode(self._effects.apply(pcm))

    def _finish(self) -> bytes:
        rest = b"".join([self._encode(pcm) for pcm in self._effects.drain()])
        rest += self._join(self._resampler.flush())
        rest += b"".join([self._encoder.encode(silence) for silence in self._rests.end()])
        return rest + self._encoder.flush()

    def _encode(self, pcm: Pcm) -> bytes:
        self.audio_s += len(pcm) / self._engine_rate_hz
        return self._join(self._resampler.resample(pcm))

    def _join(self, pcm: Pcm) -> bytes:
        return b"".join([self._encoder.encode(piece) for piece in self._rests.follow(pcm)])
