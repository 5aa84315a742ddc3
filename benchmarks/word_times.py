"""How near the times of words come that an engine does not tell: estimated, and heard.

    .venv/bin/python benchmarks/word_times.py [--model .cache/whisper-base]

`builtin` says exactly when its words begin. Its sound, 40 sentences in each of five languages, is
given to what other engines get: the estimate by syllables and silences, and with --model the words
that Whisper hears. An error is the distance of a word's beginning or end from the exact one. Last,
what the making of times costs for 1,000 characters, without the speaking or the hearing.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from fishs2.audio.pcm import Pcm
from fishs2.engines.base import Utterance, WordMark
from fishs2.engines.espeak.engine import BuiltinEngine
from fishs2.listening.whisper import WhisperListener
from fishs2.service.listening import Listening
from fishs2.service.speech.script import Line
from fishs2.service.speech.timing.aligning import Aligner
from fishs2.service.speech.timing.placing import (
    Loudness,
    Placed,
    place_by_marks,
    place_by_syllables,
)
from fishs2.service.speech.timing.times import Hear, Heard, SpeechTimes
from fishs2.text.sourced import Sourced
from fishs2.text.words import find_words

SENTENCES = {
    "en-us": (
        ("The old sailor", "My younger sister", "A tired farmer", "Yesterday, the new teacher",
         "One of the children", "Our friendly baker", "In the end, the captain", "A stranger"),
        ("carried the lantern down to the harbour before sunrise.",
         "found three letters under the kitchen table.",
         "walked along the river, until the rain had stopped.",
         "waited at the station; the last train was delayed.",
         "bought fresh bread and a little cheese for the journey."),
    ),
    "de": (
        ("Der alte Seemann", "Meine jüngere Schwester", "Ein müder Bauer", "Unser neuer Lehrer",
         "Eines der Kinder", "Der freundliche Bäcker", "Die Ärztin aus der Stadt", "Ein Fremder"),
        ("trug vor Sonnenaufgang die Laterne zum Hafen hinunter.",
         "fand drei Briefe, die unter dem Küchentisch lagen.",
         "ging am Fluss entlang, bis der Regen aufgehört hatte.",
         "wartete am Bahnhof; der letzte Zug hatte Verspätung.",
         "kaufte frisches Brot und ein wenig Käse für die Reise."),
    ),
    "fr-fr": (
        ("Le vieux marin", "Ma petite sœur", "Un paysan fatigué", "Hier, la nouvelle maîtresse",
         "Un des enfants", "Notre gentil boulanger", "À la fin, le capitaine", "Une inconnue"),
        ("a porté la lanterne jusqu'au port avant le lever du soleil.",
         "a trouvé trois lettres sous la table de la cuisine.",
         "a marché le long de la rivière, jusqu'à la fin de la pluie.",
         "attendait à la gare ; le dernier train avait du retard.",
         "a acheté du pain frais et un peu de fromage pour le voyage."),
    ),
    "es": (
        ("El viejo marinero", "Mi hermana menor", "Un campesino cansado", "Ayer, la maestra nueva",
         "Uno de los niños", "Nuestro amable panadero", "Al final, el capitán", "Una desconocida"),
        ("llevó la linterna hasta el puerto antes del amanecer.",
         "encontró tres cartas debajo de la mesa de la cocina.",
         "caminó junto al río, hasta que dejó de llover.",
         "esperaba en la estación; el último tren llegó tarde.",
         "compró pan fresco y un poco de queso para el viaje."),
    ),
    "ru": (
        ("Старый моряк", "Мой младший брат", "Усталый крестьянин", "Вчера наш новый учитель",
         "Один из ребят", "Наш добрый пекарь", "В конце концов, капитан", "Незнакомец из города"),
        ("отнёс фонарь в гавань ещё до рассвета.",
         "нашёл три письма под кухонным столом.",
         "долго шёл вдоль реки, пока не кончился дождь.",
         "ждал на вокзале; последний поезд опаздывал.",
         "купил в дорогу свежий хлеб и немного сыра."),
    ),
}  # fmt: skip
"""Two hundred: by voice of `builtin`, who and did what."""

_COST_RUNS = 40


def main(
    model: Annotated[Path | None, typer.Option(help="Folder of a Whisper model.")] = None,
) -> None:
    """Measure and print."""
    asyncio.run(_measure(model))


async def _measure(model: Path | None) -> None:
    engine = BuiltinEngine(num_workers=1)
    await engine.start()
    listener = WhisperListener(model, model.name, idle_s=600) if model else None
    aligner = None
    if listener is not None:
        aligner = Aligner(Listening(listener, max_seconds=60), engine.capabilities.sample_rate_hz)
    errors: dict[str, list[float]] = {"estimated": [], "aligned": []}
    by_voice: list[str] = []
    spoken: list[Heard] = []
    try:
        for voice, (who, what) in SENTENCES.items():
            before = {kind: len(found) for kind, found in errors.items()}
            for text in (f"{one} {other}" for one, other in product(who, what)):
                heard = await _speak(engine, text, voice)
                spoken.append(heard)
                hear = aligner.of(voice[:2]) if aligner else None
                await _compare(heard, errors, hear)
            parts = (f"{kind} {_told(found[before[kind] :])}" for kind, found in errors.items())
            by_voice.append(f"  {voice}: {'; '.join(parts)}")
    finally:
        await engine.close()
        if listener is not None:
            await listener.close()
    print(f"{len(spoken)} sentences, errors of beginnings and ends: median, 95th percentile")
    for kind, found in errors.items():
        print(f"  {kind}: {_told(found)}")
    print("\n".join(by_voice))
    await _measure_cost(spoken)


async def _speak(engine: BuiltinEngine, text: str, voice: str) -> Heard:
    utterance = Utterance(text, voice=voice)
    chunks = [chunk async for chunk in engine.speak(utterance)]
    pcm = np.concatenate([chunk.pcm for chunk in chunks])
    words = [mark for chunk in chunks for mark in chunk.words]
    return _heard(text, pcm, words, chunks[0].sample_rate_hz)


def _heard(text: str, pcm: Pcm, words: Sequence[WordMark], rate_hz: int) -> Heard:
    sourced = Sourced.of(text)
    line = Line(Utterance(text), 0.0, sourced)
    return Heard(line, sourced, pcm, rate_hz, words, 0.0, len(pcm) / rate_hz)


async def _compare(heard: Heard, errors: dict[str, list[float]], hear: Hear | None) -> None:
    text = heard.text.text
    words, loudness = list(find_words(text)), Loudness(heard.pcm, heard.rate_hz)
    exact = place_by_marks(words, heard.words, loudness)
    errors["estimated"] += _errors(exact, place_by_syllables(text, words, loudness))
    if hear is not None:
        errors["aligned"] += _errors(exact, await hear(heard.pcm, text, words))


def _errors(exact: Sequence[Placed], found: Sequence[Placed]) -> list[float]:
    """In seconds, of the beginning and the end of each word."""
    return [
        abs(distance_s)
        for one, other in zip(exact, found, strict=True)
        for distance_s in (one.start_s - other.start_s, one.end_s - other.end_s)
    ]


def _told(errors: Sequence[float]) -> str:
    if not errors:
        return "not measured"
    return f"{1000 * np.median(errors):.0f} ms, {1000 * np.percentile(errors, 95):.0f} ms"


async def _measure_cost(spoken: Sequence[Heard]) -> None:
    num_chars = sum(len(heard.text.text) for heard in spoken)
    unmarked = [_heard(each.text.text, each.pcm, (), each.rate_hz) for each in spoken]
    for name, utterances in (("exact", spoken), ("estimated", unmarked)):
        runs = [await _time(utterances, is_marked=name == "exact") for _ in range(_COST_RUNS)]
        print(f"{name}: {min(runs) / num_chars * 1000:.2f} ms of processor for 1,000 characters")


async def _time(utterances: Sequence[Heard], *, is_marked: bool) -> float:
    """Milliseconds of processor time that the times of so many utterances take."""
    times = SpeechTimes(lambda _start, _end: "", is_marked=is_marked)
    spent_s = 0.0
    for heard in utterances:
        # Made a moment ago, as it is when somebody speaks: in the processor's own memory.
        fresh = replace(heard, pcm=heard.pcm.copy())
        start_s = time.process_time()
        await times.add(fresh)
        spent_s += time.process_time() - start_s
    return 1000 * spent_s


if __name__ == "__main__":
    typer.run(main)
