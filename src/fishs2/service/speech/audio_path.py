"""From the engine's PCM to the bytes of an answer: effects, then resampling, then the codec.

One path for each answer, however many utterances it has, so that borders between them cannot be
heard.
"""

import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from fishs2.audio.effects import EffectChain, Effects
from fishs2.audio.encode import AudioEncoder, FileEncoder, StreamEncoder
from fishs2.audio.formats import AudioFormat
from fishs2.audio.loudness import StreamLoudness, WholeLoudness
from fishs2.audio.pcm import Pcm, Resampler
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
    ) -> "AudioPath":
        """A path whose bytes come as the sound does. in_hand: of whoever listens."""
        chain = EffectChain(effects, self._engine_rate_hz, loudness=StreamLoudness)
        path = self._path(audio_format, effects, chain, StreamEncoder(audio_format), lambda: True)
        path.in_hand = in_hand
        return path

    @asynccontextmanager
    async def file(
        self, audio_format: AudioFormat, effects: Effects
    ) -> AsyncGenerator[tuple["AudioPath", Sound]]:
        """A path that gives nothing and makes one file, complete after its flush, in this block."""
        file, kept = Spool(self._temp_dir), Spool(self._temp_dir)
        try:
            loudness = partial(WholeLoudness, kept=kept)
            chain = EffectChain(effects, self._engine_rate_hz, loudness=loudness)
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
        resampler = Resampler(rate_hz, audio_format.sample_rate_hz)
        path = AudioPath(
            chain,
            resampler,
            encoder,
            engine_rate_hz=rate_hz,
            coding=self._coding,
            is_light=lambda: is_cheap and is_light(),
        )
        path.speed = effects.speed
        return path

    def close(self) -> None:
        """End the threads. No path may be in use."""
        self._coding.close()


class AudioPath:
    """Takes the PCM of one answer, in order; one call at a time.

    speed: how much faster the sound becomes. in_hand: of whoever listens; who has the least goes
    first. audio_s: seconds of sound so far, after the effects. has_sound: whether the engine has
    given any.
    """

    def __init__(
        self,
        effects: EffectChain,
        resampler: Resampler,
        encoder: AudioEncoder,
        *,
        engine_rate_hz: int,
        coding: CodingThreads,
        is_light: Callable[[], bool],
    ) -> None:
        """coding: where the work is done that is not light."""
        self._effects = effects
        self._resampler = resampler
        self._encoder = encoder
        self._engine_rate_hz = engine_rate_hz
        self._coding = coding
        self._is_light = is_light
        self.speed = 1.0
        self.in_hand: SoundInHand = nothing_in_hand
        self.audio_s = 0.0
        self.has_sound = False

    async def encode(self, pcm: Pcm) -> bytes:
        """Return what the codec has ready after float32 [n] more of the engine."""
        self.has_sound = self.has_sound or len(pcm) > 0
        if self._is_light():
            return self._apply(pcm)
        return await self._coding.run(lambda: self._apply(pcm), self.in_hand)

    async def flush(self) -> bytes:
        """Return the rest. Nothing may follow."""
        if self._is_light():
            return self._finish()
        return await self._coding.run(self._finish, self.in_hand)

    def _apply(self, pcm: Pcm) -> bytes:
        return self._encode(self._effects.apply(pcm))

    def _finish(self) -> bytes:
        rest = b"".join([self._encode(pcm) for pcm in self._effects.drain()])
        rest += self._encoder.encode(self._resampler.flush())
        return rest + self._encoder.flush()

    def _encode(self, pcm: Pcm) -> bytes:
        self.audio_s += len(pcm) / self._engine_rate_hz
        return self._encoder.encode(self._resampler.resample(pcm))
