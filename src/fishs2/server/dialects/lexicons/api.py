"""`/v1/lexicons`: how words are said, stored on the server. Source: docs/api.md."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from fishs2.server.edge.auth import READ_VOICES, WRITE_VOICES, GuardedRouter
from fishs2.server.edge.error_bodies import ErrorBody, error_answers
from fishs2.server.edge.fields import JsonBody
from fishs2.server.edge.words import WordBody, to_words
from fishs2.server.options import ServerOptions
from fishs2.service.services import Services
from fishs2.text.pronunciation.words import Word

LEXICONS_PATH = "/v1/lexicons"
_LEXICON_PATH = f"{LEXICONS_PATH}/{{name:path}}"


class LexiconBody(JsonBody):
    """All words of a lexicon."""

    words: list[WordBody] = Field(description="In the place of all that it had.")


class LexiconItem(BaseModel):
    """One lexicon of the list."""

    name: str
    num_words: int


class LexiconList(BaseModel):
    """The body of GET /v1/lexicons."""

    object: Literal["list"] = "list"
    data: list[LexiconItem]


class LexiconAnswer(BaseModel):
    """One lexicon. name: what requests name it by; fields that were not given are null."""

    name: str
    words: list[WordBody]


class DeletedLexicon(BaseModel):
    """The answer to a delete."""

    deleted: Literal[True] = True
    name: str


_ERRORS: dict[int | str, dict[str, Any]] = error_answers(
    ErrorBody,
    {
        400: "The body cannot be read.",
        404: "There is no such lexicon.",
        413: "The body is too large.",
        415: "The body is not JSON.",
        422: "A word or the name is wrong.",
        429: "The lexicons are being changed; try again.",
        503: "The lexicons cannot be read or written.",
    },
)


def lexicons_router(services: Services, options: ServerOptions) -> GuardedRouter:
    """Build the routes."""
    router = GuardedRouter(tags=["Lexicons"])
    lexicons = services.lexicons

    async def list_lexicons() -> LexiconList:
        """List the stored lexicons."""
        counted = [(name, await lexicons.count(name)) for name in await lexicons.list()]
        return LexiconList(
            data=[LexiconItem(name=name, num_words=num_words) for name, num_words in counted]
        )

    async def get_lexicon(name: str) -> LexiconAnswer:
        """Show the words of one lexicon."""
        return _answer(*await lexicons.words(name))

    async def put_lexicon(name: str, body: LexiconBody) -> LexiconAnswer:
        """Store a lexicon; one of this name is replaced."""
        words = to_words(body.words)
        return _answer(await lexicons.put(name, words), words)

    async def delete_lexicon(name: str) -> DeletedLexicon:
        """Delete a lexicon."""
        return DeletedLexicon(name=await lexicons.remove(name))

    def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
        return {status: _ERRORS[status] for status in statuses}

    router.add_api_route(
        LEXICONS_PATH,
        list_lexicons,
        methods=["GET"],
        responses=errors(503),
        openapi_extra=READ_VOICES,
    )
    router.add_api_route(
        _LEXICON_PATH,
        get_lexicon,
        methods=["GET"],
        responses=errors(404, 422, 503),
        openapi_extra=READ_VOICES,
    )
    router.add_api_route(
        _LEXICON_PATH,
        put_lexicon,
        methods=["PUT"],
        responses=errors(400, 413, 415, 422, 429, 503),
        openapi_extra=WRITE_VOICES,
    )
    router.add_api_route(
        _LEXICON_PATH,
        delete_lexicon,
        methods=["DELETE"],
        responses=errors(404, 422, 429, 503),
        openapi_extra=WRITE_VOICES,
    )
    return router


def _answer(name: str, words: tuple[Word, ...]) -> LexiconAnswer:
    return LexiconAnswer(
        name=name,
        words=[
            WordBody(
                word=word.word,
                regex=word.regex,
                say=word.say,
                ipa=word.ipa,
                language=word.language,
                case=word.case,
            )
            for word in words
        ],
    )
