"""fish-speech's own API server: `/v1/references` over the stored voices, `/v1/vqgan`.

Source: fish-speech's API server (behaviour, not code). It answers in MessagePack unless a client
asks for JSON.
"""

import base64
import re
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from typing import Any

import ormsgpack
from fastapi import Request
from pydantic import BaseModel, ConfigDict
from starlette.responses import JSONResponse, Response

from fishs2.errors import NotFoundError, UserError
from fishs2.server.dialects.fish_cloud.errors import FISH_ERRORS, FishErrorBody, error_answer
from fishs2.server.edge.accept import prefers_json
from fishs2.server.edge.auth import PUBLIC, READ_VOICES, SPEECH, WRITE_VOICES, GuardedRouter
from fishs2.server.edge.bodies import File, Files, read_body, validate
from fishs2.server.edge.error_bodies import error_answers
from fishs2.server.edge.errors import Problem
from fishs2.server.edge.fields import JsonBody
from fishs2.server.edge.streaming import while_connected
from fishs2.server.options import ServerOptions
from fishs2.service.codec import MAX_ITEMS, CodecService
from fishs2.service.services import Services
from fishs2.service.voices.rules import MAX_NAME_CHARS
from fishs2.store.voices.changes import NewSample, NewVoice
from fishs2.store.voices.files import Voice
from fishs2.store.voices.ids import propose_ids

_ID = re.compile(r"[a-zA-Z0-9\-_ ]+")
_MAX_CODES = 100_000
"""Values of one body, as many as JSON may have: 90 s of audio have 20,000 codes."""

_NO_CODEC = Problem(
    HTTPStatus.NOT_IMPLEMENTED,
    "this engine has no codec: start the server with FISHS2_ENGINE=s2",
    "not_supported",
)


class _Body(JsonBody):
    model_config = ConfigDict(arbitrary_types_allowed=True)


class AddReference(_Body):
    """The body of POST /v1/references/add."""

    id: str
    text: str
    audio: File


class DeleteReference(_Body):
    """The body of DELETE /v1/references/delete."""

    reference_id: str


class UpdateReference(_Body):
    """The body of POST /v1/references/update."""

    old_reference_id: str
    new_reference_id: str


class EncodeAudio(_Body):
    """The body of POST /v1/vqgan/encode."""

    audios: Files


class DecodeTokens(_Body):
    """The body of POST /v1/vqgan/decode; `service.codec` checks what is in it."""

    tokens: list[Any]


class SelfHosted:
    """The work of the routes."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._voices = services.voices

    async def add_reference(self, request: Request) -> Response:
        """Store a voice under an id that nobody has."""
        body = validate(await read_body(request), AddReference)
        check_reference_id("id", body.id)
        if not body.text.strip():
            raise _invalid("text", "text is blank: send what is said in the audio")
        if not body.audio.content:
            raise _invalid("audio", "audio is empty")
        sample = NewSample(body.audio.filename, body.audio.content, body.text.strip())
        await self._voices.add_new(NewVoice((sample,), voice_id=body.id, name=body.id))
        return _reply(request, {"success": True, "message": "stored", "reference_id": body.id})

    async def list_references(self, request: Request) -> Response:
        """List the ids of the stored voices."""
        ids = [reference_id(voice) for voice in await self._voices.list()]
        return _reply(
            request, {"success": True, "reference_ids": ids, "message": f"{len(ids)} found"}
        )

    async def delete_reference(self, request: Request) -> Response:
        """Delete a voice and its audio."""
        body = validate(await read_body(request), DeleteReference)
        check_reference_id("reference_id", body.reference_id)
        voice = await self._find(body.reference_id)
        await self._voices.remove(voice.voice_id)
        return _reply(
            request,
            {"success": True, "message": "deleted", "reference_id": body.reference_id},
        )

    async def update_reference(self, request: Request) -> Response:
        """Give a voice another id."""
        body = validate(await read_body(request), UpdateReference)
        check_reference_id("old_reference_id", body.old_reference_id)
        check_reference_id("new_reference_id", body.new_reference_id)
        if body.old_reference_id == body.new_reference_id:
            raise _invalid("new_reference_id", "the new reference_id is the old one")
        voice = await self._find(body.old_reference_id)
        await self._voices.rename(voice.voice_id, body.new_reference_id)
        return _reply(
            request,
            {
                "success": True,
                "message": "renamed",
                "old_reference_id": body.old_reference_id,
                "new_reference_id": body.new_reference_id,
            },
        )

    async def encode(self, request: Request) -> Response:
        """The codes of audio files, K lists of T whole numbers for each."""
        codec = await self._services.codec()
        if codec is None:
            return error_answer(_NO_CODEC)
        given = await read_body(request, lists=frozenset({"audios"}), max_files=MAX_ITEMS + 1)
        files = [file.content for file in validate(given, EncodeAudio).audios]
        return await self._work(request, partial(_encode, codec, files))

    async def decode(self, request: Request) -> Response:
        """The samples of codes: for each item 16-bit floats, little-endian, mono."""
        codec = await self._services.codec()
        if codec is None:
            return error_answer(_NO_CODEC)
        body = validate(await read_body(request, max_values=_MAX_CODES), DecodeTokens)
        return await self._work(request, partial(_decode, codec, body.tokens))

    async def _work(
        self, request: Request, work: Callable[[], Awaitable[dict[str, Any]]]
    ) -> Response:
        """Work as long as the client stays. It costs a request and no characters."""

        async def do() -> dict[str, Any]:
            async with self._services.desk.work(request.state.principal):
                return await work()

        return _reply(request, await while_connected(request.receive, do()))

    async def _find(self, wanted: str) -> Voice:
        voice = await self._voices.find(wanted)
        if voice is None:
            raise NotFoundError(
                "there is no such voice", code="voice_not_found", param="reference_id"
            )
        return voice


def fish_selfhosted_router(services: Services, _: ServerOptions) -> GuardedRouter:
    """Build the routes."""
    work = SelfHosted(services)
    router = GuardedRouter(tags=["fish-speech"])
    routes: tuple[tuple[str, str, Any, type[BaseModel] | None, dict[str, Any]], ...] = (
        ("POST", "references/add", work.add_reference, AddReference, WRITE_VOICES),
        ("GET", "references/list", work.list_references, None, READ_VOICES),
        ("DELETE", "references/delete", work.delete_reference, DeleteReference, WRITE_VOICES),
        ("POST", "references/update", work.update_reference, UpdateReference, WRITE_VOICES),
        ("POST", "vqgan/encode", work.encode, EncodeAudio, SPEECH),
        ("POST", "vqgan/decode", work.decode, DecodeTokens, SPEECH),
    )
    answer: dict[str, Any] = {"content": {"application/json": {}, "application/msgpack": {}}}
    responses: dict[int | str, dict[str, Any]] = {
        **FISH_ERRORS,
        200: {"description": "Done.", **answer},
        **error_answers(FishErrorBody, {409: "The id is taken.", 501: "The engine has no codec."}),
    }
    for method, name, run, body, scope in routes:
        router.add_api_route(
            f"/v1/{name}",
            run,
            methods=[method],
            response_class=Response,
            responses=responses,
            openapi_extra={**(_body_schema(body) if body else {}), **scope},
        )
    for method in ("GET", "POST"):
        router.add_api_route("/v1/health", get_alive, methods=[method], openapi_extra=PUBLIC)
    return router


async def get_alive() -> dict[str, str]:
    """Say that the server is there, as fish-speech's own does."""
    return {"status": "ok"}


