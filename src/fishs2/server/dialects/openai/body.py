"""The body of POST /v1/audio/speech, with every extension that real clients send.

Fields of OpenAI, of the original wrapper, of Pandrator, of vLLM and SGLang. `request` translates
it; here is only what each field may hold. Sources: docs/api.md names the client of each field.
"""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from fishs2.audio.formats import FORMATS
from fishs2.server.edge.fields import (
    MAX_REFERENCES,
    Integer,
    JsonBody,
    Language,
    Number,
    PauseS,
)
from fishs2.server.edge.words import Lexicons, Pronunciations
from fishs2.service.speech.timing.units import CaptionFormat, Unit
from fishs2.service.voices.rules import MAX_TRANSCRIPT_CHARS
from fishs2.text.cleaning.cleaning import TextCleaning
from fishs2.text.directing.ssml import TextType
from fishs2.text.emoji import EmojiReading

MAX_CONTROL_CHARS = 512


def _one_as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


FormatName = Annotated[str, WithJsonSchema({"type": "string", "enum": list(FORMATS)})]
Temperature = Annotated[Number, Field(ge=0, le=2)] | None
TopP = Annotated[Number, Field(ge=0, le=1)] | None
TopK = Annotated[Integer, Field(ge=0, le=1_000)] | None
MaxNewTokens = Annotated[Integer, Field(ge=1, le=8192)] | None
Transcript = Annotated[str, Field(max_length=MAX_TRANSCRIPT_CHARS)] | None
Control = Annotated[str, Field(max_length=MAX_CONTROL_CHARS)] | None


class VoiceRef(JsonBody):
    """A voice given as an object."""

    id: str


class SamplingBody(JsonBody):
    """How the engine draws and works: the original wrapper's `fishs2` object."""

    max_new_tokens: MaxNewTokens = Field(None, description="Longest utterance, in frames of 46 ms.")
    temperature: Temperature = Field(None, description="0 always takes the likeliest token.")
    top_p: TopP = Field(None, description="Share of the likeliest tokens to draw from.")
    top_k: TopK = Field(None, description="How many of the likeliest tokens; 0 is all.")
    min_tokens_before_end: Annotated[Integer, Field(ge=0, le=8192)] | None = Field(
        None, description="Shortest utterance, in frames of 46 ms."
    )
    n_threads: Annotated[Integer, Field(ge=0, le=512)] | None = Field(
        None, description="Threads of the engine; 0 is its own choice."
    )
    verbose: bool | None = Field(None, description="Let the engine write to its log.")


class Prosody(JsonBody):
    """Pace and loudness, as Fish Audio's API has them."""

    speed: Annotated[Number, Field(ge=0.5, le=2.0)] | None = Field(
        None, description="Pace; used if `speed` is 1."
    )
    volume: Annotated[Number, Field(ge=-20, le=20)] | None = Field(None, description="Gain in dB.")
    normalize_loudness: bool | None = Field(
        None, description="Bring the speech to FISHS2_LOUDNESS_LUFS before the gain."
    )


class ReferenceBody(JsonBody):
    """One piece of reference audio with its transcript, as SGLang has it."""

    audio: str | None = Field(None, description="A data: URL, or base64 of an audio file.")
    audio_path: str | None = Field(None, description="A path on the server, or a data: URL.")
    text: Transcript = Field(None, description="What is said in it.")


class CastVoice(ReferenceBody):
    """The voice of one speaker: a name, or a reference."""

    id: str | None = Field(None, description="A voice name.")


