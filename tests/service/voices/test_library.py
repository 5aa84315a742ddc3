"""Look-ups beside decoding, and what is kept young for them."""

import asyncio
import json
from pathlib import Path

from fishs2.audio.decoder import Decoder
from fishs2.errors import ShutdownError
from fishs2.service.voices.library import VoiceLimits, Voices
from fishs2.store.voices.store import VoiceStore
from tests.audio.steered_decoder import make_steered
from tests.recordings import make_voice, write_wav

VOICE = write_wav(make_voice())
LIMITS = VoiceLimits(min_reference_s=0, max_reference_s=90)


async def test_look_up_does_not_wait_for_decoding(tmp_path: Path) -> None:
    (tmp_path / "sailor.wav").write_bytes(VOICE)
    decoder = Decoder(make_program=make_steered)
    voices = Voices(VoiceStore(tmp_path), LIMITS, decoder=decoder)
    uploads = [asyncio.create_task(voices.decode(b"hang")) for _ in range(20)]
    try:
        found = await voices.find("sailor")
        listed = await voices.list()
    finally:
        await voices.close()
    outcomes = await asyncio.gather(*uploads, return_exceptions=True)

    assert found is not None
    assert len(listed) == 1
    assert all(isinstance(each, ShutdownError) for each in outcomes)


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
        await voices.close()
