"""PCM into the bytes of a format: as a stream, or as one complete file.

`formats` says what can be asked for. `service.speech` picks the encoder; resampling to the
format's rate (`pcm.Resampler`) comes before it. Codecs and containers are FFmpeg's, through PyAV,
which lets go of the GIL while it encodes.
"""

import io
import struct
from contextlib import suppress
from fractions import Fraction
from typing import Protocol

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer

from fishs2.audio.formats import AudioFormat, FormatName
from fishs2.audio.mp3_tag import with_exact_padding, without_totals
from fishs2.audio.pcm import Pcm, check_finite, to_int16
from fishs2.audio.sink import Sink
from fishs2.audio.telephone import samples_of
from fishs2.errors import EngineError, Fishs2Error

_UNKNOWN_BYTES = 0xFFFFFFFF
"""Size in the header of a WAV of unknown length: players read until the stream ends."""

_CODECS: dict[FormatName, tuple[str, str, str]] = {
    # name: (container, codec, sample format that needs least conversion from float32)
    "mp3": ("mp3", "libmp3lame", "fltp"),
    "opus": ("ogg", "libopus", "flt"),
    "aac": ("adts", "aac", "fltp"),
    "flac": ("flac", "flac", "s16"),
}

_MP3_HEAD_BYTES = 1_441
"""The longest frame there is: 320 kbit/s at 32 kHz. The first one holds the tag."""

_MUXER_OPTIONS: dict[FormatName, dict[str, str]] = {
    "mp3": {"id3v2_version": "0"},  # the tag would hold nothing but the encoder's name
    "opus": {},
    "aac": {},
    "flac": {"metadata_header_padding": "0"},  # 8 KiB of nothing otherwise
}

_STREAM_OPTIONS: dict[FormatName, dict[str, str]] = {
    # Pages of two packets: the muxer keeps back a page, and its pages of a second would be a
    # second of waiting. Costs 28 bytes per 40 ms, 6 kbit/s.
    "opus": {"page_duration": "40000"},
}


class AudioEncoder(Protocol):
    """Turns float32 mono at the format's rate into its bytes.

    `encode` takes any number of samples, none and one included. After `flush` or `close` only
    `close` may be called. An encoder that is dropped without either leaks nothing. Not for two
    threads at once. Raises EngineError for samples that are NaN or infinite.
    """

    def encode(self, pcm: Pcm) -> bytes:
        """Take more sound; give the bytes that are complete, b"" while no sound is in them."""
        ...

    def flush(self) -> bytes:
        """Give the rest of the bytes."""
        ...

    def close(self) -> None:
        """Free the codec, also midway. May be called twice."""
        ...


class StreamEncoder:
    """Makes the bytes as the sound comes, for a reader who hears them at once.

    The first bytes come as soon as the codec has a frame, headers with it: a caller who waits for
    bytes has waited for sound. Sizes in headers say "unknown".
    """

    def __init__(self, audio_format: AudioFormat) -> None:
        self._encoder: AudioEncoder
        if audio_format.name in _CODECS:
            self._encoder = _CodecStream(audio_format)
        else:
            self._encoder = _PcmStream(audio_format)

    def encode(self, pcm: Pcm) -> bytes:
        return self._encoder.encode(pcm)

    def flush(self) -> bytes:
        return self._encoder.flush()

    def close(self) -> None:
        self._encoder.close()


class FileEncoder:
    """Writes one complete file whose headers give its exact length.

    `encode` and `flush` give b"": the file is in the sink, complete after `flush`. The codec works
    as the sound comes. What the sink raises passes on.
    """

    def __init__(self, audio_format: AudioFormat, sink: Sink) -> None:
        """sink: the caller closes it."""
        self._encoder: AudioEncoder
        if audio_format.name in _CODECS:
            self._encoder = _CodecFile(audio_format, sink)
        else:
            self._encoder = _PcmFile(audio_format, sink)

    def encode(self, pcm: Pcm) -> bytes:
        return self._encoder.encode(pcm)

    def flush(self) -> bytes:
        return self._encoder.flush()

    def close(self) -> None:
        self._encoder.close()


