"""A body of the OpenAI dialect becomes a `SpeechRequest`: which field wins, and which are refused.

Sources: OpenAI API reference, createSpeech; the original wrapper's order of checks and precedence.
"""

import re
from collections.abc import Iterator
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from fishs2.advice import did_you_mean
from fishs2.audio.effects import Effects
from fishs2.audio.formats import FORMATS
from fishs2.engines.base import Sampling
from fishs2.errors import NotFoundError, UserError
from fishs2.server.dialects.openai.body import (
    CastVoice,
    Prosody,
    ReferenceBody,
    SamplingBody,
    SpeechBody,
)
from fishs2.server.dialects.openai.instructions import Overrides, read_overrides
from fishs2.server.edge.fields import MAX_REFERENCES
from fishs2.server.edge.json_body import decode_base64
from fishs2.server.edge.words import to_words
from fishs2.server.options import ServerOptions
from fishs2.service.speech.request import SpeechRequest
from fishs2.service.voices.choice import GivenReference, SpeakerVoice
from fishs2.text.directing.names import MAX_NAME_CHARS, tidy_name
from fishs2.text.splitting.silences import Silences

_OPENAI_MODEL = re.compile(
    r"(?:tts-1|tts-1-hd|gpt-4o-mini-tts)(?:-\d{4}(?:-?\d{2}-?\d{2})?|-latest|-preview)?"
    r"|(?:gpt-4o-|gpt-4o-mini-|gpt-)realtime(?:-[a-z0-9.\-]+)?"
)
"""Names that OpenAI clients send for lack of another, with the dates that OpenAI gives its models.
Source: OpenAI API reference, models."""

OWNER_PREFIXES = ("fishaudio/", "fish-audio/")

_T = TypeVar("_T")


def to_speech_request(body: SpeechBody, options: ServerOptions, request_id: str) -> SpeechRequest:
    """Translate the dialect into ours. Raises UserError in the contract's order of checks."""
    audio_format = _format(body, options)
    overrides = read_overrides(body.instructions)
    effects = _effects(body, options)
    find_model(body.model, options)
    over = overrides or Overrides()
    given = body.fishs2 or SamplingBody()
    return SpeechRequest(
        dialect="openai",
        request_id=request_id,
        text=body.input,
        voice=body.voice if isinstance(body.voice, str) else body.voice.id,
        references=_references(body),
        transcript=_transcript(body, over),
        format=audio_format,
        sample_rate_hz=body.sample_rate,
        language=body.language,
        control=(over.control or "") if body.control is None else body.control,
        instructions="" if overrides else body.instructions or "",
        max_utterance_chars=body.chunk_length,
        emoji=body.emoji,
        text_cleaning=body.text_cleaning,
        text_type=body.text_type,
        timestamps=body.timestamps,
        captions=body.captions,
        verify=bool(body.verify),
        lexicons=tuple(body.lexicons or ()),
        pronunciations=to_words(body.pronunciations),
        cast=_cast(body),
        silences=Silences(body.pause_sentence, body.pause_line, body.pause_paragraph),
        latency=body.latency or "normal",
        effects=effects,
        sampling=_sampling(body, given, over.fishs2),
        num_threads=_first(given.n_threads, over.fishs2.n_threads),
        verbose=_first(given.verbose, over.fishs2.verbose),
        unasked=frozenset({"latency"} if body.latency is None else ()),
        unheeded=() if body.normalize is None else ("normalize",),
    )


def model_names(options: ServerOptions) -> list[str]:
    """The default model and its aliases, each once whatever its case."""
    names = (options.default_model, *options.model_aliases)
    return list({name.lower(): name for name in reversed(names)}.values())[::-1]


def find_model(name: str, options: ServerOptions) -> str:
    """Return the listed id that `name` means. Raises NotFoundError."""
    wanted = name.strip().lower()
    listed = {known.lower(): known for known in model_names(options)}
    for spelling in _spellings(wanted):
        if spelling in listed:
            return listed[spelling]
    if is_openai_model(wanted):
        return options.default_model
    raise NotFoundError(
        f"there is no such model; known are {', '.join(model_names(options))}"
        f"{did_you_mean(name, model_names(options))}",
        code="model_not_found",
        param="model",
    )


def is_openai_model(name: str) -> bool:
    """Whether OpenAI has, or had, a speech model of this name."""
    return _OPENAI_MODEL.fullmatch(name.strip().lower()) is not None


def _spellings(name: str) -> Iterator[str]:
    yield name
    for prefix in OWNER_PREFIXES:
        if name.startswith(prefix):
            yield name.removeprefix(prefix)


def _format(body: SpeechBody, options: ServerOptions) -> str:
    name = (body.response_format or "").strip().lower()
    if not name:
        if options.default_format is not None:
            return options.default_format
        return "mp3" if is_openai_model(body.model) and not options.strict_v1 else "wav"
    allowed = ("wav",) if options.strict_v1 else FORMATS
    if name not in allowed:
        raise UserError(
            f"the response format is not supported; supported are {', '.join(allowed)}",
            code="unsupported_format",
            param="response_format",
        )
    return name


