"""Stored voices over HTTP: list, upload, delete, as the original wrapper has them.

The three listing paths give identical bodies: clients try them one after the other.
"""

from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import Query, Request
from pydantic import BaseModel
from starlette.datastructures import FormData, UploadFile
from starlette.responses import JSONResponse, Response

from fishs2.errors import UserError
from fishs2.server.edge.auth import READ_VOICES, WRITE_VOICES, GuardedRouter
from fishs2.server.edge.bodies import open_form
from fishs2.server.edge.error_bodies import ErrorBody, error_answers, house_error
from fishs2.server.edge.errors import Problem
from fishs2.server.edge.fields import Switch, auto_as_none
from fishs2.server.edge.proxies import address_of, preview_url
from fishs2.server.options import ServerOptions
from fishs2.service.services import Services
from fishs2.service.voices.choice import DEFAULT_VOICE, SPEECH_PRESETS
from fishs2.service.voices.doctor import CheckUp
from fishs2.service.voices.rules import MAX_SAMPLES
from fishs2.store.voices.changes import NewSample, NewVoice
from fishs2.store.voices.files import TranscriptSource, Voice
from fishs2.store.voices.ids import fold_name

UPLOAD_PATHS = ("/v1/audio/voices", "/v1/files")
LIST_PATHS = (*UPLOAD_PATHS, "/v1/voices")
DELETE_PATHS = ("/v1/voices/{voice_id:path}", "/v1/audio/voices/{voice_id:path}")

_FILE_FIELDS = ("files", "audio_sample", "file")
_TRANSCRIPT_FIELDS = ("prompt_text", "reference_text", "ref_text")
MAX_FIELDS = 100

UPLOAD_SCHEMA: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "files": {"type": "array", "items": {"type": "string", "format": "binary"}},
                        "audio_sample": {"type": "string", "format": "binary"},
                        "file": {"type": "string", "format": "binary"},
                        "voice_id": {"type": "string"},
                        "name": {"type": "string"},
                        "purpose": {"type": "string"},
                        "prompt_text": {"type": "string"},
                        "model": {"type": "string"},
                        "language": {"type": "string"},
                        "mode": {"type": "string"},
                        "consent": {"type": "string"},
                        "type": {"type": "string", "enum": ["audio_sample"]},
                    },
                }
            }
        },
    }
}


class VoiceFile(BaseModel):
    """One audio file of a voice; size in bytes."""

    filename: str
    size: int


class VoiceItem(BaseModel):
    """One stored voice; the first of its files is the reference."""

    voice_id: str
    id: str
    name: str
    object: Literal["voice"] = "voice"
    files: list[VoiceFile]
    created: int
    model: str | None
    language: str | None
    prompt_text: str | None
    transcript_source: TranscriptSource | None


class VoiceName(BaseModel):
    """A voice in the shape that Open WebUI, Kokoro's and ElevenLabs' clients read."""

    id: str
    name: str
    voice_id: str
    category: Literal["cloned", "premade"]
    labels: dict[str, str]
    preview_url: str


class UploadedVoice(BaseModel):
    """A voice in the shape that vLLM-Omni's clients read."""

    name: str
    created_at: int
    file_size: int
    ref_text: str | None


class VoiceList(BaseModel):
    """The body of every listing: the stored voices in two shapes, and all names to speak with."""

    object: Literal["list"] = "list"
    data: list[VoiceItem]
    voices: list[VoiceName] | list[str]
    uploaded_voices: list[UploadedVoice]


class FindingItem(BaseModel):
    """What was found of a recording: a number, and a sentence that has it."""

    name: str
    grade: Literal["good", "fair", "poor"]
    value: float
    unit: str
    text: str


class CheckedRecording(BaseModel):
    """The body of POST /v1/voices/check. heard: what is said in it, where something listens."""

    findings: list[FindingItem]
    heard: str | None