def reference_id(voice: Voice) -> str:
    """What fish-speech's clients call a voice: its name where its id comes of that, else its id."""
    is_ours = _ID.fullmatch(voice.name) and voice.voice_id in propose_ids(voice.name)
    return voice.name if is_ours else voice.voice_id


def check_reference_id(field: str, wanted: str) -> None:
    """Raise UserError unless it may be an id."""
    is_fit = len(wanted) <= MAX_NAME_CHARS and _ID.fullmatch(wanted)
    if not is_fit or not any(char.isalnum() for char in wanted):
        raise _invalid(
            field,
            f"{field} cannot be an id: use 1 to {MAX_NAME_CHARS} letters, digits, - _ and spaces, "
            "at least one of them a letter or digit",
        )


async def _encode(codec: CodecService, files: list[bytes]) -> dict[str, Any]:
    return {"tokens": [codes.tolist() for codes in await codec.encode(files)]}


async def _decode(codec: CodecService, items: list[Any]) -> dict[str, Any]:
    return {"audios": [pcm.astype("<f2").tobytes() for pcm in await codec.decode(items)]}


def _reply(request: Request, content: dict[str, Any]) -> Response:
    is_json = prefers_json(request.headers.get("accept", ""))
    if is_json or request.query_params.get("format") == "json":
        return JSONResponse({key: _jsonable(value) for key, value in content.items()})
    return Response(ormsgpack.packb(content), media_type="application/msgpack")


def _jsonable(value: Any) -> Any:
    """Bytes as base64, as JSON has none."""
    if isinstance(value, list) and value and isinstance(value[0], bytes):
        return [base64.b64encode(item).decode("ascii") for item in value]
    return value


def _body_schema(body: type[BaseModel]) -> dict[str, Any]:
    kinds = ["application/json", "application/msgpack", "multipart/form-data"]
    properties: dict[str, Any] = {name: {"type": "string"} for name in body.model_fields}
    if "audio" in properties:
        properties["audio"] = {"type": "string", "format": "binary"}
        kinds.reverse()
    if "audios" in properties:
        properties["audios"] = {"type": "array", "items": {"type": "string", "format": "binary"}}
        kinds.reverse()
    if "tokens" in properties:
        numbers = {"type": "array", "items": {"type": "integer"}}
        properties["tokens"] = {"type": "array", "items": {"type": "array", "items": numbers}}
    schema = {"type": "object", "properties": properties, "required": list(body.model_fields)}
    return {
        "requestBody": {"required": True, "content": {kind: {"schema": schema} for kind in kinds}}
    }


def _invalid(field: str, message: str) -> UserError:
    return UserError(message, code="invalid_parameter", param=field)
