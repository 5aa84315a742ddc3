"""Stored voices and reference audio: what may be stored, and how it becomes a `Reference`."""

import asyncio
import logging
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from fishs2.advice import did_you_mean
from fishs2.audio.decode import DecodedAudio
from fishs2.audio.decoder import Decoder
from fishs2.engines.base import Reference
from fishs2.errors import BusyError, NotFoundError, StoreUnavailableError, UserError
from fishs2.service.threads import Threads
from fishs2.service.voices.decoding import ReferenceDecoder, unusable
from fishs2.service.voices.doctor import Doctor
from fishs2.service.voices.hearing import Hearing
from fishs2.service.voices.rules import MAX_COVER_BYTES, check_changes, check_id, check_new
from fishs2.store.failures import store_errors
from fishs2.store.voices.changes import NewVoice, VoiceChanges
from fishs2.store.voices.files import MAX_SAMPLE_BYTES, Voice, read_bytes
from fishs2.store.voices.store import VoiceStore

logger = logging.getLogger(__name__)

MAX_CACHE_BYTES = 64_000_000
"""Decoded references that are kept: 90 s at 44.1 kHz are 16 MB."""

_NUM_FILE_THREADS = 4
"""They wait for disks: a slow read or write must not hold up the look-ups."""

_LOOK_EVERY_S = 1.0
_IN_USE_S = 60.0
"""So long after a look-up the folder is watched, so that none has to read it all."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class VoiceLimits:
    """What may be cloned; seconds are of each audio file."""

    min_reference_s: float
    max_reference_s: float


class Voices:
    """The stored voices, and any other reference audio. Files are read and decoded in threads."""

    def __init__(
        self,
        store: VoiceStore,
        limits: VoiceLimits,
        *,
        roots: Sequence[Path] = (),
        decoder: Decoder | None = None,
        hearing: Hearing | None = None,
    ) -> None:
        """roots: folders that references may be read from by path. decoder: `close` closes it.
        hearing: gives transcripts to voices that have none.
        """
        self._store = store
        self._limits = limits
        self._roots = [root.resolve() for root in roots]
        # Their queues are as short as the number of requests: each has one piece of work in one.
        # Nothing that has to be decoded is in the way of a look-up.
        self._files = Threads(_NUM_FILE_THREADS, "fishs2-voices")
        self._decoder = ReferenceDecoder(
            decoder or Decoder(), limits.min_reference_s, limits.max_reference_s
        )
        self._hearing = hearing
        self.doctor = Doctor(self._decoder, hearing)
        self._watching: asyncio.Task[None] | None = None
        self._asked_s = -math.inf
        # Bounded by MAX_CACHE_BYTES; used in the event loop only.
        self._cache: OrderedDict[tuple[object, ...], Reference] = OrderedDict()
        self.num_voices = 0
        """As of the last listing."""

    async def close(self) -> None:
        """End threads and processes. No call may be in progress; the next one starts new ones."""
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None
        self._files.close()
        await self._decoder.close()

    @property
    def num_decoder_restarts(self) -> int:
        """How often a process that decodes was lost and replaced."""
        return self._decoder.num_restarts

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

    async def _list(self) -> list[Voice]:
        voices = await self._run(self._store.list)
        self.num_voices = len(voices)
        return voices

    async def refresh(self) -> None:
        """Count the voices again. Never raises."""
        try:
            await self._list()
        except StoreUnavailableError as error:
            logger.warning("%s", error.message)

    async def list(self) -> list[Voice]:
        """All voices, by id. Raises StoreUnavailableError, as all that follow may."""
        self._watch()
        return await self._list()

    async def find(self, name: str) -> Voice | None:
        """The voice of this id, or else of this name; `store.voices.lookup` has the rule."""
        self._watch()
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
        return await self._run(lambda: self._suggest(name, others))

    def _suggest(self, name: str, others: Iterable[str]) -> str:
        stored = [word for each in self._store.list() for word in (each.voice_id, each.name)]
        return did_you_mean(name, [*others, *stored])

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
        return await self._decoder.decode(audio)

    async def read_recording(self, voice: Voice) -> bytes:
        """The file of the reference of a voice.

        Raises UserError `invalid_reference_audio`, NotFoundError for a voice that is gone.
        """
        try:
            audio = await self._run(lambda: self._store.read_sample(voice, MAX_SAMPLE_BYTES))
        except (ValueError, IndexError) as error:
            raise unusable("the stored audio cannot be read") from error
        if audio is None:
            raise _gone()
        return audio

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
        if needs_transcript and transcript is None and not voice.transcript and voice.samples:
            voice = await self._with_transcript(voice)
        reference = await self._recall(voice, transcript, needs_transcript)
        if reference is not None:
            return reference
        # It is being replaced: the next state of it is taken as a whole.
        try:
            settled = await self._run(
                lambda: self._store.read_settled(voice.voice_id, MAX_SAMPLE_BYTES)
            )
        except ValueError as error:
            raise unusable("the stored audio cannot be read") from error
        if settled is None:
            raise _gone()
        fresh, audio = settled
        if audio is None:
            raise unusable("the stored audio is missing")
        text = _transcript_of(fresh, transcript, needs_transcript)
        return await self._decode_stored(fresh, audio, text)

    async def _with_transcript(self, voice: Voice) -> Voice:
        """A voice that was stored without a transcript, as it is once it has been heard."""
        if self._hearing is None or not self._hearing.can_listen:
            return voice
        with suppress(ValueError):  # what cannot be read is said by whoever wants the reference
            # Somebody may just be writing to it, as the start does: it is taken as a whole.
            settled = await self._run(
                lambda: self._store.read_settled(voice.voice_id, MAX_SAMPLE_BYTES)
            )
            if settled is None or settled[1] is None:
                return voice
            voice, audio = settled[0], settled[1]
            if voice.transcript:
                return voice
            text = await self._hear(await self._decoder.check(audio), voice.language)
            if text is not None:
                changes = VoiceChanges(transcripts=(text,), is_heard=True)
                updated = await self._run(lambda: self._store.update(voice.voice_id, changes))
                return await self.get(voice.voice_id) if updated else voice
        return voice

    async def _recall(
        self, voice: Voice, transcript: str | None, needs_transcript: bool
    ) -> Reference | None:
        """The reference as of the voice's state; None if that state is no more."""
        text = _transcript_of(voice, transcript, needs_transcript)
        if not voice.samples:
            raise unusable("the stored voice has no audio")
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
            raise unusable("the stored audio cannot be read") from error
        self._cache.move_to_end(key)
        return self._cache[key]

    async def _decode_stored(self, voice: Voice, audio: bytes, transcript: str) -> Reference:
        decoded = await self._decoder.refer(audio, transcript)
        if voice.is_flat:
            return decoded
        return replace(decoded, folder=self._store.sample_path(voice, voice.samples[0]).parent)

    async def join_references(self, parts: Sequence[tuple[bytes, str]]) -> Reference:
        """Audio files with their transcripts as one reference, in order, a breath between them.

        Raises UserError `invalid_reference_audio`, `reference_audio_too_short`, `audio_too_long`.
        """
        return await self._decoder.join([await self._decoder.refer(*part) for part in parts])

    async def read_reference_file(self, path: str) -> bytes:
        """Read a file that a request names, if it lies in one of the roots after links.

        Whatever is wrong, the error is the same, so that nothing can be found out about files
        elsewhere: UserError `invalid_reference_audio`.
        """
        try:
            return await self._run(lambda: self._read_in_roots(path))
        except (StoreUnavailableError, ValueError) as error:
            raise unusable(
                "it is missing, or not in a folder that FISHS2_REFERENCE_ROOTS allows"
            ) from error

    def _read_in_roots(self, path: str) -> bytes:
        real = Path(path).resolve(strict=True)
        if not any(real.is_relative_to(root) for root in self._roots):
            raise ValueError("it is outside the roots")
        return read_bytes(real, MAX_SAMPLE_BYTES)

    def _keep(self, key: tuple[object, ...], reference: Reference) -> None:
        self._cache[key] = reference
        while (
            len(self._cache) > 1
            and sum(kept.pcm.nbytes for kept in self._cache.values()) > MAX_CACHE_BYTES
        ):
            self._cache.popitem(last=False)

    async def _check(self, new: NewVoice) -> NewVoice:
        """The voice without empty files, if it may be stored; heard, if it has no transcript."""
        new = replace(new, samples=tuple(s for s in new.samples if s.content))
        check_new(new)
        for index, sample in enumerate(new.samples, start=1):
            try:
                decoded = await self._decoder.check(sample.content)
            except UserError as error:
                raise UserError(
                    f"file {index}: {error.message}", code=error.code, param="files"
                ) from error
            if index == 1 and not (sample.transcript or new.transcript or "").strip():
                text = await self._hear(decoded, new.language)
                if text is not None:
                    new = replace(new, transcript=text, is_heard=True)
        return new

    async def _hear(self, decoded: DecodedAudio, language: str | None) -> str | None:
        if self._hearing is None:
            return None
        return await self._hearing.transcript_of(decoded, language)

    def _watch(self) -> None:
        """Keep what is known of the folder young, for as long as somebody asks."""
        self._asked_s = asyncio.get_running_loop().time()
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._look_often())

    async def _look_often(self) -> None:
        loop = asyncio.get_running_loop()
        while loop.time() - self._asked_s < _IN_USE_S:
            await asyncio.sleep(_LOOK_EVERY_S)
            # Whoever asks meets the same error by themselves.
            with suppress(StoreUnavailableError):
                await self._run(self._store.refresh)

    async def _run(self, work: Callable[[], _T]) -> _T:
        with store_errors("voices"):
            return await self._files.run(work)


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
