"""Fish Audio's speech body becomes our request: each dialect's defaults, and what has no effect."""

from dataclasses import replace

from fishs2.audio.effects import Effects
from fishs2.engines.base import Latency, Sampling
from fishs2.errors import UserError
from fishs2.server.dialects.fish_cloud.body import SelfHostedTts, Tts, TtsReference
from fishs2.server.edge.words import to_words
from fishs2.server.options import ServerOptions
from fishs2.service.speech.request import SpeechRequest, fill
from fishs2.service.voices.choice import GivenReference, SpeakerVoice
from fishs2.text.splitting.silences import Silences

_LATENCY: Latency = "normal"

_RATES_HZ = {
    "wav": (8_000, 16_000, 24_000, 32_000, 44_100),
    "pcm": (8_000, 16_000, 24_000, 32_000, 44_100),
    "mp3": (32_000, 44_100),
    "opus": (48_000,),
}
"""By format; the last is the default. Source: Fish Audio API reference, text-to-speech."""

PCM_RATE_HZ = _RATES_HZ["pcm"][-1]

_CLOUD = Sampling(temperature=0.7, top_p=0.7, repetition_penalty=1.2)
_REPETITION_PENALTY = 1.1
_MAX_NEW_TOKENS = 1024
"""Defaults of the cloud, of fish-speech's own server, and of both. Their clients send them whatever
their user wants: only another value is a wish."""

_NO_EFFECT = ("normalize", "early_stop_threshold", "features")
"""Fields that no engine acts on. `streaming` and `use_memory_cache` are what it always does."""


def to_speech_request(body: Tts, options: ServerOptions, request_id: str) -> SpeechRequest:
    """Translate either dialect into ours. Raises UserError."""
    is_self_hosted = isinstance(body, SelfHostedTts)
    sampling, unasked = _self_hosted(body, options) if is_self_hosted else _cloud(body)
    if body.latency == _LATENCY:
        unasked |= {"latency"}
    speakers = _speakers(body)
    one = speakers[0] if len(speakers) == 1 else SpeakerVoice()
    prosody = body.prosody
    loudness = options.loudness_lufs if prosody and prosody.normalize_loudness else None
    return SpeechRequest(
        dialect="fish_speech" if is_self_hosted else "fish_cloud",
        request_id=request_id,
        text=body.text,
        voice=one.voice,
        references=one.references,
        speakers=speakers if len(speakers) > 1 else (),
        format=body.format,
        sample_rate_hz=_sample_rate(body),
        bit_rate=_bit_rate(body),
        max_utterance_chars=body.chunk_length,
        short_utterance_chars=body.min_chunk_length,
        is_continuous=body.condition_on_previous_chunks,
        emoji=body.emoji,
        text_cleaning=body.text_cleaning,
        text_type=body.text_type,
        verify=body.verify,
        lexicons=tuple(body.lexicons or ()),
        pronunciations=to_words(body.pronunciations),
        silences=Silences(body.pause_sentence, body.pause_line, body.pause_paragraph),
        latency=body.latency,
        effects=Effects(
            speed=prosody.speed if prosody else 1.0,
            volume_db=prosody.volume if prosody else 0.0,
            loudness_lufs=loudness,
        ),
        sampling=sampling,
        unasked=unasked,
        unheeded=_unheeded(body),
    )


def check_unverified(request: SpeechRequest) -> None:
    """Raise UserError where a verdict is asked for, and the answer has no place for it."""
    if request.verify:
        raise UserError(
            "verify is taken by POST /v1/tts and /v1/audio/speech only: this answer has no place "
            "for the verdict",
            code="invalid_parameter",
            param="verify",
        )


def _speakers(body: Tts) -> tuple[SpeakerVoice, ...]:
    """The voice of each speaker; names win over recordings, as in fish-speech's server.

    Raises UserError `voice_not_cloned`.
    """
    if any(name.strip() for name in body.reference_id):
        return tuple(SpeakerVoice(voice=name) for name in body.reference_id)
    for number, speaker in enumerate(body.references):
        if not speaker and len(body.references) > 1:
            raise UserError(
                f"speaker {number} has no recording: each list in references needs one",
                code="voice_not_cloned",
                param="references",
            )
    return tuple(
        SpeakerVoice(references=tuple(_given(reference) for reference in speaker))
        for speaker in body.references
    )


def _given(reference: TtsReference) -> GivenReference:
    return GivenReference(content=reference.audio, transcript=reference.text)


def _sample_rate(body: Tts) -> int:
    rates_hz = _RATES_HZ[body.format]
    if body.sample_rate is None:
        return rates_hz[-1]
    if body.sample_rate not in rates_hz:
        raise UserError(
            f"sample_rate {body.sample_rate} is not supported for {body.format}; use one of "
            f"{', '.join(map(str, rates_hz))}",
            code="unsupported_sample_rate",
            param="sample_rate",
        )
    return body.sample_rate


def _bit_rate(body: Tts) -> int | None:
    """In bit/s; None where the format has none, or is to choose."""
    if body.format == "mp3":
        return 1000 * body.mp3_bitrate
    if body.format == "opus" and body.opus_bitrate > 0:
        return body.opus_bitrate if body.opus_bitrate >= 1000 else 1000 * body.opus_bitrate
    return None


def _cloud(body: Tts) -> tuple[Sampling, frozenset[str]]:
    """What holds, and what of it nobody asked for."""
    sent = _sent(body)
    unasked = _unasked(sent, _CLOUD)
    if "max_new_tokens" in unasked:
        sent = replace(sent, max_new_tokens=None)
    return fill(sent, _CLOUD), unasked


def _self_hosted(body: Tts, options: ServerOptions) -> tuple[Sampling, frozenset[str]]:
    """The same. A limit that nobody asked for holds, as it does in fish-speech's own server."""
    sent = _sent(body)
    usual = Sampling(
        temperature=options.temperature,
        top_p=options.top_p,
        repetition_penalty=_REPETITION_PENALTY,
    )
    return fill(sent, usual), _unasked(sent, usual)


def _sent(body: Tts) -> Sampling:
    return Sampling(
        temperature=body.temperature,
        top_p=body.top_p,
        repetition_penalty=body.repetition_penalty,
        max_new_tokens=body.max_new_tokens,
        seed=None if body.seed == -1 else body.seed,
    )


def _unasked(sent: Sampling, usual: Sampling) -> frozenset[str]:
    usual = replace(usual, max_new_tokens=_MAX_NEW_TOKENS)
    return frozenset(
        name for name in sent.__slots__ if getattr(sent, name) in (None, getattr(usual, name))
    )


def _unheeded(body: Tts) -> tuple[str, ...]:
    """What has no effect and was meant: other than the default."""
    fields = type(body).model_fields
    return tuple(name for name in _NO_EFFECT if getattr(body, name) != fields[name].default)
