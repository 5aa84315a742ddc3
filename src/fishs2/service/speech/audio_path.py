"""From the engine's PCM to the bytes of an answer: effects, then resampling, then the codec.

One path for each answer, however many utterances it has, so that borders between them cannot be
heard.
"""

import asyncio
import os
from concurrent.futures import Executor, ThreadPoolExecutor

from fishs2.audio.effects import EffectChain, Effects
from fishs2.audio.encode import AudioEncoder, FileEncoder, StreamEncoder
from fishs2.audio.formats import AudioFormat
from fishs2.audio.loudness import StreamLoudness, WholeLoudness
from fishs2.audio.pcm import Pcm, Resampler


class AudioPaths:
    """Makes the paths of one started engine; they share its threads. For one event loop."""

    def __init__(self, engine_rate_hz: int) -> None:
        self._engine_rate_hz = engine_rate_hz
        # Codecs and filters release the GIL; more threads than cores would only add latency.
        self._threads = ThreadPoolExecutor(
            max_workers=os.cpu_count(), thread_name_prefix="fishs2-audio"
        )

    def stream(self, audio_format: AudioFormat, effects: Effects) -> "AudioPath":
        """A path whose bytes come as the sound does."""
        chain = EffectChain(effects, self._engine_rate_hz, loudness=StreamLoudness)
        return self._path(audio_format, effects, chain, StreamEncoder(audio_format))

    def file(self, audio_format: AudioFormat, effects: Effects) -> "AudioPath":
        """A path that gives one complete file, at its flush."""
        chain = EffectChain(effects, self._engine_rate_hz, loudness=WholeLoudness)
        return self._path(audio_format, effects, chain, FileEncoder(audio_format))

    def _path(
        self, audio_format: AudioFormat, effects: Effects, chain: EffectChain, encoder: AudioEncoder
    ) -> "AudioPath":
        rate_hz = self._engine_rate_hz
        # 16-bit integers of a chunk take 0.1 ms; to hand it to a thread costs more.
        is_light = (
            audio_format.name in ("wav", "pcm")
            and audio_format.sample_rate_hz == rate_hz
            and effects == Effects()
        )
        resampler = Resampler(rate_hz, audio_format.sample_rate_hz)
        threads = None if is_light else self._threads
        path = AudioPath(chain, resampler, encoder, engine_rate_hz=rate_hz, threads=threads)
        path.speed = effects.speed
        return path

    def close(self) -> None:
        """End the threads. No path may be in use."""
        self._threads.shutdown()


class AudioPath:
    """Takes the PCM of one answer, in order; one call at a time.

    speed: how much faster the sound becomes. audio_s: seconds of it so far, after the effects.
    has_sound: whether the engine has given any.
    """

    def __init__(
        self,
        effects: EffectChain,
        resampler: Resampler,
        encoder: AudioEncoder,
        *,
        engine_rate_hz: int,
        threads: Executor | None,
    ) -> None:
        """threads: where the work is done; None does it at once."""
        self._effects = effects
        self._resampler = resampler
        self._encoder = encoder
        self._engine_rate_hz = engine_rate_hz
        self._threads = threads
        self.speed = 1.0
        self.audio_s = 0.0
        self.has_sound = False

    async def encode(self, pcm: Pcm) -> bytes:
        """Return what the codec has ready after float32 [n] more of the engine."""
        self.has_sound = self.has_sound or len(pcm) > 0
        if self._threads is None:
            return self._apply(pcm)
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._apply, pcm)

    async def flush(self) -> bytes:
        """Return the rest. Nothing may follow."""
        if self._threads is None:
            return self._finish()
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._finish)

    def _apply(self, pcm: Pcm) -> bytes:
        return self._encode(self._effects.apply(pcm))

    def _finish(self) -> bytes:
        rest = self._encode(self._effects.flush())
        rest += self._encoder.encode(self._resampler.flush())
        return rest + self._encoder.flush()

    def _encode(self, pcm: Pcm) -> bytes:
        self.audio_s += len(pcm) / self._engine_rate_hz
        return self._encoder.encode(self._resampler.resample(pcm))