def _effects(body: SpeechBody, options: ServerOptions) -> Effects:
    """What is done to the sound. A speed is applied once, however often it is given."""
    prosody = body.prosody or Prosody()
    speed = body.speed if body.speed != 1.0 else prosody.speed or 1.0
    if options.strict_v1 and speed != 1.0:
        raise UserError(
            f"speed is {speed:g}; with FISHS2_STRICT_V1 only 1.0 is supported",
            code="unsupported_speed",
            param="speed",
        )
    return Effects(
        speed=speed,
        volume_db=prosody.volume or 0.0,
        loudness_lufs=options.loudness_lufs if prosody.normalize_loudness else None,
    )


def _sampling(body: SpeechBody, given: SamplingBody, over: SamplingBody) -> Sampling:
    """`fishs2` wins over the top level, and both over `instructions`."""
    return Sampling(
        temperature=_first(given.temperature, body.temperature, over.temperature),
        top_p=_first(given.top_p, body.top_p, over.top_p),
        top_k=_first(given.top_k, body.top_k, over.top_k),
        repetition_penalty=body.repetition_penalty,
        max_new_tokens=_first(given.max_new_tokens, body.max_new_tokens, over.max_new_tokens),
        min_tokens_before_end=_first(given.min_tokens_before_end, over.min_tokens_before_end),
        seed=None if body.seed == -1 else body.seed,
    )


def _first(*values: _T | None) -> _T | None:
    return next((value for value in values if value is not None), None)


def _transcript(body: SpeechBody, over: Overrides) -> str | None:
    """The transcript that the request gives; "" if it gives a blank one, None if it gives none."""
    fields = (body.reference_text, body.ref_text, body.prompt_text)
    if all(text is None for text in fields):
        fields = (over.reference_text, over.prompt_text, None)
    given = [text for text in fields if text is not None]
    return next((text for text in given if text.strip()), "" if given else None)


def _references(body: SpeechBody) -> tuple[GivenReference, ...]:
    for audio in (body.reference_audio, body.prompt_audio, body.ref_audio):
        if audio is not None and audio.strip():
            return (_reference(audio.strip(), None),)
    if body.speaker_wav and body.speaker_wav[0].strip():
        return (_reference(body.speaker_wav[0].strip(), None),)
    return tuple(_one_reference(item) for item in body.references or ())


def _one_reference(item: ReferenceBody) -> GivenReference:
    if item.audio is not None:
        encoded = item.audio.partition(",")[2] if item.audio[:5] == "data:" else item.audio
        return GivenReference(content=_decode(encoded), transcript=item.text)
    if item.audio_path is not None:
        return _reference(item.audio_path.strip(), item.text)
    raise _invalid("an entry of references has neither audio nor audio_path")


def _cast(body: SpeechBody) -> tuple[tuple[str, SpeakerVoice], ...]:
    """Speakers and their voices. Raises UserError `invalid_cast`."""
    given = body.cast or {}
    names = [name.strip() for name in given]
    if len(names) > MAX_REFERENCES or len({*map(tidy_name, names)}) < len(names):
        raise _invalid_cast(f"it has {len(names)} names; the limit is {MAX_REFERENCES} different")
    for name in names:
        if not 1 <= len(name) <= MAX_NAME_CHARS or any(mark in name for mark in "[]:\n"):
            raise _invalid_cast(
                f"names have 1 to {MAX_NAME_CHARS} characters, no brackets or colons"
            )
    return tuple((name, _speaker(voice)) for name, voice in zip(names, given.values(), strict=True))


def _speaker(voice: str | CastVoice) -> SpeakerVoice:
    if isinstance(voice, str):
        return SpeakerVoice(voice)
    if voice.audio is not None or voice.audio_path is not None:
        return SpeakerVoice(voice.id or "", (_one_reference(voice),))
    if voice.id is None:
        raise _invalid_cast("a voice is a name, or an object with id, audio or audio_path")
    return SpeakerVoice(voice.id)


def _invalid_cast(reason: str) -> UserError:
    return UserError(f"the cast cannot be used: {reason}", code="invalid_cast", param="cast")


def _reference(audio: str, transcript: str | None) -> GivenReference:
    scheme = urlsplit(audio).scheme.lower() if "://" in audio or audio[:5] == "data:" else ""
    match scheme:
        case "":
            return GivenReference(path=audio, transcript=transcript)
        case "file":
            return GivenReference(path=unquote(urlsplit(audio).path), transcript=transcript)
        case "data":
            head, _, encoded = audio.partition(",")
            if not head.lower().endswith(";base64"):
                raise _invalid("a data: URL must be in base64")
            return GivenReference(content=_decode(encoded), transcript=transcript)
    raise _invalid("this server fetches no addresses: send a data: URL, or upload a voice")


def _decode(encoded: str) -> bytes:
    try:
        return decode_base64(encoded.strip())
    except ValueError:
        raise _invalid("it is not valid base64") from None


def _invalid(reason: str) -> UserError:
    return UserError(
        f"the reference audio cannot be used: {reason}",
        code="invalid_reference_audio",
        param="reference_audio",
    )
