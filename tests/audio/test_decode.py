import contextlib
import io
import struct
import tracemalloc

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fishs2.audio.decode import decode_audio
from fishs2.audio.encode import StreamEncoder
from fishs2.audio.formats import AudioFormat, choose_format
from fishs2.errors import UserError
from tests.encoding import MemoryEncoder
from tests.recordings import make_adts, write_wav

RATE_HZ = 48_000


def make_tone(seconds: float) -> np.ndarray:
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return (0.5 * np.sin(2 * np.pi * 440 * time_s)).astype(np.float32)


def write_file(
    container_name: str, codec: str, samples: np.ndarray, *, sample_format: str
) -> bytes:
    """Make an upload of a kind that our own encoders do not make; samples: [channels, n]."""
    sink = io.BytesIO()
    with av.open(sink, "w", container_name) as container:
        stream = container.add_stream(codec, RATE_HZ)
        layout = "mono" if len(samples) == 1 else "stereo"
        assert isinstance(stream, av.AudioStream)
        stream.codec_context.format = sample_format
        stream.codec_context.layout = layout
        interleaved = samples if sample_format.endswith("p") else samples.T.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(interleaved), format=sample_format, layout=layout
        )
        frame.sample_rate = RATE_HZ
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    return sink.getvalue()


def make_uploads() -> dict[str, bytes]:
    tone = make_tone(0.3)
    uploads = {}
    for name in ("wav", "mp3", "opus", "aac", "flac"):
        encoder = MemoryEncoder(choose_format(name, engine_rate_hz=RATE_HZ))
        encoder.encode(tone)
        uploads[name] = encoder.flush()
    streamed = StreamEncoder(AudioFormat("wav", RATE_HZ))
    uploads["streamed wav"] = streamed.encode(tone) + streamed.flush()
    mono = tone[np.newaxis]
    uploads["m4a"] = write_file("ipod", "aac", mono, sample_format="fltp")
    uploads["webm"] = write_file("webm", "libopus", mono, sample_format="flt")
    uploads["float wav"] = write_file("wav", "pcm_f32le", mono, sample_format="flt")
    return uploads


UPLOADS = make_uploads()


@pytest.mark.parametrize("kind", UPLOADS)
def test_usual_uploads_decode_whatever_their_container(kind: str) -> None:
    decoded = decode_audio(UPLOADS[kind], max_seconds=1)

    assert decoded.sample_rate_hz == RATE_HZ
    assert decoded.pcm.dtype == np.float32
    assert len(decoded.pcm) / RATE_HZ == pytest.approx(0.3, abs=0.06)
    spectrum = np.abs(np.fft.rfft(decoded.pcm[4000:12_000] * np.hanning(8000)))
    assert np.argmax(spectrum) * RATE_HZ / 8000 == pytest.approx(440, abs=6)


def id3_picture(num_bytes: int) -> bytes:
    """A tag with a picture, as files of music have it in front. Source: ID3v2.3.0, 3.1, 4.15."""
    body = b"\0image/png\0\3\0" + bytes(num_bytes)
    frame = b"APIC" + len(body).to_bytes(4, "big") + b"\0\0" + body
    size = bytes(len(frame) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\3\0\0" + size + frame


def test_large_pictures_do_not_hide_the_sound() -> None:
    wav = UPLOADS["wav"]
    junk = b"JUNK" + (3_000_000).to_bytes(4, "little") + bytes(3_000_000)
    flac = UPLOADS["flac"]
    padding = b"\1" + (3_000_000).to_bytes(3, "big") + bytes(3_000_000)
    for source in (
        id3_picture(3_000_000) + UPLOADS["mp3"],
        wav[:12] + junk + wav[12:],
        flac[:4] + flac[4:42] + padding + flac[42:],
    ):
        assert len(decode_audio(source, max_seconds=1).pcm) / RATE_HZ == pytest.approx(0.3, abs=0.1)


def test_title_in_another_encoding_is_no_damage() -> None:
    wav = write_wav(make_tone(0.1), rate_hz=RATE_HZ)

    titled = wav.replace(b"Lavf", b"L\xe4vf")

    assert titled != wav
    np.testing.assert_array_equal(
        decode_audio(titled, max_seconds=1).pcm, decode_audio(wav, max_seconds=1).pcm
    )


def test_file_of_packets_without_sound_is_refused() -> None:
    with pytest.raises(UserError, match="packets in a row have no sound") as caught:
        decode_audio(make_adts(b"\xe0", num_bytes=200_000), max_seconds=90)

    assert caught.value.code == "invalid_audio"


def decode_channels(*channels: np.ndarray) -> np.ndarray:
    layout = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}[len(channels)]
    wav = write_wav(np.stack(channels, axis=1), codec="pcm_f32le", layout=layout, rate_hz=RATE_HZ)
    return decode_audio(wav, max_seconds=1).pcm


@pytest.mark.parametrize(
    "gains",
    [
        (1, 1),
        (1, 0),
        (0, 1),
        (0, 0, 1, 0, 0, 0),
        (0, 0, 1, 0, 0, 0, 0, 0),
        (1, 1, 1, 1, 1, 1),
    ],
)
def test_voice_keeps_its_level_in_whichever_channels_it_is(gains: tuple[float, ...]) -> None:
    tone = make_tone(0.1)

    decoded = decode_channels(*(gain * tone for gain in gains))

    np.testing.assert_allclose(decoded, tone, atol=1e-6)


