"""From the fields of ElevenLabs to a `SpeechRequest`: what they mean here, and what has no effect.

Source: ElevenLabs API reference; Fish Audio's compatibility layer for stability.
"""

import re
from collections.abc import Iterator

from fishs2.audio.effects import Effects
from fishs2.engines.base import Latency, Sampling
from fishs2.server.dialects.elevenlabs.body import TextToSpeech, VoiceSettings
from fishs2.server.dialects.elevenlabs.formats import read_output_format
from fishs2.server.dialects.openai.request import find_model
from fishs2.server.options import ServerOptions
from fishs2.service.speech.request import SpeechRequest
from fishs2.service.voices.choice import DEFAULT_VOICE

_THEIR_MODEL = re.compile(r"eleven_[a-z0-9_.]{1,60}")
_NO_VOICE = frozenset({"", "-", DEFAULT_VOICE})

WITHOUT_EFFECT = ("similarity_boost", "style", "use_speaker_boost")
"""Of the settings of a voice."""

_LATENCIES: tuple[Latency, ...] = ("normal", "balanced", "balanced", "low", "low")
"""By `optimize_streaming_latency`."""

_LISTS = ("previous_request_ids", "next_request_ids", "pronunciation_dictionary_locators")
_TEXTS = ("previous_text", "next_text")
_SWITCHES = ("apply_language_text_normalization", "use_pvc_as_ivc")
_THEIR_NAMES = {"temperature": "stability", "latency": "optimize_streaming_latency"}


def to_speech_request(
    body: TextToSpeech,
    voice_id: str,
    options: ServerOptions,
    *,
    request_id: str,
    output_format: str | None,
    latency: int | None,
    is_timed: bool = False,
) -> SpeechRequest:
    """Translate the dialect into ours. latency: `optimize_streaming_latency`. is_timed: it is to
    be known when each word sounds.

    Raises UserError `unsupported_format`, NotFoundError `model_not_found`.
    """
    audio_format = read_output_format(output_format)
    check_model(body.model_id, options)
    settings = body.voice_settings or VoiceSettings()
    stability = settings.stability
    return SpeechRequest(
        dialect="elevenlabs",
        request_id=request_id,
        text=body.text,
        voice=DEFAULT_VOICE if voice_id.strip().lower() in _NO_VOICE else voice_id,
        format=audio_format.name,
        sample_rate_hz=audio_format.sample_rate_hz,
        bit_rate=audio_format.bit_rate,
        language=body.language_code,
        timestamps="word" if is_timed else None,
        latency="normal" if latency is None else _LATENCIES[latency],
        effects=Effects(speed=settings.speed or 1.0),
        sampling=Sampling(
            temperature=None if stability is None else round(1 - stability, 6), seed=body.seed
        ),
        unasked=frozenset({"latency"} if latency is None else ()),
        unheeded=tuple(_unheeded(body, settings)),
    )


def check_model(name: str | None, options: ServerOptions) -> None:
    """Raise NotFoundError unless it is one of our models, or one of ElevenLabs'."""
    if name and not _THEIR_MODEL.fullmatch(name.strip().lower()):
        find_model(name, options)


def in_their_words(ignored: tuple[str, ...]) -> tuple[str, ...]:
    """Names of fields without effect, as these clients know them."""
    return tuple(_THEIR_NAMES.get(name, name) for name in ignored)


def _unheeded(body: TextToSpeech, settings: VoiceSettings) -> Iterator[str]:
    yield from (name for name in WITHOUT_EFFECT if getattr(settings, name) is not None)
    yield from (name for name in (*_TEXTS, *_LISTS, *_SWITCHES) if getattr(body, name))
    if body.apply_text_normalization not in (None, "auto"):
        yield "apply_text_normalization"
