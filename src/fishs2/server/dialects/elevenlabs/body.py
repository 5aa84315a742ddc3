"""The fields of ElevenLabs' speech: bodies, queries, and the frames of its WebSockets.

`request` translates them. Sources: ElevenLabs API reference; elevenlabs 2.78; LiveKit, Pipecat.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from fishs2.server.edge.fields import Integer, JsonBody, Language, Number

MAX_CONTEXT_ID_CHARS = 256

_Seed = Annotated[Integer, Field(ge=0, le=4_294_967_295)]
_Normalization = Literal["auto", "on", "off"]
_ContextId = Annotated[str, Field(max_length=MAX_CONTEXT_ID_CHARS)]


class VoiceSettings(JsonBody):
    """How a voice speaks."""

    stability: Annotated[Number, Field(ge=0, le=1)] | None = Field(
        None, description="1 less this is the temperature; 1 always takes the likeliest token."
    )
    similarity_boost: Annotated[Number, Field(ge=0, le=1)] | None = Field(
        None, description="Accepted; S2 Pro has none."
    )
    style: Annotated[Number, Field(ge=0, le=1)] | None = Field(
        None, description="Accepted; S2 Pro has none."
    )
    use_speaker_boost: bool | None = Field(None, description="Accepted; S2 Pro has none.")
    speed: Annotated[Number, Field(ge=0.25, le=4)] | None = Field(
        None, description="Pace; the pitch stays."
    )


class _Common(JsonBody):
    """What bodies and the addresses of WebSockets have in common."""

    model_id: str | None = Field(
        None, description="A model id from /elevenlabs/v1/models, or any of ElevenLabs' names."
    )
    language_code: Language = Field(
        None, max_length=35, description="A language code, a hint to the engine, for example de."
    )
    seed: _Seed | None = Field(None, description="The same seed and text give the same speech.")
    apply_text_normalization: _Normalization | None = Field(
        None, description="Accepted; the engine reads numbers and dates as it does."
    )


class TextToSpeech(_Common):
    """The body of POST /elevenlabs/v1/text-to-speech/{voice_id}. Unknown fields are ignored."""

    text: str = Field(description="The text to speak.")
    voice_settings: VoiceSettings | None = Field(None, description="How the voice speaks.")
    previous_text: str | None = Field(None, description="Accepted; nothing is carried over.")
    next_text: str | None = Field(None, description="Accepted; nothing is carried over.")
    previous_request_ids: list[str] | None = Field(
        None, max_length=100, description="Accepted; no speech is kept."
    )
    next_request_ids: list[str] | None = Field(
        None, max_length=100, description="Accepted; no speech is kept."
    )
    pronunciation_dictionary_locators: list[Any] | None = Field(
        None, max_length=100, description="Accepted; there are no such dictionaries here."
    )
    apply_language_text_normalization: bool | None = Field(
        None, description="Accepted; the engine reads numbers and dates as it does."
    )
    use_pvc_as_ivc: bool | None = Field(None, description="Accepted; all voices are of one kind.")


class CharacterAlignment(BaseModel):
    """When each character of the text sounds; the three lists are as long as each other."""

    characters: list[str]
    character_start_times_seconds: list[float]
    character_end_times_seconds: list[float]


class TimedSpeech(BaseModel):
    """Audio, and when its characters sound."""

    audio_base64: str
    alignment: CharacterAlignment | None
    normalized_alignment: CharacterAlignment | None = Field(description="The same.")


class SpeechQuery(JsonBody):
    """The query of the same routes."""

    output_format: str | None = Field(
        None,
        max_length=40,
        description="mp3_RATE_KBPS, opus_48000_KBPS, pcm_RATE, wav_RATE, ulaw_8000 or alaw_8000; "
        "mp3_44100_128 if it is not given.",
    )
    optimize_streaming_latency: Annotated[int, Field(ge=0, le=4)] | None = Field(
        None, description="0 waits for the best sound, 3 and 4 for none."
    )
    enable_logging: bool | None = Field(None, description="No effect: texts are never logged.")


class LiveQuery(_Common):
    """The query of both WebSockets."""

    output_format: str | None = Field(None, max_length=40)
    optimize_streaming_latency: Annotated[Integer, Field(ge=0, le=4)] | None = None
    inactivity_timeout: Annotated[Integer, Field(ge=1, le=180)] | None = None
    enable_ssml_parsing: bool | None = None
    # None: times begin anew in each message of a connection for several contexts, where Pipecat
    # adds them up; LiveKit asks for them on one clock. False: none at all.
    sync_alignment: bool | None = None
    # What these ask for is what always happens.
    enable_logging: bool | None = None
    auto_mode: bool | None = None


class GenerationConfig(JsonBody):
    """When a speech begins that is sent in bits; numbers of characters."""

    chunk_length_schedule: (
        Annotated[list[Annotated[Integer, Field(ge=1, le=1_000)]], Field(max_length=20)] | None
    ) = None


class Frame(JsonBody):
    """What a client sends over a WebSocket. Unknown fields are ignored."""

    text: str | None = None
    voice_settings: VoiceSettings | None = None
    generation_config: GenerationConfig | None = None
    # Speech begins with the first whole sentence anyway.
    try_trigger_generation: bool | None = None
    flush: bool = False
    context_id: _ContextId | None = None
    close_context: bool = False
    close_socket: bool = False
    xi_api_key: str | None = None
    authorization: str | None = None
