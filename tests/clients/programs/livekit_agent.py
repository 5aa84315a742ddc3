"""LiveKit's ElevenLabs plugin: says as JSON what it got from the server in its first argument."""

import asyncio
import json
import sys
from typing import Any

import aiohttp
from livekit.plugins import elevenlabs

SENTENCES = ("Hello there. ", "How are you today? ", "Fine, thank you.")


async def main(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        tts = elevenlabs.TTS(
            base_url=f"{url}/v1", voice_id="alice", api_key="any", http_session=session
        )
        whole_s = 0.0
        async for piece in tts.synthesize("".join(SENTENCES)):
            whole_s += piece.frame.duration
        # One after another on one connection, as an agent's turns are.
        turns = [await speak_turn(tts), await speak_turn(tts)]
        voices = [voice.id for voice in await tts.list_voices()]
        print(json.dumps({"whole_s": whole_s, "turns": turns, "voices": voices}))
        await tts.aclose()


async def speak_turn(tts: Any) -> dict[str, Any]:
    seconds, is_final, words = 0.0, False, []
    async with tts.stream() as stream:
        for sentence in SENTENCES:
            stream.push_text(sentence)
        stream.end_input()
        async for piece in stream:
            seconds += piece.frame.duration
            is_final = is_final or piece.is_final
            timed = piece.frame.userdata.get("lk.timed_transcripts", [])
            words += [[str(word), word.start_time, word.end_time] for word in timed]
    return {"seconds": seconds, "is_final": is_final, "words": words}


asyncio.run(main(sys.argv[1]))
