"""The body of Fish Audio's speech routes: its fields in both dialects, and how it is read.

The cloud's clients and fish-speech's send the same fields with other defaults and ranges.
Sources: Fish Audio API reference, text-to-speech; fish-audio-sdk; fish-speech's API server.
"""

import json
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import Request
from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.exceptions import HTTPException

from fishs2.engines.base import Latency
from fishs2.server.edge import json_body
from fishs2.server.edge.bodies import media_type, open_form, read_object, validate
from fishs2.server.edge.fields import (
    MAX_REFERENCES,
    Integer,
    JsonBody,
    Number,
    PauseS,
)
from fishs2.server.edge.words import Lexicons, Pronunciations
from fishs2.service.voices.rules import MAX_TRANSCRIPT_CHARS
from fishs2.text.cleaning.cleaning import TextCleaning
from fishs2.text.directing.ssml import TextType
from fishs2.text.emoji import EmojiReading

MAX_SPEAKERS = 16

_MP3_KBPS = (64, 128, 192)
_OPUS_KBPS = (24, 32, 48, 64)
_OPUS_AUTO = -1000
_MAX_FIELDS = 100
_JSON_FIELDS = frozenset({"reference_id", "references", "prosody", "features"})
"""Fields that are lists or objects; a form has JSON for them."""
_SDK_AGENT = "fish-audio/"


def _to_bytes(value: object) -> object:
    """Base64, with or without a `data:` in front, is what JSON has for bytes."""
    if not isinstance(value, str):
        return value
    encoded = value.partition(",")[2] if value.startswith("data:") else value
    try:
        return json_body.decode_base64(encoded.strip())
    except ValueError:
        raise ValueError("it is not valid base64") from None


def _to_list(value: object) -> object:
    if not isinstance(value, str):
        return value
    return [value] if value.strip() else []


def _to_speakers(value: object) -> object:
    """One list is one speaker, who has several recordings; a list of lists has several."""
    if isinstance(value, list) and value and not all(isinstance(item, list) for item in value):
        return [value]
    return value


def _is_mp3_rate(value: int) -> int:
    if value not in _MP3_KBPS:
        raise ValueError(f"use one of {', '.join(map(str, _MP3_KBPS))}")
    return value


def _is_opus_rate(value: int) -> int:
    """The SDK counts in kbit/s, the API in bit/s."""
    if value == _OPUS_AUTO or value in _OPUS_KBPS or value in [1000 * kbps for kbps in _OPUS_KBPS]:
        return value
    raise ValueError(
        f"use one of {', '.join(map(str, _OPUS_KBPS))}, the same times 1000, or {_OPUS_AUTO}"
    )


class TtsReference(JsonBody):
    """A recording that shows a voice."""

    audio: Annotated[
        bytes,
        BeforeValidator(_to_bytes),
        WithJsonSchema({"type": "string", "contentEncoding": "base64"}),
    ] = Field(description="An audio file: bytes in MessagePack, base64 in JSON.")
    text: Annotated[str, Field(max_length=MAX_TRANSCRIPT_CHARS)] = Field(
        description="What is said in it."
    )


class TtsProsody(JsonBody):
    """Pace and loudness."""

    speed: Annotated[Number, Field(ge=0.5, le=2.0)] = 1.0
    volume: Annotated[Number, Field(ge=-20, le=20, description="Gain in dB.")] = 0.0
    normalize_loudness: bool = Field(
        True, description="Bring the speech to FISHS2_LOUDNESS_LUFS before the gain."
    )


_Speaker = Annotated[list[TtsReference], Field(max_length=MAX_REFERENCES)]