class _PcmStream:
    """wav, pcm, ulaw and alaw, streamed."""

    def __init__(self, audio_format: AudioFormat) -> None:
        self._samples = samples_of(audio_format)
        self._header = b""
        if audio_format.name == "wav":
            self._header = _wav_header(audio_format.sample_rate_hz, num_samples=None)

    def encode(self, pcm: Pcm) -> bytes:
        if not len(pcm):
            return b""
        return self.flush() + self._samples(pcm)

    def flush(self) -> bytes:
        header, self._header = self._header, b""
        return header

    def close(self) -> None:
        pass


class _PcmFile:
    """wav, pcm, ulaw and alaw, whole."""

    def __init__(self, audio_format: AudioFormat, sink: Sink) -> None:
        self._samples = samples_of(audio_format)
        self._format = audio_format
        self._sink = sink
        self._num_samples = 0
        if audio_format.name == "wav":
            self._write_header()

    def encode(self, pcm: Pcm) -> bytes:
        self._num_samples += len(pcm)
        self._sink.write(self._samples(pcm))
        return b""

    def flush(self) -> bytes:
        if self._format.name == "wav":
            self._sink.seek(0)
            self._write_header()
        return b""

    def close(self) -> None:
        pass

    def _write_header(self) -> None:
        num_samples = self._num_samples
        self._sink.write(_wav_header(self._format.sample_rate_hz, num_samples=num_samples))


class _CodecStream:
    """A format of FFmpeg's, streamed."""

    def __init__(self, audio_format: AudioFormat) -> None:
        self._sink = _AppendOnly()
        options = _STREAM_OPTIONS.get(audio_format.name, {})
        self._writer = _CodecWriter(audio_format, self._sink, options)
        self._header = self._sink.take()
        if audio_format.name == "mp3":
            self._header = without_totals(self._header)

    def encode(self, pcm: Pcm) -> bytes:
        self._writer.write(pcm)
        return self._take() if self._sink.has_bytes else b""

    def flush(self) -> bytes:
        self._writer.finish()
        return self._take()

    def close(self) -> None:
        self._writer.close()

    def _take(self) -> bytes:
        header, self._header = self._header, b""
        return header + self._sink.take()


class _CodecFile:
    """A format of FFmpeg's, whole."""

    def __init__(self, audio_format: AudioFormat, sink: Sink) -> None:
        self._format = audio_format
        self._sink = sink
        self._writer = _CodecWriter(audio_format, sink, {})

    def encode(self, pcm: Pcm) -> bytes:
        self._writer.write(pcm)
        return b""

    def flush(self) -> bytes:
        self._writer.finish()
        if self._format.name == "mp3":
            self._sink.seek(0)
            head = self._sink.read(_MP3_HEAD_BYTES)
            head = with_exact_padding(head, self._format, num_samples=self._writer.num_samples)
            self._sink.seek(0)
            self._sink.write(head)
        return b""

    def close(self) -> None:
        self._writer.close()


class _AppendOnly:
    """A file for a muxer whose bytes are gone as soon as they are written.

    It claims to be seekable, as the mp3 muxer writes the frame that tells the encoder delay only
    then. What the muxers go back to correct at the end are totals, which a stream cannot have:
    writes before the end are dropped.
    """

    def __init__(self) -> None:
        self._fresh = bytearray()
        self._end = 0
        self._position = 0

    @property
    def has_bytes(self) -> bool:
        return bool(self._fresh)

    def take(self) -> bytes:
        fresh = bytes(self._fresh)
        self._fresh.clear()
        return fresh

    def write(self, piece: bytes) -> int:
        if self._position == self._end:
            self._fresh += piece
            self._end += len(piece)
        self._position += len(piece)
        return len(piece)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._end}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True


