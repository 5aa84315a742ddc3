"""The routes of XTTS API servers. Source: contract, xtts-api-server and SillyTavern's client."""

from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Query, Request
from pydantic import Field
from starlette.responses import JSONResponse, Response

from fishs2.engines.languages import LANGUAGE_NAMES
from fishs2.errors import NotFoundError
from fishs2.server.dialects.xtts.errors import XttsErrorBody, xtts_error
from fishs2.server.dialects.xtts.manner import Manner, Manners
from fishs2.server.dialects.xtts.speaking import PREVIEW_TEXT, Speakers
from fishs2.server.edge.auth import READ_VOICES, SPEECH, GuardedRouter
from fishs2.server.edge.cors import check_link
from fishs2.server.edge.error_bodies import error_answers
from fishs2.server.edge.errors import Problem
from fishs2.server.edge.fields import JsonBody, Language
from fishs2.server.edge.proxies import base_url
from fishs2.server.edge.streaming import audio_content
from fishs2.server.options import ServerOptions
from fishs2.service.services import Services
from fishs2.service.voices.choice import DEFAULT_VOICE

ERRORS = error_answers(
    XttsErrorBody,
    {
        400: "The body cannot be read, or the language is not spoken.",
        403: "A web page of another site may not do this.",
        404: "There is no such voice.",
        413: "The body is too large.",
        415: "The body is of another kind.",
        422: "A field is wrong.",
        429: "The server is busy; Retry-After says when to try again.",
        500: "The engine failed.",
        503: "The engine cannot work.",
    },
)
AUDIO: dict[int | str, dict[str, Any]] = {
    200: {"description": "The speech.", "content": audio_content(["audio/wav"])}
}
_STREAMED: dict[int | str, dict[str, Any]] = {
    200: {"description": "The speech, as it is made.", "content": audio_content(["audio/x-wav"])}
}
REFUSED = ("/switch_model", "/set_output", "/set_speaker_folder", "/tts_to_file")
"""They name paths of the server's machine."""


class ToAudio(JsonBody):
    """The body of POST /tts_to_audio."""

    text: str = Field(min_length=1, description="The text to speak.")
    speaker_wav: str = Field(
        DEFAULT_VOICE, description="The name of a voice; `.wav` behind it is overlooked."
    )
    language: Language = Field(
        None, max_length=35, description="BCP 47 tag, for example de; auto is none."
    )


class XttsApi:
    """The work of the routes."""

    def __init__(self, services: Services, options: ServerOptions) -> None:
        self._services = services
        self._options = options
        self._manners = Manners()
        self._speakers = Speakers(services, options, self._manners)

    async def list_speakers(self, request: Request) -> Response:
        """List all voices, each with a link to hear it."""
        root = self._options.public_url or base_url(request)
        return JSONResponse(
            [
                {
                    "name": name,
                    "voice_id": voice_id,
                    "preview_url": f"{root.rstrip('/')}/sample/{quote(voice_id, safe='')}.wav",
                }
                for voice_id, name in await self._speakers.voices()
            ]
        )

    async def list_speaker_names(self) -> Response:
        """List the names of all voices."""
        return JSONResponse([voice_id for voice_id, _ in await self._speakers.voices()])

    async def list_languages(self) -> Response:
        """List the languages that the engine speaks, by their names."""
        await self._services.wait_for_engine()
        capabilities = self._services.status().capabilities
        tags = capabilities.languages if capabilities else ()
        return JSONResponse({"languages": {LANGUAGE_NAMES.get(tag, tag): tag for tag in tags}})

    async def speak(self, request: Request, body: ToAudio) -> Response:
        """Turn text into speech, whole."""
        asked = await self._speakers.request(
            request, body.text, voice=body.speaker_wav, language=body.language
        )
        return await self._speakers.answer(request, asked, "whole", "audio/wav")

    async def stream(self, request: Request, query: Annotated[ToAudio, Query()]) -> Response:
        """Turn text into speech, as it is made."""
        check_link(request.headers, self._options.cors_origins)
        asked = await self._speakers.request(
            request, query.text, voice=query.speaker_wav, language=query.language
        )
        return await self._speakers.answer(request, asked, "chunked", "audio/x-wav")

    async def hear_sample(self, request: Request, file: str) -> Response:
        """Hear a voice: a sentence is spoken in it."""
        check_link(request.headers, self._options.cors_origins)
        asked = await self._speakers.request(request, PREVIEW_TEXT, voice=file, language=None)
        try:
            return await self._speakers.answer(request, asked, "whole", "audio/wav")
        except NotFoundError as error:
            # A page of another site may have made the address: nothing of it is repeated.
            raise NotFoundError(
                "there is no voice of this name; /speakers_list names them", code=error.code
            ) from None

    async def get_settings(self, request: Request) -> Response:
        """Say what this client has set."""
        return JSONResponse(self._manners.of(request).model_dump())

    async def set_settings(self, request: Request, body: Manner) -> Response:
        """Set how this client is spoken to: it holds for its key or address, until a restart."""
        self._manners.set(request, body)
        return JSONResponse({"message": "Settings successfully applied"})

    async def list_models(self) -> Response:
        """List the one model."""
        return JSONResponse([self._options.default_model])

    async def refuse(self) -> Response:
        """What would choose files or folders of the server's machine."""
        message = (
            "this server reads and writes no files that a client names: voices are uploaded to "
            "/v1/audio/voices, and speech is in the answer"
        )
        return xtts_error(Problem(HTTPStatus.NOT_IMPLEMENTED, message, "not_supported"))


def xtts_router(services: Services, options: ServerOptions) -> GuardedRouter:
    """Build the routes of XTTS servers; a slash at their end changes nothing."""
    api = XttsApi(services, options)
    router = GuardedRouter(tags=["XTTS"])
    add = router.add_api_route
    for path, work in (
        ("/speakers", api.list_speakers),
        ("/speakers_list", api.list_speaker_names),
        ("/languages", api.list_languages),
        ("/get_models_list", api.list_models),
        ("/get_tts_settings", api.get_settings),
        ("/tts_settings", api.get_settings),
    ):
        add(path, work, methods=["GET"], responses=ERRORS, openapi_extra=READ_VOICES)
    for path in ("/set_tts_settings", "/tts_settings"):
        add(path, api.set_settings, methods=["POST"], responses=ERRORS, openapi_extra=SPEECH)
    speaking: tuple[tuple[str, Any, str, dict[int | str, dict[str, Any]]], ...] = (
        ("/tts_to_audio", api.speak, "POST", AUDIO),
        ("/tts_stream", api.stream, "GET", _STREAMED),
        ("/sample/{file}", api.hear_sample, "GET", AUDIO),
    )
    for path, speak, method, answers in speaking:
        add(
            path,
            speak,
            methods=[method],
            response_class=Response,
            responses={**ERRORS, **answers},
            openapi_extra=SPEECH,
        )
    for path in REFUSED:
        for method in ("GET", "POST"):
            add(
                path,
                api.refuse,
                methods=[method],
                include_in_schema=False,
                openapi_extra=SPEECH,
            )
    return router
