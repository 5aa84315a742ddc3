"""OpenAI's transcriptions and translations: an upload in, what was said out.

Source: OpenAI API reference, createTranscription and createTranslation.
"""

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Literal

from fastapi import Request
from pydantic import BeforeValidator, Field
from starlette.datastructures import FormData, UploadFile
from starlette.responses import Response

from fishs2.errors import NotFoundError, UserError
from fishs2.listening.base import Heard, Segment, Task, Tongue, Wish
from fishs2.listening.models import MODELS
from fishs2.server.dialects.openai.transcripts import (
    answer_heard,
    delta_event,
    done_event,
    error_event,
)
from fishs2.server.edge.auth import SPEECH, GuardedRouter
from fishs2.server.edge.bodies import inline_schema, open_form, validate
from fishs2.server.edge.error_bodies import ErrorBody, error_answers
from fishs2.server.edge.events import EventResponse
from fishs2.server.edge.fields import JsonBody, Language, Number
from fishs2.server.edge.streaming import while_connected
from fishs2.server.options import ServerOptions
from fishs2.service.listening import Listening
from fishs2.service.services import Services
from fishs2.store.failures import store_errors

PATHS = {"transcribe": "/v1/audio/transcriptions", "translate": "/v1/audio/translations"}
_OTHER_NAMES = re.compile(
    r"(?:whisper-1|gpt-transcribe|gpt-4o-transcribe|gpt-4o-mini-transcribe)"
    r"(?:-\d{4}-\d{2}-\d{2})?|transcribe-1(?:-free)?"
)
"""Names that clients of OpenAI and Fish Audio send for lack of another; not those of models that
tell speakers apart. Source: OpenAI API reference, models."""

_LISTS = frozenset(
    {
        "timestamp_granularities",
        "include",
        "keywords",
        "languages",
        "known_speaker_names",
        "known_speaker_references",
    }
)
_WITHOUT_EFFECT = (
    "include",
    "chunking_strategy",
    "known_speaker_names",
    "known_speaker_references",
)
_MAX_FIELDS = 100
_MAX_PROMPT_CHARS = 8_000