class _CodecWriter:
    """One codec in one container, fed with whole codec frames."""

    def __init__(
        self, audio_format: AudioFormat, sink: Sink | _AppendOnly, options: dict[str, str]
    ) -> None:
        self._open: tuple[OutputContainer, AudioStream] | None = None
        name = audio_format.name
        container_name, codec, self._sample_format = _CODECS[name]
        self._rate_hz = audio_format.sample_rate_hz
        self._frame_samples = audio_format.frame_samples
        self._num_samples = 0
        self._pending: list[Pcm] = []
        self._num_pending = 0
        muxer_options = {"flush_packets": "1"} | _MUXER_OPTIONS[name] | options
        container = av.open(sink, "w", container_name, options=muxer_options)
        stream = container.add_stream(codec, self._rate_hz, options=_codec_options(audio_format))
        assert isinstance(stream, AudioStream)
        stream.codec_context.format = self._sample_format
        stream.codec_context.layout = "mono"
        if audio_format.bit_rate is not None:
            stream.codec_context.bit_rate = audio_format.bit_rate
        container.start_encoding()
        assert stream.codec_context.frame_size == self._frame_samples
        self._open = (container, stream)

    def __del__(self) -> None:
        # Container and stream refer to each other until the container is closed: without this an
        # encoder that is dropped would keep up to 3 MB until the garbage collector runs.
        self.close()

    def write(self, pcm: Pcm) -> None:
        check_finite(pcm)
        self._pending.append(pcm)
        self._num_pending += len(pcm)
        if self._num_pending >= self._frame_samples:
            gathered = np.concatenate(self._pending)
            num_ready = len(gathered) // self._frame_samples * self._frame_samples
            self._pending = [gathered[num_ready:]]
            self._num_pending -= num_ready
            self._encode(gathered[:num_ready])

    @property
    def num_samples(self) -> int:
        """Samples taken so far, those pending not counted."""
        return self._num_samples

    def finish(self) -> None:
        """Encode what is pending, then let codec and container write their ends."""
        if self._num_pending:
            self._encode(np.concatenate(self._pending))
            self._pending = []
        container, stream = self._codec()
        for packet in stream.encode(None):
            container.mux(packet)
        self._open = None
        container.close()

    def close(self) -> None:
        if self._open is not None:
            container, _ = self._open
            self._open = None
            # The end of a file that nobody wants may meet the disk that failed before.
            with suppress(av.FFmpegError, Fishs2Error):
                container.close()

    def _codec(self) -> tuple[OutputContainer, AudioStream]:
        if self._open is None:
            raise EngineError("the encoder was used after its end")
        return self._open

    def _encode(self, pcm: Pcm) -> None:
        container, stream = self._codec()
        samples = to_int16(pcm) if self._sample_format == "s16" else np.ascontiguousarray(pcm)
        frame = av.AudioFrame.from_ndarray(
            samples[np.newaxis], format=self._sample_format, layout="mono"
        )
        frame.sample_rate = self._rate_hz
        frame.time_base = Fraction(1, self._rate_hz)
        frame.pts = self._num_samples
        self._num_samples += len(pcm)
        for packet in stream.encode(frame):
            container.mux(packet)


def _codec_options(audio_format: AudioFormat) -> dict[str, str]:
    if audio_format.name == "mp3":
        # The bit reservoir holds back one frame more, for a gain that one voice does not need.
        return {"reservoir": "0"}
    if audio_format.name == "opus":
        # Left free, the encoder makes 118 kbit/s of one voice where 64 are asked for.
        return {"vbr": "constrained"}
    if audio_format.name == "aac":
        # The default search (twoloop) answers sound that starts at once with a burst of 10 ms, 4 dB
        # above it; on speech it is no better (25.5 against 26.0 dB) and costs twice as much.
        return {"aac_coder": "fast"}
    if audio_format.name == "flac":
        return {"frame_size": str(audio_format.frame_samples)}
    return {}


def _wav_header(sample_rate_hz: int, *, num_samples: int | None) -> bytes:
    """44 bytes for 16-bit mono; num_samples None: not known.

    Source: Multimedia Programming Interface and Data Specifications 1.0, chapter 3.
    """
    sound_bytes = _UNKNOWN_BYTES if num_samples is None else min(2 * num_samples, _UNKNOWN_BYTES)
    riff_bytes = min(sound_bytes + 36, _UNKNOWN_BYTES)
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", riff_bytes, b"WAVE"),
        *(b"fmt ", 16, 1, 1, sample_rate_hz, 2 * sample_rate_hz, 2, 16),
        *(b"data", sound_bytes),
    )
