"""What clients say: events with what each may hold. Source: OpenAI API reference, realtime."""

import json
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field, ValidationError, field_validator, model_validator

from fishs2.errors import UserError
from fishs2.server.edge.fields import Integer, JsonBody, Number

MAX_EVENT_BYTES = 1_048_576

_AUDIO = "input_audio_"
_FORMATS = {"audio/pcm": "pcm", "pcm16": "pcm", "pcm": "pcm", "wav": "wav", "mp3": "mp3"}
_FORMATS |= {"audio/wav": "wav", "audio/mpeg": "mp3", "audio/opus": "opus", "opus": "opus"}
PCM_RATE_HZ = 24_000
"""Of PCM where nobody says otherwise, as OpenAI's is."""


class Format(JsonBody):
    """How the audio is encoded."""

    type: str = "audio/pcm"
    rate: Annotated[Integer, Field(ge=8_000, le=48_000)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: object) -> object:
        return {"type": value} if isinstance(value, str) else value

    @field_validator("type")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value not in _FORMATS:
            raise ValueError(f"must be one of {', '.join(_FORMATS)}")
        return value

    @property
    def name(self) -> str:
        """Ours."""
        return _FORMATS[self.type]

    @property
    def rate_hz(self) -> int | None:
        """Samples per second; None is what the format and engine prefer."""
        return self.rate or (PCM_RATE_HZ if self.name == "pcm" else None)


class VoiceRef(JsonBody):
    """A voice given as an object."""

    id: str


class Output(JsonBody):
    """How the audio of an answer is."""

    format: Format | None = None
    voice: str | VoiceRef | None = None
    speed: Annotated[Number, Field(ge=0.25, le=4)] | None = None


class Input(JsonBody):
    """What would be heard, if this server listened here."""

    turn_detection: Any = None


class Audio(JsonBody):
    """Both sides of the sound."""

    input: Input | None = None
    output: Output | None = None


class Manner(JsonBody):
    """How a response is spoken, or all of a session. Fields of the first version count too."""

    model: str | None = None
    instructions: Annotated[str, Field(max_length=4096)] | None = None
    output_modalities: list[str] | None = Field(
        None, validation_alias=AliasChoices("output_modalities", "modalities")
    )
    audio: Audio | None = None
    voice: str | VoiceRef | None = None
    output_audio_format: Format | None = None
    speed: Annotated[Number, Field(ge=0.25, le=4)] | None = None
    turn_detection: Any = None

    @property
    def output(self) -> Output:
        """How the audio is, wherever the client said so."""
        given = (self.audio and self.audio.output) or Output()
        return Output(
            format=given.format or self.output_audio_format,
            voice=given.voice or self.voice,
            speed=given.speed or self.speed,
        )

    def check(self) -> None:
        """Raise UserError for what speech alone cannot do."""
        if self.turn_detection or (self.audio and self.audio.input and self._listens()):
            raise UserError(
                "this server does not listen here, so it detects no turns: set turn_detection to "
                "null, and send text",
                code="turn_detection_not_supported",
                param="turn_detection",
            )
        if self.output_modalities is not None and "audio" not in self.output_modalities:
            raise UserError(
                "this server answers with audio: set output_modalities to ['audio']",
                code="modality_not_supported",
                param="output_modalities",
            )

    def _listens(self) -> bool:
        assert self.audio is not None
        assert self.audio.input is not None
        return bool(self.audio.input.turn_detection)


class Part(JsonBody):
    """A piece of what somebody says."""

    type: str = "input_text"
    text: str = ""
    transcript: str = ""


class Item(JsonBody):
    """One message of a conversation."""

    id: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    type: str = "message"
    role: Literal["user", "assistant", "system"] = "user"
    content: Annotated[list[Part], Field(max_length=100)] = Field(default_factory=list)

    def check(self) -> None:
        """Raise UserError for an item without text."""
        wrong = next((part.type for part in self.content if "text" not in part.type), "")
        if self.type != "message" or wrong:
            raise UserError(
                "only messages of text can be spoken: their content is input_text or output_text",
                code="item_not_supported",
                param="item",
            )

    @property
    def text(self) -> str:
        """What it says."""
        return "".join(part.text for part in self.content)


class Ask(Manner):
    """What a response is to be. input: its text, in place of the conversation's."""

    input: Annotated[list[Item], Field(max_length=100)] | None = None
    metadata: Annotated[dict[str, str], Field(max_length=16)] | None = None


class Event(JsonBody):
    """Any event of a client."""

    type: Annotated[str, Field(max_length=200)]
    event_id: Annotated[str, Field(max_length=512)] | None = None
    session: Manner | None = None
    item: Item | None = None
    item_id: str | None = None
    previous_item_id: str | None = None
    response: Ask | None = None
    response_id: str | None = None


def read_event(content: str) -> Event:
    """An event, from a frame of text. Raises UserError `invalid_event`, `not_supported`."""
    try:
        event = Event.model_validate(json.loads(content))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or None
        raise UserError(
            f"{place or 'the event'}: {first['msg']}", code="invalid_event", param=place
        ) from None
    except (ValueError, RecursionError):
        raise UserError("an event is a JSON object", code="invalid_event") from None
    if event.type.startswith(_AUDIO):
        raise UserError(
            "this server does not listen here: send text with conversation.item.create; recordings "
            "go to /v1/audio/transcriptions",
            code="not_supported",
            param="type",
        )
    return event