@pytest.mark.parametrize("gains", [(1, -1), (-0.7, 1), (1, -1, 0, 0, 0.5, -0.5)])
def test_channels_that_cancel_leave_the_loudest(gains: tuple[float, ...]) -> None:
    tone = make_tone(0.1)

    decoded = decode_channels(*(gain * tone for gain in gains))

    np.testing.assert_allclose(decoded, tone, atol=1e-6)


def test_two_voices_in_two_channels_keep_their_levels() -> None:
    first, second = make_tone(0.1), make_tone(0.1)
    first[2_400:] = 0
    second[:2_400] = 0

    np.testing.assert_allclose(decode_channels(first, second), first + second, atol=1e-3)


def test_eight_channels_of_a_planar_codec_decode() -> None:
    sink = io.BytesIO()
    with av.open(sink, "w", "ipod") as container:
        stream = container.add_stream("aac", RATE_HZ)
        stream.codec_context.layout = "7.1"
        packed = np.repeat(make_tone(0.2), 8)[np.newaxis]
        frame = av.AudioFrame.from_ndarray(packed, format="flt", layout="7.1")
        frame.sample_rate = RATE_HZ
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)

    decoded = decode_audio(sink.getvalue(), max_seconds=1)

    assert len(decoded.pcm) / RATE_HZ == pytest.approx(0.2, abs=0.05)


def test_more_than_eight_channels_are_refused() -> None:
    shape = struct.pack("<HHIIHH", 1, 9, RATE_HZ, 18 * RATE_HZ, 18, 16)
    sound = bytes(18 * 100)
    nine_channels = (
        b"RIFF" + struct.pack("<I", 36 + len(sound)) + b"WAVEfmt " + struct.pack("<I", 16)
    )
    nine_channels += shape + b"data" + struct.pack("<I", len(sound)) + sound

    with pytest.raises(UserError, match="9 channels"):
        decode_audio(nine_channels, max_seconds=1)


def test_floats_over_full_scale_are_scaled_to_it() -> None:
    tone = make_tone(0.1)

    np.testing.assert_allclose(decode_channels(9 * tone), tone / np.abs(tone).max(), atol=1e-6)
    np.testing.assert_allclose(decode_channels(1.5 * tone), 1.5 * tone, atol=1e-6)


def test_whole_numbers_in_floats_are_refused_with_the_remedy() -> None:
    with pytest.raises(UserError, match=r"floats of up to 16,38\d, .* divide them") as caught:
        decode_channels(32_767 * make_tone(0.1))

    assert caught.value.code == "invalid_audio"


NOT_AUDIO = {
    "nothing": b"",
    "text": b"This is no audio at all. " * 100,
    "zeros": bytes(10_000),
    "a playlist": b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
    "a list of files": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "a session description": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nt=0 0\nm=audio 9 RTP/AVP 0\n",
    "a manifest": b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>',
    "subtitles": b"1\n00:00:00,000 --> 00:00:01,000\nhello\n",
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "a wav without samples": UPLOADS["wav"][:44],
    "a wav cut in its header": UPLOADS["wav"][:30],
}


@pytest.mark.parametrize("kind", NOT_AUDIO)
def test_what_is_not_audio_is_refused(kind: str) -> None:
    with pytest.raises(UserError) as caught:
        decode_audio(NOT_AUDIO[kind], max_seconds=1)

    assert caught.value.code == "invalid_audio"


@pytest.mark.parametrize("layout", ["mono", "stereo"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_float_file_with_what_is_no_number_is_refused(value: float, layout: str) -> None:
    samples = np.repeat(make_tone(0.1)[:, np.newaxis], 1 if layout == "mono" else 2, axis=1)
    samples[50, -1] = value

    with pytest.raises(UserError, match="NaN or infinite"):
        decode_channels(*samples.T)


def test_audio_longer_than_the_limit_is_refused_with_the_limit() -> None:
    with pytest.raises(UserError, match=r"longer than 0\.2 seconds") as caught:
        decode_audio(UPLOADS["mp3"], max_seconds=0.2)

    assert caught.value.code == "audio_too_long"


def test_a_small_file_of_long_silence_does_not_fill_memory() -> None:
    encoder = MemoryEncoder(AudioFormat("flac", RATE_HZ))
    for _ in range(300):
        encoder.encode(np.zeros(RATE_HZ, np.float32))
    bomb = encoder.flush()
    tracemalloc.start()

    with pytest.raises(UserError, match="longer than 2 seconds"):
        decode_audio(bomb, max_seconds=2)

    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 4 * 4 * RATE_HZ * 2


@given(
    kind=st.sampled_from(sorted(UPLOADS)),
    num_kept=st.integers(0, 40_000),
    changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=12),
)
@settings(max_examples=300, deadline=None)
def test_damaged_files_decode_or_are_refused(
    kind: str, num_kept: int, changes: list[tuple[int, int]]
) -> None:
    damaged = bytearray(UPLOADS[kind][:num_kept])
    for position, value in changes:
        if position < len(damaged):
            damaged[position] = value

    with contextlib.suppress(UserError):
        decoded = decode_audio(bytes(damaged), max_seconds=1)
        assert len(decoded.pcm) > 0
        assert np.isfinite(decoded.pcm).all()
