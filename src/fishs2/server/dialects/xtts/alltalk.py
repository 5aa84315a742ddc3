"""The routes of AllTalk that SillyTavern calls. Source: contract, AllTalk v2 and its client."""

import re
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Query, Request
from pydantic import Field
from starlette.responses import JSONResponse, PlainTextResponse, Response

from fishs2.server.dialects.xtts.api import AUDIO, ERRORS
from fishs2.server.dialects.xtts.manner import Manners
from fishs2.server.dialects.xtts.speaking import PREVIEW_TEXT, Speakers
from fishs2.server.edge.auth import READ_VOICES, SPEECH, GuardedRouter
from fishs2.server.edge.bodies import body_schema, open_form, validate
from fishs2.server.edge.cors import check_link
from fishs2.server.edge.fields import JsonBody, Language
from fishs2.server.edge.streaming import engine_headers, while_connected
from fishs2.server.options import ServerOptions
from fishs2.service.services import Services
from fishs2.service.speech.request import SpeechRequest
from fishs2.service.voices.choice import DEFAULT_VOICE
from fishs2.text.turns import speaker_tag

_T = TypeVar("_T", bound=JsonBody)

_MAX_FIELDS = 50

_NARRATED = re.compile(r"\*+([^*]+)\*+|(\"[^\"]+\"|\u201c[^\u201d]+\u201d)")
"""What stands between asterisks, or else in quotes, as characters' texts are written."""

_Outside = Literal["character", "narrator", "silent"]


class Generate(JsonBody):
    """The form of POST /api/tts-generate. Unknown fields are ignored."""

    text_input: str = Field(min_length=1, description="The text to speak.")
    character_voice_gen: str = Field(
        DEFAULT_VOICE, description="The name of a voice; `.wav` behind it is overlooked."
    )
    narrator_enabled: Literal["true", "false", "silent"] = Field(
        "false",
        description="true: what stands between asterisks is spoken by the narrator; silent: it is "
        "left out.",
    )
    narrator_voice_gen: str = Field(DEFAULT_VOICE, description="The narrator's voice.")
    text_not_inside: _Outside = Field(
        "character", description="Who speaks what is neither in quotes nor between asterisks."
    )
    language: Language = Field(
        None, max_length=35, description="BCP 47 tag, for example de; auto is none."
    )


class Stream(JsonBody):
    """The query of GET /api/tts-generate-streaming."""

    text: str = Field(min_length=1, description="The text to speak.")
    voice: str = Field(DEFAULT_VOICE, description="The name of a voice.")
    language: Language = Field(
        None, max_length=35, description="BCP 47 tag, for example de; auto is none."
    )


class PreviewVoice(JsonBody):
    """The form of POST /api/previewvoice."""

    voice: str = Field(min_length=1, description="The name of a voice.")


