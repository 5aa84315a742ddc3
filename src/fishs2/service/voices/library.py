"""Stored voices and reference audio: what may be stored, and how it becomes a `Reference`."""

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from fishs2.advice import did_you_mean
from fishs2.audio.decode import DecodedAudio, decode_audio
from fishs2.audio.pcm import Resampler, silence
from fishs2.audio.voicing import MIN_VOICE_S, is_silent, measure_voice_s
from fishs2.engines.base import Reference
from fishs2.errors import BusyError, NotFoundError, StoreUnavailableError, UserError
from fishs2.service.voices.rules import MAX_COVER_BYTES, check_changes, check_id, check_new
from fishs2.store.failures import store_errors
from fishs2.store.voices.changes import NewVoice, VoiceChanges
from fishs2.store.voices.files import MAX_SAMPLE_BYTES, Voice, read_bytes
from fishs2.store.voices.store import VoiceStore

logger = logging.getLogger(__name__)

MAX_CACHE_BYTES = 64_000_000
"""Decoded references that are kept: 90 s at 44.1 kHz are 16 MB."""

_JOIN_PAUSE_S = 0.2
_NUM_THREADS = 2
"""Decoding is work for the CPU, and the engine needs cores too."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class VoiceLimits:
    """What may be cloned; seconds are of each audio file."""

    min_reference_s: float
    max_reference_s: float


class Voices:
    """The stored voices, and any other reference audio. Files are read and decoded in threads."""

    def __init__(
        self, store: VoiceStore, limits: VoiceLimits, *, roots: Sequence[Path] = ()
    ) -> None:
        """roots: folders that references may be read from by path."""
        self._store = store
        self._limits = limits
        self._roots = [root.resolve() for root in roots]
        self._threads: ThreadPoolExecutor | None = None
        # Bounded by MAX_CACHE_BYTES; used in the event loop only.
        self._cache: OrderedDict[tuple[object, ...], Reference] = OrderedDict()
        self.num_voices = 0
        """As of the last listing."""

    def close(self) -> None:
        """End the threads. No call may be in progress; the next one starts new threads."""
        if self._threads is not None:
            self._threads.shutdown()
            self._threads = None

    async def prepare(self, samples: Path) -> None:
        """Make the folder, with the voices in `samples`, or register what others put there.

        Never raises: a folder that cannot be written to may still be read.
        """
        try:
            await self._run(lambda: self._store.install(samples))
            await self._run(self._store.register_staged)
        except (StoreUnavailableError, BusyError) as error:
            logger.warning("%s", error.message)
        await self.refresh()

    async def refresh(self) -> None:
        """Count the voices again. Never raises."""
        try:
            await self.list()
        except StoreUnavailableError as error:
            logger.warning("%s", error.message)

    async def list(self) -> list[Voice]:
        """All voices, by id. Raises StoreUnavailableError, as all that follow may."""
        voices = await self._run(self._store.list)
        self.num_voices = len(voices)
        return voices

    async def find(self, name: str) -> Voice | None:
        """The voice of this id, or else of this name; `store.voices.lookup` has the rule."""
        return await self._run(lambda: self._store.find(name))

    async def add(self, new: NewVoice) -> Voice:
        """Store a voice, in place of the one that its id or name means.

        Refused, it changes nothing.

        Raises UserError `missing_files`, `invalid_audio`, `audio_too_long`,
        `reference_audio_too_short`, `invalid_voice`, `voice_exists` if the name that it is to have
        is another voice's, and BusyError.
        """
        checked = await self._check(new)
        voice = await self._run(lambda: self._store.add(checked))
        await self.refresh()
        return voice

    async def add_new(self, new: NewVoice) -> Voice:
        """Store a voice whose id and name are free. Raises as `add`."""
        checked = await self._check(new)
        voice = await self._run(lambda: self._store.add_new(checked))
        await self.refresh()
        return voice

    async def get(self, voice_id: str) -> Voice:
        """What `find` finds. Raises NotFoundError `voice_not_found`."""
        voice = await self.find(voice_id)
        return _found(voice, "" if voice else await self.suggest(voice_id))

    async def suggest(self, name: str, others: Iterable[str] = ()) -> str:
        """A clause with the voice that was meant, stored or one of `others`; "" for none."""
        stored = [word for each in await self.list() for word in (each.voice_id, each.name)]
        return await self._run(lambda: did_you_mean(name, [*others, *stored]))

    async def update(self, voice_id: str, changes: VoiceChanges) -> Voice:
        """Change a voice. Refused or failed, it changes nothing.

        Raises NotFoundError `voice_not_found`, UserError `invalid_voice` and `voice_exists`,
        BusyError.
        """
        voice = await self.get(voice_id)
        check_changes(changes, num_samples=len(voice.samples))
        return _found(await self._run(lambda: self._store.update(voice.voice_id, changes)))

    async def rename(self, voice_id: str, new_id: str) -> Voice:
        """Give a voice another name, and the id that comes of it.

        Raises NotFoundError `voice_not_found`, UserError `voice_exists` and `invalid_voice`,
        BusyError.
        """
        check_id(new_id)
        voice = await self.get(voice_id)
        return _found(await self._run(lambda: self._store.rename(voice.voice_id, new_id)))

    async def decode(self, audio: bytes) -> DecodedAudio:
        """Decode one audio file within the limits of a reference.

        Raises UserError `invalid_audio`, `audio_too_long`, `reference_audio_too_short`.
        """
        return await self._run(lambda: self._decode_file(audio))

    async def read_cover(self, voice: Voice) -> bytes | None:
        """The picture of a voice, if it has one."""
        path = self._store.cover_path(voice)
        if path is None:
            return None
        try:
            return await self._run(lambda: read_bytes(path, MAX_COVER_BYTES))
        except (StoreUnavailableError, ValueError):  # replaced at this moment, or no regular file
            return None

    async def remove(self, voice_id: str) -> Voice:
        """Delete a voice. Raises NotFoundError `voice_not_found`, BusyError."""
        found = await self.get(voice_id)
        voice = _found(await self._run(lambda: self._store.remove(found.voice_id)))
        await self.refresh()
        return voice

    async def reference(
        self, voice: Voice, transcript: str | None, *, needs_transcript: bool = True
    ) -> Reference:
        """A stored voice as engines take it. transcript: in place of the stored one, unless None.

        Costs nothing after its first use. Raises UserError `missing_prompt_text`,
        `invalid_reference_audio`, `reference_audio_too_short`, `audio_too_long`.
        """
        reference = await self._recall(voice, transcript, needs_transcript)
        if reference is not None:
            return reference
        # It is being replaced: the next state of it is taken as a whole.
        try:
            settled = await self._run(
                lambda: self._store.read_settled(voice.voice_id, MAX_SAMPLE_BYTES)
            )
        except ValueError as error:
            raise _unreadable("the stored audio cannot be read") from error
        if settled is None:
            raise _gone()
        fresh, audio = settled
        if audio is None:
            raise _unreadable("the stored audio is missing")
        text = _transcript_of(fresh, transcript, needs_transcript)
        return await self._decode_stored(fresh, audio, text)

    async def _recall(
        self, voice: Voice, transcript: str | None, needs_transcript: bool
    ) -> Reference | None:
        """The reference as of the voice's state; None if that state is no more."""
        text = _transcript_of(voice, transcript, needs_transcript)
        if not voice.samples:
            raise _unreadable("the stored voice has no audio")
        try:
            stamp = await self._run(lambda: self._store.sample_stamp(voice))
            if stamp is None:
                return None
            key = (stamp, text)
            if key not in self._cache:
                audio = await self._run(lambda: self._store.read_sample(voice, MAX_SAMPLE_BYTES))
                if audio is None:
                    return None
                self._keep(key, await self._decode_stored(voice, audio, text))
        except ValueError as error:
            raise _unreadable("the stored audio cannot be read") from error
        self._cache.move_to_end(key)
        return self._cache[key]

    async def _decode_stored(self, voice: Voice, audio: bytes, transcript: str) -> Reference:
        decoded = await self._decode(audio, transcript)
        if voice.is_flat:
            return decoded
        return replace(decoded, folder=self._store.sample_path(voice, voice.samples[0]).parent)

    async def join_references(self, parts: Sequence[tuple[bytes, str]]) -> Reference:
        """Audio files with their transcripts as one reference, in order, a breath between them.

        Raises UserError `invalid_reference_audio`, `reference_audio_too_short`, `audio_too_long`.
        """
        references = [await self._decode(audio, text) for audio, text in parts]
        if len(references) == 1:
            return references[0]
        return await self._run(lambda: self._join(references))

    async def read_reference_file(self, path: str) -> bytes:
        """Read a file that a request names, if it lies in one of the roots after links.

        Whatever is wrong, the error is the same, so that nothing can be found out about files
        elsewhere: UserError `invalid_reference_audio`.
        """
        try:
            return await self._run(lambda: self._read_in_roots(path))
        except (StoreUnavailableError, ValueError) as error:
            raise _unreadable(
                "it is missing, or not in a folder that FISHS2_REFERENCE_ROOTS allows"
            ) from error

    def _read_in_roots(self, path: str) -> bytes:
        real = Path(path).resolve(strict=True)
        if not any(real.is_relative_to(root) for root in self._roots):
            raise ValueError("it is outside the roots")
        return read_bytes(real, MAX_SAMPLE_BYTES)

    async def _decode(self, audio: bytes, transcript: str) -> Reference:
        def decode() -> Reference:
            decoded = self._decode_sample(audio)
            digest = hashlib.sha256(audio)
            digest.update(b"\0" + transcript.encode("utf-8", "surrogatepass"))
            return Reference(
                decoded.pcm, decoded.sample_rate_hz, transcript, key=digest.hexdigest()
            )

        try:
            return await self._run(decode)
        except UserError as error:
            if error.code != "invalid_audio":
                raise
            raise _unreadable(error.message) from error

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
        decoded = decode_audio(audio, max_seconds=self._limits.max_reference_s)
        seconds = len(decoded.pcm) / decoded.sample_rate_hz
        if seconds < self._limits.min_reference_s:
            raise UserError(
                f"the audio has {seconds:.2f} seconds; at least "
                f"{self._limits.min_reference_s:g} are needed",
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
        limit_s = self._limits.max_reference_s
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

    def _keep(self, key: tuple[object, ...], reference: Reference) -> None:
        self._cache[key] = reference
        while (
            len(self._cache) > 1
            and sum(kept.pcm.nbytes for kept in self._cache.values()) > MAX_CACHE_BYTES
        ):
            self._cache.popitem(last=False)

    async def _check(self, new: NewVoice) -> NewVoice:
        """The voice without empty files, if it may be stored."""
        new = replace(new, samples=tuple(s for s in new.samples if s.content))
        check_new(new)
        await self._run(lambda: self._check_audio(new))
        return new

    def _check_audio(self, new: NewVoice) -> None:
        for index, sample in enumerate(new.samples, start=1):
            try:
                self._decode_sample(sample.content)
            except UserError as error:
                raise UserError(
                    f"file {index}: {error.message}", code=error.code, param="files"
                ) from error

    async def _run(self, work: Callable[[], _T]) -> _T:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_NUM_THREADS, thread_name_prefix="fishs2-voices")
        with store_errors("voices"):
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _transcript_of(voice: Voice, transcript: str | None, needs_transcript: bool) -> str:
    """What is said in a stored voice's audio. Raises UserError `missing_prompt_text`.

    A request that gives a blank one has said that there is to be one, whatever the engine needs.
    """
    text = voice.transcript if transcript is None else transcript
    if text and text.strip():
        return text
    if transcript is None and not needs_transcript:
        return ""
    raise UserError(
        f"the voice {voice.voice_id} has no transcript: send reference_text with what is "
        f"said in its audio, or add it to the voice: PATCH /model/{voice.voice_id} with texts",
        code="missing_prompt_text",
        param="reference_text",
    )


def _found(voice: Voice | None, meant: str = "") -> Voice:
    if voice is None:
        raise NotFoundError(
            f"there is no stored voice of this id or name; GET /v1/voices lists them{meant}",
            code="voice_not_found",
            param="voice_id",
        )
    return voice


def _gone() -> NotFoundError:
    return NotFoundError(
        "the stored voice was deleted just now", code="voice_not_found", param="voice"
    )


def _unreadable(reason: str) -> UserError:
    return UserError(
        f"the reference audio cannot be used: {reason}",
        code="invalid_reference_audio",
        param="reference_audio",
    )
