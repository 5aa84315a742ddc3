"""Samples as bytes, without a codec: 16 bits, or the 8 of telephones. Source: ITU-T G.711."""

from collections.abc import Callable

import av
import numpy as np

from fishs2.audio.formats import AudioFormat, FormatName
from fishs2.audio.pcm import Pcm, to_int16

_CODECS: dict[FormatName, str] = {"ulaw": "pcm_mulaw", "alaw": "pcm_alaw"}


def samples_of(audio_format: AudioFormat) -> Callable[[Pcm], bytes]:
    """What turns float32 [n] into the bytes of a format: two for each sample, of ulaw and alaw one.

    It raises EngineError for samples that are NaN or infinite.
    """
    codec_name = _CODECS.get(audio_format.name)
    if codec_name is None:
        return lambda pcm: to_int16(pcm).tobytes()
    codec = av.CodecContext.create(codec_name, "w")
    assert isinstance(codec, av.AudioCodecContext)
    codec.sample_rate = audio_format.sample_rate_hz
    codec.format = "s16"
    codec.layout = "mono"

    def compand(pcm: Pcm) -> bytes:
        if not len(pcm):
            return b""
        samples = to_int16(pcm)[np.newaxis]
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = audio_format.sample_rate_hz
        return b"".join(bytes(packet) for packet in codec.encode(frame))

    return compand