class AllTalkApi:
    """The work of the routes."""

    def __init__(self, services: Services, options: ServerOptions, manners: Manners) -> None:
        self._services = services
        self._options = options
        self._speakers = Speakers(services, options, manners)

    async def is_ready(self) -> Response:
        """Say whether the engine can speak."""
        is_ready = self._services.status().state == "ready"
        return PlainTextResponse("Ready" if is_ready else "Unloaded")

    async def list_voices(self) -> Response:
        """List all voices."""
        voices = [voice_id for voice_id, _ in await self._speakers.voices()]
        return JSONResponse({"status": "success", "voices": voices})

    async def list_rvc_voices(self) -> Response:
        """Say that there are no voices of another kind."""
        return JSONResponse({"status": "success", "rvcvoices": ["Disabled"]})

    async def get_settings(self) -> Response:
        """Describe the engine as AllTalk's clients read it."""
        model = self._options.default_model
        return JSONResponse(
            {
                "engines_available": ["fishs2"],
                "current_engine_loaded": "fishs2",
                "models_available": [{"name": model, "model_name": model}],
                "current_model_loaded": model,
                "manufacturer_name": "fishs2",
                "audio_format": "wav",
                "deepspeed_capable": False,
                "deepspeed_available": False,
                "deepspeed_enabled": False,
                "deepspeed_status": False,
                "lowvram_capable": False,
                "lowvram_enabled": False,
                "low_vram_status": False,
                "generationspeed_capable": True,
                "streaming_capable": True,
                "languages_capable": True,
                "multivoice_capable": True,
                "multimodel_capable": False,
            }
        )

    async def generate(self, request: Request) -> Response:
        """Turn text into speech that is kept for a while, and say where."""
        form = await _read_form(request, Generate)
        return await self._keep(request, await self._to_request(request, form))

    async def preview_voice(self, request: Request) -> Response:
        """Speak a sentence in a voice, and say where it is."""
        form = await _read_form(request, PreviewVoice)
        asked = await self._speakers.request(
            request, PREVIEW_TEXT, voice=form.voice, language=None, param="voice"
        )
        return await self._keep(request, asked)

    async def stream(self, request: Request, query: Annotated[Stream, Query()]) -> Response:
        """Turn text into speech, as it is made."""
        check_link(request.headers, self._options.cors_origins)
        asked = await self._speakers.request(
            request, query.text, voice=query.voice, language=query.language, param="voice"
        )
        return await self._speakers.answer(request, asked, "chunked", "audio/wav")

    async def _to_request(self, request: Request, form: Generate) -> SpeechRequest:
        has_narrator = form.narrator_enabled == "true"
        text = form.text_input
        if form.narrator_enabled != "false":
            text = mark_turns(
                text, outside=form.text_not_inside, leaves_out_narrator=not has_narrator
            )
        return await self._speakers.request(
            request,
            text,
            voice=form.character_voice_gen,
            language=form.language,
            narrator=form.narrator_voice_gen if has_narrator else None,
            param="character_voice_gen",
        )

    async def _keep(self, request: Request, asked: SpeechRequest) -> Response:
        """Keep the speech where links reach it. Its path is below the address of the server."""
        script = await self._services.desk.write(asked)
        making = self._services.desk.clip(request.state.principal, script)
        clip = await while_connected(request.receive, making)
        path = f"/clips/{clip.name}"
        return JSONResponse(
            {
                "status": "generate-success",
                "output_file_path": clip.name,
                "output_file_url": path,
                "output_cache_url": path,
            },
            headers=engine_headers(script.plan),
        )


def mark_turns(text: str, *, outside: _Outside, leaves_out_narrator: bool = False) -> str:
    """A text with the tags of who speaks what: 0 is the character, 1 the narrator."""
    turns: list[tuple[str, str]] = []
    end = 0
    for match in _NARRATED.finditer(text):
        turns.append((outside, text[end : match.start()]))
        turns.append(("narrator", match[1]) if match[1] else ("character", match[2]))
        end = match.end()
    turns.append((outside, text[end:]))
    kept = [(who, words.strip()) for who, words in turns if words.strip() and who != "silent"]
    if leaves_out_narrator:
        return "\n".join(words for who, words in kept if who == "character")
    numbers = {"character": 0, "narrator": 1}
    return "".join(f"{speaker_tag(numbers[who])}{words}\n" for who, words in kept)


async def _read_form(request: Request, kind: type[_T]) -> _T:
    async with open_form(request, max_files=0, max_fields=_MAX_FIELDS) as form:
        return validate(dict(form.items()), kind)


def alltalk_router(services: Services, options: ServerOptions) -> GuardedRouter:
    """Build the routes of AllTalk."""
    api = AllTalkApi(services, options, Manners())
    router = GuardedRouter(tags=["AllTalk"])
    add = router.add_api_route
    for path, work in (
        ("/api/voices", api.list_voices),
        ("/api/rvcvoices", api.list_rvc_voices),
        ("/api/currentsettings", api.get_settings),
    ):
        add(path, work, methods=["GET"], responses=ERRORS, openapi_extra=READ_VOICES)
    add(
        "/api/ready",
        api.is_ready,
        methods=["GET"],
        response_class=PlainTextResponse,
        responses=ERRORS,
        openapi_extra=READ_VOICES,
    )
    forms: tuple[tuple[str, Any, type[JsonBody]], ...] = (
        ("/api/tts-generate", api.generate, Generate),
        ("/api/previewvoice", api.preview_voice, PreviewVoice),
    )
    for path, work, body in forms:
        extra = {**_form_schema(body), **SPEECH}
        add(path, work, methods=["POST"], responses=ERRORS, openapi_extra=extra)
    add(
        "/api/tts-generate-streaming",
        api.stream,
        methods=["GET"],
        response_class=Response,
        responses={**ERRORS, **AUDIO},
        openapi_extra=SPEECH,
    )
    return router


def _form_schema(body: type[JsonBody]) -> dict[str, Any]:
    content = body_schema(body)["requestBody"]["content"]["application/json"]
    kinds = ("application/x-www-form-urlencoded", "multipart/form-data")
    return {"requestBody": {"required": True, "content": dict.fromkeys(kinds, content)}}