class CreatedVoice(BaseModel):
    """The answer to an upload. `id` is what speech requests and deletes are to name.

    object, type: `audio.voice` and `audio_sample`, as OpenAI has them, for an upload with a
    consent; `voice` and null without. created, created_at: Unix time in seconds.
    notice: a sentence for whoever uploaded it, if something is missing. findings: of its reference.
    """

    id: str
    voice_id: str
    name: str
    object: Literal["voice", "audio.voice"] = "voice"
    type: Literal["audio_sample"] | None = None
    consent: str | None = None
    model: str | None
    language: str | None
    sample_count: int
    created: int
    created_at: int
    prompt_text: str | None
    transcript_source: TranscriptSource | None
    notice: str | None
    findings: list[FindingItem]


class DeletedVoice(BaseModel):
    """The answer to a delete."""

    deleted: Literal[True] = True
    id: str


class DeletedAudioVoice(DeletedVoice):
    """The answer to a delete at OpenAI's address."""

    object: Literal["audio.voice.deleted"] = "audio.voice.deleted"


All = Annotated[
    Switch, Query(alias="all", description="Name the engine's own voices in `voices`, too.")
]
Legacy = Annotated[
    Switch, Query(description="Plain ids in `voices`, as Kokoro's old clients read.")
]

ERRORS = error_answers(
    ErrorBody,
    {
        400: "No file, one that is not audio, or an unknown type.",
        404: "There is no such consent.",
        409: "Another voice has this name.",
        413: "The upload is too large.",
        422: "A field is wrong.",
        429: "The store is busy; try again.",
        501: "Voices are not designed from descriptions here.",
    },
)

_AUDIO_SAMPLE, _PROMPT = "audio_sample", "prompt"
_NO_DESIGN = Problem(
    HTTPStatus.NOT_IMPLEMENTED,
    "this server does not design voices from a description (type=prompt): upload a recording as "
    "audio_sample, and describe how to speak in the instructions of each request",
    "not_supported",
    "type",
)


def voices_router(services: Services, options: ServerOptions) -> GuardedRouter:
    """Build the routes."""
    router = GuardedRouter(tags=["Voices"])

    _add_list(router, services, options)

    async def create_voice(request: Request) -> CreatedVoice | Response:
        """Store a voice from audio files; one of this id or name is replaced."""
        async with open_form(request, max_files=MAX_SAMPLES + 1, max_fields=MAX_FIELDS) as form:
            kind = form.get("type") or _AUDIO_SAMPLE
            if kind == _PROMPT:
                return house_error(_NO_DESIGN)
            new = await read_form(form)
        _check_kind(kind)
        if new.consent is not None:
            await services.consents.get(new.consent, param="consent")
        voice = await services.voices.add(new)
        found = await services.voices.doctor.examine_new(new, voice)
        return _created(voice, services.missing_transcript(voice), found)

    async def delete_voice(voice_id: str) -> DeletedVoice:
        """Delete a stored voice and its audio."""
        voice = await services.voices.remove(voice_id)
        return DeletedVoice(id=voice.voice_id)

    async def delete_audio_voice(voice_id: str) -> DeletedAudioVoice:
        """Delete a stored voice and its audio."""
        voice = await services.voices.remove(voice_id)
        return DeletedAudioVoice(id=voice.voice_id)

    for path in UPLOAD_PATHS:
        router.add_api_route(
            path,
            create_voice,
            methods=["POST"],
            response_model=CreatedVoice,
            responses=ERRORS,
            openapi_extra={**UPLOAD_SCHEMA, **WRITE_VOICES},
        )
    for path, delete in zip(DELETE_PATHS, (delete_voice, delete_audio_voice), strict=True):
        router.add_api_route(
            path,
            delete,
            methods=["DELETE"],
            responses=error_answers(ErrorBody, {404: "There is no such voice."}),
            openapi_extra=WRITE_VOICES,
        )
    return router


def _add_list(router: GuardedRouter, services: Services, options: ServerOptions) -> None:
    async def list_voices(
        request: Request, with_all: All = False, legacy: Legacy = False
    ) -> Response:
        """List the stored voices, and in `voices` every name that speech requests may give."""
        stored = await services.voices.list()
        names = _names(stored, _own_names(services, options, with_all))
        voices: list[dict[str, object]] | list[str] = list(names)
        if not legacy:
            cloned = {voice.voice_id for voice in stored}
            root = address_of(request, options.public_url)
            voices = [
                _named(voice_id, name, root, is_cloned=voice_id in cloned)
                for voice_id, name in names.items()
            ]
        # Built by hand: for a thousand voices validation would take most of the time.
        return JSONResponse(
            {
                "object": "list",
                "data": [_item(voice) for voice in stored],
                "voices": voices,
                "uploaded_voices": [_uploaded(voice) for voice in stored],
            }
        )

    for path in LIST_PATHS:
        router.add_api_route(
            path, list_voices, methods=["GET"], response_model=VoiceList, openapi_extra=READ_VOICES
        )


