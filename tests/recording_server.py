"""A server process whose engine writes down what it is asked: `python -m tests.recording_server`.

Settings come from the environment as always; RECORDING names the file: a JSON object per utterance.
"""

import json
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict, fields
from pathlib import Path

import uvicorn

from fishs2.cli.serve import listen, server_config
from fishs2.engines.base import AudioChunk, Capabilities, Pcm, Sampling, Utterance
from fishs2.settings import load_settings
from tests.fakes import FakeEngine
from tests.serving import make_app, make_services

CAPABILITIES = Capabilities(
    name="recording",
    backend="cpu",
    sample_rate_hz=24_000,
    num_turns=4,
    max_utterance_chars=400,
    voices=("own",),
    cloning="full",
    speaks_tags=True,
    honours=frozenset({*(f.name for f in fields(Sampling)), "n_threads", "verbose"}),
)


class RecordingEngine(FakeEngine):
    """A FakeEngine that can clone; what it is asked goes to a file."""

    def __init__(self, record: Path) -> None:
        super().__init__(capabilities=CAPABILITIES)
        self._record = record

    async def speak(self, utterance: Utterance) -> AsyncGenerator[AudioChunk]:
        reference = utterance.references[0] if utterance.references else None
        line = {
            "text": utterance.text,
            "voice": utterance.voice,
            "reference": reference
            and {
                "seconds": round(len(reference.pcm) / reference.sample_rate_hz, 2),
                "peak": round(float(abs(reference.pcm).max()), 2),
                "transcript": reference.transcript,
                "key": reference.key,
                "crossings_per_s": count_crossings_per_s(reference.pcm, reference.sample_rate_hz),
            },
            "references": [each.transcript for each in utterance.references],
            "latency": utterance.latency,
            "is_part": utterance.part is not None,
            "sampling": asdict(utterance.sampling),
            "num_threads": utterance.num_threads,
            "verbose": utterance.verbose,
        }
        with self._record.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        async with aclosing(super().speak(utterance)) as chunks:
            async for chunk in chunks:
                yield chunk


def count_crossings_per_s(pcm: Pcm, sample_rate_hz: int) -> int:
    """Upward zero crossings per second: the frequency of a sine, which tells references apart."""
    num_crossings = int(((pcm[:-1] < 0) & (pcm[1:] >= 0)).sum())
    return round(num_crossings / (len(pcm) / sample_rate_hz))


def main() -> None:
    settings = load_settings()
    engine = RecordingEngine(Path(os.environ["RECORDING"]))
    app = make_app(make_services(engine, settings), settings)
    server = uvicorn.Server(server_config(app, settings))
    with listen(settings) as listener:
        server.run(sockets=[listener])


if __name__ == "__main__":
    main()
