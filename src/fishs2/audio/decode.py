"""An uploaded file into PCM: references for cloning, and recordings to transcribe.

The content alone says what the file is. Everything here works on bytes that nobody has vetted:
only plain containers and audio codecs are let in, nothing that names another file or address, and
what comes out is limited while it comes.
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import av
import numpy as np
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer

from fishs2.audio.channels import ChannelStats
from fishs2.audio.pcm import Pcm
from fishs2.errors import UserError

# Names of FFmpeg's demuxers. Not in it, by intent: hls, dash, concat, image sequences and the
# other formats that open what the file names.
_CONTAINERS = "wav,w64,aiff,caf,au,mp3,flac,ogg,aac,mov,matroska,webm"

# The codecs that those containers usually hold; FFmpeg's rarer decoders are its least tested code.
_CODECS = (
    "pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_u8,pcm_s8,pcm_f32le,"
    "pcm_f32be,pcm_f64le,pcm_f64be,pcm_alaw,pcm_mulaw,adpcm_ms,adpcm_ima_wav,mp3,mp3float,"
    "mp2,mp2float,flac,vorbis,libvorbis,opus,libopus,aac,alac,ac3,eac3"
)

MIN_RATE_HZ, MAX_RATE_HZ = 4_000, 192_000

_MAX_CHANNELS = 8

# To find out what a file is, and what is in it: FFmpeg's own 5 MB are a million packets of nothing.
_PROBE_BYTES = 1_000_000

# In a row, without one sample: minutes of damage in a recording, or a file that is made of nothing.
_MAX_EMPTY_PACKETS = 5_000

# Floats may exceed full scale, by 20 dB where somebody was careless. What exceeds it by 30 dB holds
# whole numbers of 8, 16 or more bits that were never divided.
_MAX_LEVEL = 32.0


@dataclass(frozen=True, slots=True, eq=False)
class DecodedAudio:
    """pcm: float32 mono [n], n >= 1, finite and within -1..1, at `sample_rate_hz`."""

    pcm: Pcm
    sample_rate_hz: int


def decode_audio(
    source: bytes, *, max_seconds: float, check: Callable[[], None] = lambda: None
) -> DecodedAudio:
    """Decode the first audio stream of a file and mix it down to mono.

    `audio.channels` says how. Floats over full scale are scaled down to it. Damaged places are left
    out, as players do. check: called at every packet; what it raises ends the decoding. Raises
    UserError `invalid_audio`, or `audio_too_long` as soon as there is more than `max_seconds`.
    Blocks, and trusts FFmpeg: what strangers send is `audio.decoder`'s matter.
    """
    if not source:
        raise _invalid("the file is empty")
    parts: list[Pcm] = []
    rate_hz, stats = 0, None
    for samples, rate_hz in _decode_channels(source, max_seconds, check):  # noqa: B007 - used below
        if samples.shape[1] == 1:
            parts.append(samples[:, 0])
        else:
            stats = stats or ChannelStats(samples.shape[1])
            stats.add(samples)
    if stats is not None:
        # Once more: to keep every channel until the weights are known would take much memory.
        weights = stats.weights()
        parts = [samples @ weights for samples, _ in _decode_channels(source, max_seconds, check)]
    if not parts:
        raise _invalid("it has no sound in it")
    pcm = np.concatenate(parts)
    pcm /= np.float32(max(1.0, float(pcm.max()), -float(pcm.min())))
    return DecodedAudio(np.clip(pcm, -1.0, 1.0, out=pcm), rate_hz)


def _decode_channels(
    source: bytes, max_seconds: float, check: Callable[[], None]
) -> Iterator[tuple[Pcm, int]]:
    """Yield pieces [n, channels], finite, and their sample rate, which is the same for all."""
    # Without protocols a demuxer can open nothing beside these bytes.
    options = {
        "format_whitelist": _CONTAINERS,
        # For the decoding that FFmpeg does on its own to find out what the streams are.
        "codec_whitelist": _CODECS,
        "protocol_whitelist": "none",
        "probesize": str(_PROBE_BYTES),
    }
    num_samples = 0
    try:
        # A title in Latin-1 is none of our business.
        with av.open(
            io.BytesIO(source), "r", options=options, metadata_errors="ignore"
        ) as container:
            frames = _decode_frames(container, _open_stream(container), check)
            for samples, sample_rate_hz in _convert_frames(frames):
                _check_samples(samples)
                num_samples += len(samples)
                if num_samples > max_seconds * sample_rate_hz:
                    raise UserError(
                        f"the audio is longer than {max_seconds:g} seconds, which is the limit; "
                        "send a shorter piece",
                        code="audio_too_long",
                    )
                yield samples, sample_rate_hz
    except MemoryError:  # PyAV's own is an FFmpegError too
        raise
    except (av.FFmpegError, ValueError) as error:
        # ValueError: PyAV found a value in the file that it cannot represent.
        raise _invalid("it is not audio in a known format") from error


def _open_stream(container: InputContainer) -> AudioStream:
    if not container.streams.audio:
        raise _invalid("it has no audio")
    stream = container.streams.audio[0]
    # The context is None where FFmpeg has no decoder, whatever PyAV's types say.
    codec = getattr(stream.codec_context, "name", "unknown")
    if codec not in _CODECS.split(","):
        raise _invalid(f"its codec, {codec}, is not supported")
    stream.codec_context.thread_count = 1  # threads cost more than they gain on seconds of sound
    return stream


def _check_samples(samples: Pcm) -> None:
    if not np.isfinite(samples).all():
        raise _invalid("it has NaN or infinite samples")
    peak = float(np.abs(samples).max(initial=0.0))
    if peak > _MAX_LEVEL:
        raise _invalid(
            f"it has floats of up to {peak:,.0f}, where full scale is 1: divide them by the full "
            "scale that they had, 32,768 for 16 bits"
        )


def _convert_frames(frames: Iterator[av.AudioFrame]) -> Iterator[tuple[Pcm, int]]:
    converter = AudioResampler(format="flt")
    shape = None
    for frame in frames:
        num_channels = frame.layout.nb_channels
        if shape is None:
            shape = (frame.sample_rate, num_channels, frame.format.name)
            _check_shape(frame.sample_rate, num_channels)
        if shape != (frame.sample_rate, num_channels, frame.format.name):
            raise _invalid("its sample rate, channels or sample format change midway")
        for packed in converter.resample(frame):
            # Packed, as PyAV reads past the end of the list of planes when a planar frame has 8
            # channels. [1, n * c] -> [n, c]
            samples = packed.to_ndarray().reshape(-1, num_channels)
            yield samples.astype(np.float32, copy=False), frame.sample_rate


def _check_shape(sample_rate_hz: int, num_channels: int) -> None:
    if not MIN_RATE_HZ <= sample_rate_hz <= MAX_RATE_HZ:
        raise _invalid(
            f"its sample rate is {sample_rate_hz} Hz; use {MIN_RATE_HZ} to {MAX_RATE_HZ}"
        )
    if not 1 <= num_channels <= _MAX_CHANNELS:
        raise _invalid(f"it has {num_channels} channels; use 1 to {_MAX_CHANNELS}")


def _decode_frames(
    container: InputContainer, stream: AudioStream, check: Callable[[], None]
) -> Iterator[av.AudioFrame]:
    num_empty = 0
    for packet in container.demux(stream):
        check()
        try:
            frames = packet.decode()
        except av.InvalidDataError:
            frames = []  # tags and damage between frames; players skip them too
        num_empty = 0 if frames else num_empty + 1
        if num_empty > _MAX_EMPTY_PACKETS:
            raise _invalid(f"{_MAX_EMPTY_PACKETS:,} of its packets in a row have no sound in them")
        yield from (frame for frame in frames if isinstance(frame, av.AudioFrame))


def _invalid(reason: str) -> UserError:
    return UserError(
        f"the audio file cannot be read: {reason}; send wav, mp3, flac, ogg, m4a or webm",
        code="invalid_audio",
    )