class Tts(JsonBody):
    """The body of POST /v1/tts, as the cloud has it. Unknown fields are ignored, null is absent."""

    text: str = Field(description="The text to speak; turns begin with <|speaker:i|>.")
    reference_id: Annotated[
        list[str],
        BeforeValidator(_to_list),
        Field(max_length=MAX_SPEAKERS),
        WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array"}, {"type": "null"}]}),
    ] = Field([], description="A stored voice; a list has one for each speaker.")
    references: Annotated[
        list[_Speaker],
        BeforeValidator(_to_speakers),
        Field(max_length=MAX_SPEAKERS),
        WithJsonSchema({"type": "array"}),
    ] = Field([], description="Recordings {audio, text}; a list of lists has several speakers.")
    format: Literal["wav", "pcm", "mp3", "opus"] = "mp3"
    sample_rate: Integer | None = Field(None, description="In Hz, as the format has it.")
    mp3_bitrate: Annotated[Integer, AfterValidator(_is_mp3_rate)] = Field(
        128, description="In kbit/s.", json_schema_extra={"enum": list(_MP3_KBPS)}
    )
    opus_bitrate: Annotated[Integer, AfterValidator(_is_opus_rate)] = Field(
        _OPUS_AUTO, description="24, 32, 48 or 64, in kbit/s or bit/s; -1000 chooses."
    )
    chunk_length: Annotated[Integer, Field(ge=100, le=300)] | None = Field(
        None, description="Longest piece of text spoken in one go, in characters."
    )
    min_chunk_length: Annotated[Integer, Field(ge=0, le=100)] | None = Field(
        None, description="Below this a piece takes in the next sentence."
    )
    condition_on_previous_chunks: bool = True
    latency: Latency = "normal"
    normalize: bool = True
    prosody: TtsProsody | None = None
    temperature: Annotated[Number, Field(ge=0, le=1)] | None = None
    top_p: Annotated[Number, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[Number, Field(ge=0, le=10)] | None = None
    max_new_tokens: Annotated[Integer, Field(ge=0, le=8192)] | None = Field(
        None, description="Longest utterance, in frames of 46 ms; 0 is no limit."
    )
    early_stop_threshold: Annotated[Number, Field(ge=0, le=1)] = 1.0
    seed: Annotated[Integer, Field(ge=-1, le=2**63 - 1)] | None = None
    use_memory_cache: Literal["on", "off"] = "off"
    streaming: bool = False
    emoji: EmojiReading | None = Field(None, description="Read emoji by name, or skip them.")
    text_cleaning: TextCleaning | None = Field(
        None, description="What is taken out of the text before it is spoken."
    )
    text_type: TextType = Field("text", description="text, or ssml: the text is an SSML document.")
    verify: bool = Field(False, description="Hear it again: X-Fishs2-Verify has the verdict.")
    lexicons: Lexicons = None
    pronunciations: Pronunciations = None
    pause_sentence: PauseS = Field(None, description="Silence after each sentence, in seconds.")
    pause_line: PauseS = Field(None, description="Silence after each line that is meant as one.")
    pause_paragraph: PauseS = Field(None, description="Silence after each paragraph, in seconds.")
    features: Annotated[list[str], BeforeValidator(_to_list)] = Field([], max_length=100)


class SelfHostedTts(Tts):
    """The same, as fish-speech's own server has it."""

    format: Literal["wav", "pcm", "mp3", "opus"] = "wav"
    chunk_length: Annotated[Integer, Field(ge=100, le=1000)] | None = None
    repetition_penalty: Annotated[Number, Field(ge=0.9, le=2)] | None = None


def is_cloud(headers: Headers) -> bool:
    """Whether a client of the cloud asks: only these name a model, or are the SDK."""
    return "model" in headers or headers.get("user-agent", "").startswith(_SDK_AGENT)


async def read_tts(request: Request) -> Tts:
    """The body of a request. Raises HTTPException 400 and 415, RequestValidationError."""
    kind = media_type(request)
    try:
        if kind == "application/json":
            return await json_body.read_aside(
                await request.body(),
                lambda content: validate_tts(json_body.parse(content), request.headers),
            )
        if kind == "multipart/form-data":
            return validate_tts(await _read_form(request), request.headers)
    except (ValueError, RecursionError):
        raise HTTPException(HTTPStatus.BAD_REQUEST) from None
    return validate_tts(await read_object(request), request.headers)


def validate_tts(given: object, headers: Headers) -> Tts:
    """The fields of a body. Raises HTTPException 400, RequestValidationError."""
    if not isinstance(given, dict):
        raise HTTPException(HTTPStatus.BAD_REQUEST)
    return validate(given, Tts if is_cloud(headers) else SelfHostedTts)


async def _read_form(request: Request) -> dict[str, Any]:
    """Fields as text; lists and objects as JSON; recordings as files, `texts` beside them."""
    async with open_form(request, max_files=MAX_REFERENCES, max_fields=_MAX_FIELDS) as form:
        files = [
            await part.read()
            for name, part in form.multi_items()
            if isinstance(part, UploadFile) and name in ("references", "references[]")
        ]
        given = _form_fields(form)
    if files:
        texts = given.pop("texts", [])
        if len(texts) != len(files):
            raise HTTPException(HTTPStatus.BAD_REQUEST)
        given["references"] = [
            {"audio": audio, "text": text} for audio, text in zip(files, texts, strict=True)
        ]
    return given


def _form_fields(form: FormData) -> dict[str, Any]:
    """The fields that are known. Raises ValueError for what is no JSON, or too much."""
    given: dict[str, Any] = {}
    num_values = 0
    for name in form:
        values = [value for value in form.getlist(name) if isinstance(value, str)]
        if name == "texts" or len(values) > 1:
            given[name] = values
        elif values:
            is_json = name in _JSON_FIELDS and values[0][:1] in ("[", "{")
            if is_json:
                num_values += json_body.count_values(values[0].encode())
                if num_values > json_body.MAX_VALUES:
                    raise ValueError(f"it has more than {json_body.MAX_VALUES:,} values")
            given[name] = json.loads(values[0]) if is_json else values[0]
    return given
