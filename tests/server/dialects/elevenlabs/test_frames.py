"""Frames of ElevenLabs' WebSockets."""

import base64
import json

import pytest

from fishs2.server.dialects.elevenlabs.frames import WholeSamples, audio_frames


def test_large_audio_is_cut_between_samples() -> None:
    audio = bytes(range(256)) * 1_000
    frames = [json.loads(frame) for frame in audio_frames(audio, "a")]

    pieces = [base64.b64decode(frame["audio"]) for frame in frames]
    assert b"".join(pieces) == audio
    assert len(pieces) > 1
    assert not any(len(piece) % 2 for piece in pieces)
    assert {frame["contextId"] for frame in frames} == {"a"}


@pytest.mark.parametrize(("name", "kept"), [("pcm", 2), ("wav", 2), ("mp3", 3), ("ulaw", 3)])
def test_samples_stay_whole(name: str, kept: int) -> None:
    samples = WholeSamples(name)

    first = samples.take(b"abc")
    assert len(first) == kept
    assert first + samples.take(b"d") == b"abcd"
