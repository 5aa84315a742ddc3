"""Whole files for tests, in memory."""

import io

from fishs2.audio.encode import FileEncoder
from fishs2.audio.formats import AudioFormat
from fishs2.audio.pcm import Pcm


class MemoryEncoder:
    """A `FileEncoder` whose `flush` gives the file."""

    def __init__(self, audio_format: AudioFormat) -> None:
        self._sink = io.BytesIO()
        self._encoder = FileEncoder(audio_format, self._sink)

    def encode(self, pcm: Pcm) -> bytes:
        return self._encoder.encode(pcm)

    def flush(self) -> bytes:
        assert self._encoder.flush() == b""
        return self._sink.getvalue()

    def close(self) -> None:
        self._encoder.close()
