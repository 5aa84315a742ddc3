"""Reference audio from the bytes of files: decoded, measured and joined in threads of its own.

Nothing else waits for these threads: a look-up is never behind audio that takes long to decode.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from fishs2.audio.decode import DecodedAudio, decode_audio
from fishs2.audio.pcm import Resampler, silence
from fishs2.audio.voicing import MIN_VOICE_S, is_silent, measure_voice_s
from fishs2.engines.base import Reference
from fishs2.errors import UserError
from fishs2.service.threads import Threads

_JOIN_PAUSE_S = 0.2
_NUM_THREADS = 2
"""Decoding is work for the CPU, and the engine needs cores too."""


class ReferenceDecoder:
    """Decodes within the limits of references. For one event loop."""

    def __init__(self, min_s: float, max_s: float) -> None:
        """min_s, max_s: seconds of each file, and of what is joined."""
        self._min_s = min_s
        self._max_s = max_s
        self._threads = Threads(_NUM_THREADS, "fishs2-decoding")

    def close(self) -> None:
        """End the threads; no call may be in progress."""
        self._threads.close()

    async def decode(self, audio: bytes) -> DecodedAudio:
        """Decode one file.

        Raises UserError `invalid_audio`, `audio_too_long`, `reference_audio_too_short`.
        """
        return await self._threads.run(lambda: self._decode_file(audio))

    async def check(self, audio: bytes) -> None:
        """Raise what `decode` raises, and UserError `invalid_audio` where nobody speaks."""
        await self._threads.run(lambda: self._decode_sample(audio))

    async def refer(self, audio: bytes, transcript: str) -> Reference:
        """One file as a reference. Raises UserError: `decode` has the codes, with
        `invalid_reference_audio` for `invalid_audio`.
        """

        def decode() -> Reference:
            decoded = self._decode_sample(audio)
            digest = hashlib.sha256(audio)
            digest.update(b"\0" + transcript.encode("utf-8", "surrogatepass"))
            return Reference(
                decoded.pcm, decoded.sample_rate_hz, transcript, key=digest.hexdigest()
            )

        try:
            return await self._threads.run(decode)
        except UserError as error:
            if error.code != "invalid_audio":
                raise
            raise unusable(error.message) from error

    async def join(self, references: Sequence[Reference]) -> Reference:
        """References as one, in order, a breath between them. Raises UserError `audio_too_long`."""
        if len(references) == 1:
            return references[0]
        return await self._threads.run(lambda: self._join(references))

    def _decode_sample(self, audio: bytes) -> DecodedAudio:
        """Decode one file that has a voice in it, within the limits. Raises UserError."""
        decoded = self._decode_file(audio)
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
        return decoded

    def _decode_file(self, audio: bytes) -> DecodedAudio:
        """Decode one file within the limits. Raises UserError."""
        decoded = decode_audio(audio, max_seconds=self._max_s)
        seconds = len(decoded.pcm) / decoded.sample_rate_hz
        if seconds < self._min_s:
            raise UserError(
                f"the audio has {seconds:.2f} seconds; at least {self._min_s:g} are needed",
                code="reference_audio_too_short",
                param="reference_audio",
            )
        return decoded

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


def unusable(reason: str) -> UserError:
    """What is said of reference audio that is no use."""
    return UserError(
        f"the reference audio cannot be used: {reason}",
        code="invalid_reference_audio",
        param="reference_audio",
    )
