"""Look-ups beside decoding, and what is kept young for them."""

import asyncio
import json
import threading
from pathlib import Path

import pytest

from fishs2.audio.decode import DecodedAudio, decode_audio
from fishs2.service.voices import decoding
from fishs2.service.voices.library import VoiceLimits, Voices
from fishs2.store.voices.store import VoiceStore
from tests.recordings import make_voice, write_wav

VOICE = write_wav(make_voice())
LIMITS = VoiceLimits(min_reference_s=0, max_reference_s=90)


async def test_look_up_does_not_wait_for_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sailor.wav").write_bytes(VOICE)
    voices = Voices(VoiceStore(tmp_path), LIMITS)
    release = threading.Event()

    def decode(audio: bytes, *, max_seconds: float) -> DecodedAudio:
        release.wait()
        return decode_audio(audio, max_seconds=max_seconds)

    monkeypatch.setattr(decoding, "decode_audio", decode)
    uploads = [asyncio.create_task(voices.decode(VOICE)) for _ in range(20)]
    try:
        found = await voices.find("sailor")
        listed = await voices.list()
    finally:
        release.set()
        await asyncio.gather(*uploads)
        voices.close()

    assert found is not None
    assert len(listed) == 1


async def test_folder_is_looked_at_while_somebody_asks(tmp_path: Path) -> None:
    seen = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Store(VoiceStore):
        def refresh(self) -> None:
            super().refresh()
            loop.call_soon_threadsafe(seen.set)

    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "a.wav").write_bytes(b"sound")
    (tmp_path / "a" / "meta.json").write_text(json.dumps({"name": "Ada"}))
    voices = Voices(Store(tmp_path), LIMITS)
    try:
        assert await voices.find("ada") is not None
        await seen.wait()
    finally:
        voices.close()