def _created(voice: Voice, notice: str | None, found: CheckUp) -> CreatedVoice:
    return CreatedVoice(
        id=voice.voice_id,
        voice_id=voice.voice_id,
        name=voice.name,
        object="audio.voice" if voice.consent else "voice",
        type="audio_sample" if voice.consent else None,
        consent=voice.consent,
        model=voice.model,
        language=voice.language,
        sample_count=len(voice.samples),
        created=voice.created,
        created_at=voice.created,
        prompt_text=voice.transcript,
        transcript_source=voice.transcript_source,
        notice=notice,
        findings=found_items(found),
    )


def found_items(found: CheckUp) -> list[FindingItem]:
    """The findings as answers have them."""
    return [FindingItem.model_validate(each) for each in found.as_json()]


async def read_form(form: FormData) -> NewVoice:
    texts: dict[str, str] = {}
    samples: list[NewSample] = []
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if name in _FILE_FIELDS:
                samples.append(NewSample(value.filename or "", await value.read()))
        else:
            texts[name] = value
    return NewVoice(
        voice_id=texts.get("voice_id") or None,
        name=texts.get("name") or None,
        transcript=next((texts[name] for name in _TRANSCRIPT_FIELDS if texts.get(name)), None),
        model=texts.get("model") or None,
        language=_language(texts.get("language", "")),
        mode=texts.get("mode") or None,
        consent=texts.get("consent") or None,
        samples=tuple(samples),
    )


def _check_kind(kind: object) -> None:
    if kind != _AUDIO_SAMPLE:
        raise UserError(
            "type is not a kind of voice that is known: send audio_sample, or leave it out",
            code="invalid_voice_type",
            param="type",
        )


def _language(given: str) -> str | None:
    language = auto_as_none(given)
    return language if isinstance(language, str) else None


def _own_names(services: Services, options: ServerOptions, with_all: bool) -> list[str]:
    """Names that are no stored voice's: the default voice's, OpenAI's, the engine's if wanted."""
    presets = () if options.strict_voices else SPEECH_PRESETS
    capabilities = services.status().capabilities
    engine_names = capabilities.voices if capabilities and with_all else ()
    return [DEFAULT_VOICE, *presets, *engine_names]


def _names(stored: list[Voice], own: list[str]) -> dict[str, str]:
    """What to ask for, and how to show it: a stored voice takes the place of one of its name."""
    taken = {fold_name(text) for voice in stored for text in (voice.voice_id, voice.name)}
    names = {voice.voice_id: voice.name for voice in stored}
    return names | {name: name for name in own if fold_name(name) not in taken}


def _named(voice_id: str, name: str, root: str, *, is_cloned: bool) -> dict[str, object]:
    return {
        "id": voice_id,
        "name": name,
        "voice_id": voice_id,
        "category": "cloned" if is_cloned else "premade",
        "labels": {},
        "preview_url": preview_url(root, voice_id),
    }


def _uploaded(voice: Voice) -> dict[str, object]:
    return {
        "name": voice.voice_id,
        "created_at": voice.created,
        "file_size": sum(sample.size_bytes for sample in voice.samples),
        "ref_text": voice.transcript,
    }


def _item(voice: Voice) -> dict[str, object]:
    return {
        "voice_id": voice.voice_id,
        "id": voice.voice_id,
        "name": voice.name,
        "object": "voice",
        "files": [{"filename": s.filename, "size": s.size_bytes} for s in voice.samples],
        "created": voice.created,
        "model": voice.model,
        "language": voice.language,
        "prompt_text": voice.transcript,
        "transcript_source": voice.transcript_source,
    }
