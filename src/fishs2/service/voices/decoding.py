"""Reference audio from the bytes of files: decoded in other processes, measured in threads.

Nothing else waits for either: a look-up is never behind audio that takes long to decode.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from fishs2.audio.checkup import Finding, examine
from fishs2.audio.decode import DecodedAudio
from fishs2.audio.decoder import Decoder
from fishs2.audio.pcm import Resampler, silence
from fishs2.audio.voicing import MIN_VOICE_S, is_silent, measure_voice_s
from fishs2.engines.base import Reference
from fishs2.errors import UserError
from fishs2.service.threads import Threads

_JOIN_PAUSE_S = 0.2
_NUM_THREADS = 2
"""Measuring is work for the CPU, and the engine needs cores too."""


class ReferenceDecoder:
    """Decodes within the limits of references. For one event loop."""

    def __init__(self, decoder: Decoder, min_s: float, max_s: float) -> None:
        """min_s, max_s: seconds of each file, and of what is joined."""
        self._decoder = decoder
        self._min_s = min_s
        self._max_s = max_s
        self._threads = Threads(_NUM_THREADS, "fishs2-decoding")

    async def close(self) -> None:
        """End processes and threads; no call may be in progress."""
        await self._decoder.close()
        self._threads.close()

    @property
    def num_restarts(self) -> int:
        """How often a decoding process was lost and replaced."""
        return self._decoder.num_restarts

    async def decode(self, audio: bytes) -> DecodedAudio:
        """Decode one file within the limits.

        Raises UserError `invalid_audio`, `audio_too_long`, `reference_audio_too_short`; BusyError,
        EngineUnavailableError and ShutdownError as `Decoder` does.
        """
        decoded = await self._decoder.decode(audio, max_seconds=self._max_s)
        seconds = len(decoded.pcm) / decoded.sample_rate_hz
        if seconds < self._min_s:
            raise UserError(
                f"the audio has {seconds:.2f} seconds; at least {self._min_s:g} are needed",
                code="reference_audio_too_short",
                param="reference_audio",
            )
        return decoded

    async def check(self, audio: bytes) -> DecodedAudio:
        """As `decode`; raises UserError `invalid_audio` where nobody speaks, too."""
        decoded = await self.decode(audio)
        await self._threads.run(lambda: _check_voice(decoded))
        return decoded

    async def examine(self, recording: DecodedAudio) -> list[Finding]:
        """What the sound of a recording is like as a reference."""
        return await self._threads.run(lambda: examine(recording.pcm, recording.sample_rate_hz))

    async def refer(self, audio: bytes, transcript: str) -> Reference:
        """One file as a reference. Raises UserError: `decode` has the codes, with
        `invalid_reference_audio` for `invalid_audio`.
        """

        try:
            decoded = await self.check(audio)
        except UserError as error:
            if error.code != "invalid_audio":
                raise
            raise unusable(error.message) from error
        key = await self._threads.run(lambda: _digest(audio, transcript))
        return Reference(decoded.pcm, decoded.sample_rate_hz, transcript, key=key)

    async def join(self, references: Sequence[Reference]) -> Reference:
        """References as one, in order, a breath between them. Raises UserError `audio_too_long`."""
        if len(references) == 1:
            return references[0]
        return await self._threads.run(lambda: self._join(references))

    def _join(self, references: Sequence[Reference]) -> Reference:
        rate_hz = references[0].sample_rate_hz
        pieces = []
        for reference in references:
            resampler = Resampler(reference.sample_rate_hz, rate_hz)
            pieces += [resampler.resample(reference.pcm), resampler.flush()]
            pieces.append(silence(_JOIN_PAUSE_S, rate_hz))
        pcm = np.concatenate(pieces[:-1])
        limit_s = self._max_s
        if len(pcm) > limit_s * rate_hz:
            raise UserError(
                f"the references have {len(pcm) / rate_hz:.1f} seconds in all; the limit is "
                f"{limit_s:g}",
                code="audio_too_long",
                param="references",
            )
        keys = "".join(reference.key for reference in references)
        return Reference(
            pcm,
            rate_hz,
            " ".join(reference.transcript.strip() for reference in references),
            key=hashlib.sha256(keys.encode()).hexdigest(),
        )


def _check_voice(decoded: DecodedAudio) -> None:
    """Raise UserError `invalid_audio` where nobody speaks."""
    voice_s = measure_voice_s(decoded.pcm, decoded.sample_rate_hz)
    if voice_s < MIN_VOICE_S:
        seconds = len(decoded.pcm) / decoded.sample_rate_hz
        found = "silence" if is_silent(decoded.pcm) else f"{voice_s:.2f} s of a voice"
        raise UserError(
            f"there is no speech in the audio: in its {seconds:.3g} s is {found}, and "
            f"{MIN_VOICE_S:g} s of one are needed; send a clear recording of one person "
            "speaking",
            code="invalid_audio",
        )


def _digest(audio: bytes, transcript: str) -> str:
    digest = hashlib.sha256(audio)
    digest.update(b"\0" + transcript.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def unusable(reason: str) -> UserError:
    """What is said of reference audio that is no use."""
    return UserError(
        f"the reference audio cannot be used: {reason}",
        code="invalid_reference_audio",
        param="reference_audio",
    )