def _in_lower_case(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


class TranslationBody(JsonBody):
    """The fields of POST /v1/audio/translations, beside the file."""

    model: str = Field(description="whisper-1, another of OpenAI's names, or this server's model.")
    prompt: Annotated[str, Field(max_length=_MAX_PROMPT_CHARS)] | None = Field(
        None, description="What was said before, or names; its last 224 tokens count."
    )
    response_format: Annotated[
        Literal["json", "text", "srt", "verbose_json", "vtt"], BeforeValidator(_in_lower_case)
    ] = Field("json", description="How the answer is written.")
    temperature: Annotated[Number, Field(ge=0, le=1)] = Field(
        0.0, description="0 takes the likeliest words, and freer ones where those make no sense."
    )


class TranscriptionBody(TranslationBody):
    """The fields of POST /v1/audio/transcriptions, beside the file."""

    language: Language = Field(
        None, max_length=35, description="ISO 639-1 or BCP 47; unset, it is found out."
    )
    languages: list[str] = Field([], description="One is the same as language.")
    keywords: list[str] = Field([], max_length=100, description="Names that may be said.")
    timestamp_granularities: list[Literal["word", "segment"]] = Field(
        [], description="Of verbose_json: word, segment (the default), or both."
    )
    stream: bool | None = Field(None, description="Send the text as it is heard, as events.")
    include: list[str] = Field([], description="No effect.")
    chunking_strategy: Any = Field(None, description="No effect.")
    known_speaker_names: list[str] = Field([], description="No effect.")
    known_speaker_references: list[str] = Field([], description="No effect.")


_ERRORS = error_answers(
    ErrorBody,
    {
        400: "There is no file, or it is no audio.",
        404: "There is no such model.",
        413: "The file is too large.",
        422: "A field is wrong, or the recording is too long.",
        429: "Too many wait; Retry-After says when to try again.",
        500: "The recording could not be heard.",
        501: "Nothing recognises speech here.",
        503: "The model is not here.",
    },
)
_ANSWER = {
    "description": "What was said.",
    "content": {kind: {} for kind in ("application/json", "text/plain", "text/vtt")},
}


def transcription_router(services: Services, options: ServerOptions) -> GuardedRouter:
    """Build the routes of the dialect; `edge.paths` leads those without `/v1` here."""
    router = GuardedRouter(tags=["OpenAI"])
    heard = Transcriptions(services, options)

    async def create_transcription(request: Request) -> Response:
        """Say what is said in a recording."""
        return await heard.answer(request, "transcribe")

    async def create_translation(request: Request) -> Response:
        """Say in English what is said in a recording."""
        return await heard.answer(request, "translate")

    for path, endpoint, kind in (
        (PATHS["transcribe"], create_transcription, TranscriptionBody),
        (PATHS["translate"], create_translation, TranslationBody),
    ):
        router.add_api_route(
            path,
            endpoint,
            methods=["POST"],
            response_class=Response,
            responses={200: _ANSWER, **_ERRORS},
            openapi_extra={**_describe_form(kind), **SPEECH},
        )
    return router


class Transcriptions:
    """Answers with what is heard of an upload."""

    def __init__(self, services: Services, options: ServerOptions) -> None:
        self._services = services
        self._listening = services.listening
        self._stall_s = options.client_stall_s

    async def answer(self, request: Request, task: Task) -> Response:
        """Hear the upload of a request. Raises Fishs2Error."""
        async with open_form(request, max_files=1, max_fields=_MAX_FIELDS) as form:
            self._listening.check()
            fields, file = _read_form(form)
            kind = TranscriptionBody if task == "transcribe" else TranslationBody
            body = validate(fields, kind)
            find_model(body.model, self._listening.model)
            wish = read_wish(body, task, self._listening)
            ignored = ", ".join(name for name in _ignored(body))
            headers = {"X-Fishs2-Ignored": ignored} if ignored else {}
            if isinstance(body, TranscriptionBody) and body.stream:
                response = await self._stream(request, file, wish, headers)
            else:
                heard = await while_connected(request.receive, self._hear(request, file, wish))
                response = answer_heard(heard, body.response_format, _granularities(body), task)
                response.headers.update(headers)
        return response

    async def _hear(self, request: Request, file: UploadFile, wish: Wish) -> Heard:
        async with self._services.desk.listen(request.state.principal) as charge:
            heard = await self._listening.transcribe(lambda: _read(file), wish)
            await charge.add(heard.text, until_s=heard.seconds)
        return heard

    async def _stream(
        self, request: Request, file: UploadFile, wish: Wish, headers: dict[str, str]
    ) -> Response:
        events = self._events(request, file, wish)
        try:
            # Once there is a first, the file has been read and the status is certain.
            first = await while_connected(request.receive, _first(events))
        except BaseException:
            await events.aclose()
            raise
        return EventResponse(
            first,
            events,
            client_stall_s=self._stall_s,
            tell_error=lambda problem: error_event(problem.message, problem.code),
            headers=headers,
        )

    async def _events(
        self, request: Request, file: UploadFile, wish: Wish
    ) -> AsyncGenerator[bytes, None]:
        tongue, segments = Tongue("en", 0.0), list[Segment]()
        async with self._services.desk.listen(request.state.principal) as charge:
            parts = self._listening.follow(lambda: _read(file), wish)
            async with aclosing(parts):
                async for part in parts:
                    if isinstance(part, Tongue):
                        tongue = part
                        yield delta_event("")
                        continue
                    segments.append(part)
                    text = part.text if len(segments) > 1 else part.text.lstrip()
                    await charge.add(text, until_s=part.end_s)
                    yield delta_event(text)
        seconds = segments[-1].end_s if segments else 0.0
        yield done_event(Heard(tongue, seconds, tuple(segments)))


async def _first(events: AsyncGenerator[bytes, None]) -> bytes:
    return await anext(events)


async def _read(file: UploadFile) -> bytes:
    with store_errors("files of the form"):
        return await file.read()


def find_model(name: str, model: str) -> None:
    """Raise NotFoundError unless a name means the model that is here."""
    wanted = name.strip().lower().removeprefix("fish-audio/")
    known = {model, f"whisper-{model}", f"openai/whisper-{model}"}
    if model in MODELS:
        known.add(MODELS[model].repo_id.lower())
    if wanted not in known and not _OTHER_NAMES.fullmatch(wanted):
        raise NotFoundError(
            f"there is no such model to recognise speech with; known are whisper-1 and "
            f"whisper-{model}, which is the one that is here",
            code="model_not_found",
            param="model",
        )


def read_wish(body: TranslationBody, task: Task, listening: Listening) -> Wish:
    """What is asked of the listener. Raises UserError."""
    prompt, language, with_words = body.prompt or "", None, False
    if isinstance(body, TranscriptionBody):
        prompt = " ".join(filter(None, [prompt, ", ".join(body.keywords)]))
        given = body.language or (body.languages[0] if len(body.languages) == 1 else None)
        language = listening.find_language(given) if given else None
        with_words = "word" in body.timestamp_granularities
        if body.timestamp_granularities and body.response_format != "verbose_json":
            raise UserError(
                f"timestamp_granularities needs response_format verbose_json, which is "
                f"{body.response_format}",
                code="invalid_parameter",
                param="timestamp_granularities",
            )
        if body.stream and body.response_format != "json":
            raise UserError(
                f"stream needs response_format json, which is {body.response_format}",
                code="invalid_parameter",
                param="stream",
            )
    if task == "translate":
        listening.check_other_languages()
    return Wish(language, prompt, body.temperature, task, with_words)


def _ignored(body: TranslationBody) -> list[str]:
    names = [name for name in _WITHOUT_EFFECT if getattr(body, name, None)]
    if len(getattr(body, "languages", ())) > 1:
        names.append("languages")
    return names


def _granularities(body: TranslationBody) -> list[str]:
    given = body.timestamp_granularities if isinstance(body, TranscriptionBody) else []
    return [*given] or ["segment"]


def _read_form(form: FormData) -> tuple[dict[str, Any], UploadFile]:
    """The fields of a form, and its file, which is read once it is its turn."""
    fields: dict[str, Any] = {}
    file = None
    for part, value in form.multi_items():
        name = part.removesuffix("[]")
        if isinstance(value, UploadFile):
            file = value if name == "file" else file
        elif name in _LISTS:
            fields.setdefault(name, []).append(value)
        else:
            fields[name] = value
    if file is None:
        raise UserError(
            "the form has no file: send the recording as the part `file`",
            code="missing_files",
            param="file",
        )
    return fields, file


def _describe_form(kind: type[TranslationBody]) -> dict[str, Any]:
    """How the API page describes the form."""
    schema = inline_schema(kind)
    schema["properties"]["file"] = {"type": "string", "format": "binary"}
    schema["required"] = ["file", *schema.get("required", ())]
    return {
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
    }