class SpeechBody(JsonBody):
    """The body of POST /v1/audio/speech. Unknown fields are ignored."""

    model: str = Field(description="A model id from /v1/models, or an OpenAI name such as tts-1.")
    input: str = Field(min_length=1, description="The text to speak.")
    voice: str | VoiceRef = Field(
        "default", description="A voice name, or an object with its id. OpenAI names are accepted."
    )
    instructions: str | None = Field(
        None,
        max_length=4096,
        description="How to speak, in plain words; or a JSON object with overrides.",
    )
    response_format: FormatName | None = Field(
        None,
        description=f"One of {', '.join(FORMATS)}. Default: wav; mp3 for OpenAI model names.",
    )
    speed: Annotated[Number, Field(ge=0.25, le=4.0)] = Field(
        1.0, description="Pace; the pitch stays."
    )
    stream_format: Literal["audio", "sse"] | None = Field(
        None, description="audio is the same as stream; sse: server-sent events."
    )
    stream: bool | None = Field(
        None,
        description="True sends the audio as it is made, false when it is complete. Default: true, "
        "but false for wav.",
    )
    sample_rate: Annotated[Integer, Field(ge=8_000, le=48_000)] | None = Field(
        None, description="Samples per second of the answer, in Hz."
    )
    language: Language = Field(
        None,
        max_length=35,
        description="BCP 47 tag, a hint to the engine, for example de; auto is none.",
    )
    fishs2: SamplingBody | None = Field(None, description="Engine parameters; they win over all.")
    reference_audio: str | None = Field(
        None, description="Speak like this: a path on the server, or a data: URL with audio."
    )
    prompt_audio: str | None = Field(None, description="The same as reference_audio.")
    ref_audio: str | None = Field(None, description="The same as reference_audio.")
    speaker_wav: Annotated[list[str] | None, BeforeValidator(_one_as_list)] = Field(
        None, max_length=MAX_REFERENCES, description="The first is used, if nothing above is given."
    )
    references: list[ReferenceBody] | None = Field(
        None, max_length=MAX_REFERENCES, description="Speak like these, joined in this order."
    )
    reference_text: Transcript = Field(None, description="What is said in the reference audio.")
    ref_text: Transcript = Field(None, description="The same as reference_text.")
    prompt_text: Transcript = Field(None, description="The same, if reference_text is not given.")
    control: Control = Field(None, description="A direction, put in parentheses before the text.")
    temperature: Temperature = Field(None, description="As in fishs2.")
    top_p: TopP = Field(None, description="As in fishs2.")
    top_k: TopK = Field(None, description="As in fishs2.")
    max_new_tokens: MaxNewTokens = Field(None, description="As in fishs2.")
    repetition_penalty: Annotated[Number, Field(ge=0, le=10)] | None = Field(
        None, description="Above 1 avoids repeated tokens."
    )
    seed: Annotated[Integer, Field(ge=-1, le=2**63 - 1)] | None = Field(
        None, description="Same seed, same speech; -1 is a fresh one."
    )
    chunk_length: Annotated[Integer, Field(ge=100, le=300)] | None = Field(
        None, description="Longest piece of text spoken in one go, in characters."
    )
    latency: Literal["low", "normal", "balanced"] | None = Field(
        None,
        json_schema_extra={"default": "normal"},
        description="How soon the first sound is wanted, where the engine has a choice.",
    )
    normalize: bool | None = Field(
        None, description="Accepted; engines read numbers and dates by themselves."
    )
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
    cast: dict[str, str | CastVoice] | None = Field(
        None,
        description="The voice of each speaker whose name begins lines, as [Tom] or Tom:, in the "
        "text; a voice name, or a reference.",
    )
    prosody: Prosody | None = Field(None, description="Pace and loudness.")
    timestamps: Unit | None = Field(
        None,
        description="Say when words or sentences sound: JSON with the audio in base64, or "
        "speech.times among the events.",
    )
    captions: CaptionFormat | None = Field(
        None, description="Answer with captions in place of the audio; with timestamps, beside it."
    )
    verify: bool | None = Field(
        None,
        description="Hear it again, speak again what differs, and say so in X-Fishs2-Verify, or in "
        "a speech.verify event; it is sent when all of it has been heard.",
    )
