"""The bodies of the fishaudio.net open API: their fields, and how they are read."""

from typing import Annotated, Any, Literal

from pydantic import Field

from fishs2.server.edge.fields import JsonBody, Number, PauseS
from fishs2.server.edge.words import Lexicons, Pronunciations
from fishs2.text.cleaning.cleaning import TextCleaning
from fishs2.text.directing.ssml import TextType
from fishs2.text.emoji import EmojiReading

_MAX_PAGE_SIZE = 1_000


class Body(JsonBody):
    """What every body of the dialect may hold."""

    token: Any = Field(None, description="The key, for clients that cannot send a header.")


class OpenSpeech(Body):
    """The body of POST /api/open/tts. Unknown fields are ignored."""

    reference_id: str = Field(description="A voice model id, or default.")
    text: str = Field(description="The text to speak.")
    speed: Annotated[Number, Field(ge=0.5, le=2.0)] = 1.0
    volume: Annotated[Number, Field(ge=-20, le=20, description="Gain in dB.")] = 0.0
    version: Literal["v1", "v2", "s1", "v3-turbo", "v3-hd"] = "v1"
    format: Literal["mp3", "wav", "pcm"] = "mp3"
    emotion: Literal[
        "auto", "happy", "sad", "angry", "fearful", "disgusted", "surprised", "calm"
    ] = "auto"
    language: Literal["auto", "zh", "en"] = "auto"
    emoji: EmojiReading | None = Field(None, description="Read emoji by name, or skip them.")
    text_cleaning: TextCleaning | None = Field(
        None, description="What is taken out of the text before it is spoken."
    )
    text_type: TextType = Field("text", description="text, or ssml: the text is an SSML document.")
    lexicons: Lexicons = None
    pronunciations: Pronunciations = None
    pause_sentence: PauseS = Field(None, description="Silence after each sentence, in seconds.")
    pause_line: PauseS = Field(None, description="Silence after each line that is meant as one.")
    pause_paragraph: PauseS = Field(None, description="Silence after each paragraph, in seconds.")
    cache: bool = Field(False, description="True answers JSON with a link to the audio.")


class ListModels(Body):
    """The body of POST /api/open/list-models."""

    modelType: str = "all"
    includePersonal: bool = True
    page: int = Field(1, ge=1, le=1_000_000)
    pageSize: int = Field(10, ge=1, le=_MAX_PAGE_SIZE)


class DeleteModel(Body):
    """The body of POST /api/open/delete-model."""

    modelId: str


def token_in(given: dict[str, Any]) -> str | None:
    """The key, if the body has one."""
    token = given.get("token")
    return token if isinstance(token, str) else None
