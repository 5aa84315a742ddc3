"""Make the voices that ship with the package, spoken by the builtin engine.

Run it after the builtin engine changed how it sounds: `.venv/bin/python scripts/sample_voices.py`.
"""

import asyncio
import io
import shutil
import wave
from dataclasses import dataclass

import numpy as np

from fishs2.engines.base import Pcm, Utterance
from fishs2.engines.espeak.engine import BuiltinEngine
from fishs2.store.voices.changes import NewSample, NewVoice
from fishs2.store.voices.store import SAMPLE_VOICES, VoiceStore

CREATED = 1_790_000_000
"""The same for ever, so that the files differ only when the sound does."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A voice: what eSpeak NG calls it, the file that it is in, and what it says."""

    voice_id: str
    espeak_voice: str
    filename: str
    transcript: str


RECIPES = (
    Recipe(
        "sample_male",
        "en-us",
        "sample_male_new.wav",
        "This voice was made by a small machine, so that anybody may use it as they like. It "
        "reads at an even pace, and it never runs out of breath.",
    ),
    Recipe(
        "sample_female",
        "en-us+f3",
        "sample_female.wav",
        "On clear mornings the harbour is already busy before the sun has come up. Boats leave "
        "one after another, and the gulls follow them out.",
    ),
)


async def main() -> None:
    shutil.rmtree(SAMPLE_VOICES, ignore_errors=True)
    store = VoiceStore(SAMPLE_VOICES)
    engine = BuiltinEngine(voice="en-us", num_workers=1)
    await engine.start()
    try:
        for recipe in RECIPES:
            utterance = Utterance(recipe.transcript, engine.find_voice(recipe.espeak_voice, None))
            pcm = np.concatenate([chunk.pcm async for chunk in engine.speak(utterance)])
            content = to_wav(pcm, engine.capabilities.sample_rate_hz)
            store.add(
                NewVoice(
                    (NewSample(recipe.filename, content),),
                    voice_id=recipe.voice_id,
                    transcript=recipe.transcript,
                    language="en-us",
                    description="spoken by eSpeak NG",
                ),
                created=CREATED,
            )
            print(recipe.voice_id, f"{len(pcm) / engine.capabilities.sample_rate_hz:.1f} s")
    finally:
        await engine.close()
    (SAMPLE_VOICES / ".lock").unlink()


def to_wav(pcm: Pcm, sample_rate_hz: int) -> bytes:
    """A 16-bit mono WAV file of float32 [n]."""
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(sample_rate_hz)
        wav.writeframes((pcm * 32767).astype("<i2").tobytes())
    return file.getvalue()


if __name__ == "__main__":
    asyncio.run(main())
