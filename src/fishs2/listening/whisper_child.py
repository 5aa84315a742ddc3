"""The process that hears: recordings in at stdin, what was said out at stdout.

`listening.whisper` starts it, and it speaks as `processes.inside` says. An ORDER is the length of
a JSON header, the header, and float32 samples at 16 kHz; PIECEs are JSON: the language first, then
a segment each. FAILED is a sentence.

Each order has so much CPU time and memory. Files can still be opened: what comes in are samples,
which nothing here takes for a name.
"""

import json
import math
import struct
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fishs2.processes.inside import Inbox, Kind, Outbox, claim_stdout, ignore_signals
from fishs2.processes.sandbox import Sandbox

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

HEADER_BYTES = struct.Struct("<I")
RATE_HZ = 16_000

_PIECE_S = 600.0
"""A recording is heard in pieces of at most this: what is worked out of 10 minutes takes 0.5 GB."""

_LOOK_BACK_S = 30.0
_QUIET_S = 0.3
"""A piece ends in the quietest `_QUIET_S` of its last `_LOOK_BACK_S`."""

_CPU_S = 120.0
_CPU_PER_AUDIO_S = 60.0
"""CPU time of an order: the largest model on old processors takes a third of it."""

_MEMORY_BYTES = 3_000_000_000


def main() -> None:
    """Hear recordings until stdin ends. Arguments: the folder of the model, how many threads."""
    ignore_signals()
    outbox = Outbox(claim_stdout())
    inbox = Inbox(0)
    sandbox = Sandbox()
    try:
        model = _load(sys.argv[1], int(sys.argv[2]))
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        outbox.send(Kind.FAILED, 0, f"the model cannot be loaded: {error}".encode())
        return
    outbox.send(Kind.READY, 0)
    while True:
        number, payload = inbox.wait_for_order()
        (header_bytes,) = HEADER_BYTES.unpack_from(payload)
        start = HEADER_BYTES.size + header_bytes
        wish = json.loads(payload[HEADER_BYTES.size : start])
        pcm = np.frombuffer(payload, np.float32, offset=start)
        cpu_s = _CPU_S + _CPU_PER_AUDIO_S * len(pcm) / RATE_HZ
        try:
            with sandbox.limits(cpu_s, _MEMORY_BYTES + 2 * pcm.nbytes):
                for part in hear_parts(model, pcm, wish):
                    if inbox.is_aborted(number):
                        break
                    outbox.send(Kind.PIECE, number, json.dumps(part).encode())
        except MemoryError:
            outbox.send(Kind.FAILED, number, b"it takes more memory than a recording may")
        except (RuntimeError, ValueError) as error:
            outbox.send(Kind.FAILED, number, str(error).encode())
        outbox.send(Kind.DONE, number)
        sandbox.give_back_memory()


def _load(folder: str, num_threads: int) -> "WhisperModel":
    # Imported here: the parent reads this module for its constants.
    from faster_whisper import WhisperModel

    # 8-bit weights: a third faster than float32 on CPUs, at a quarter of the memory.
    return WhisperModel(
        folder, device="cpu", compute_type="int8", cpu_threads=num_threads, local_files_only=True
    )


def hear_parts(
    model: "WhisperModel", pcm: NDArray[np.float32], wish: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yield the language, then the segments, as plain values; seconds are of the recording."""
    language, prompt, start = wish.get("language"), wish.get("prompt") or None, 0
    coldest = float(wish.get("temperature") or 0.0)
    while start < len(pcm) or start == 0:
        end = cut(pcm, start)
        segments, info = model.transcribe(
            pcm[start:end],
            language=language,
            task=wish.get("task", "transcribe"),
            initial_prompt=prompt,
            # What is asked for first; freer where that makes no sense, as Whisper does.
            temperature=[coldest + each / 5 for each in range(6) if coldest + each / 5 <= 1.0],
            word_timestamps=bool(wish.get("with_words")),
        )
        if start == 0:
            yield {"language": info.language, "probability": info.language_probability}
        language = info.language
        texts = []
        for segment in segments:
            texts.append(segment.text)
            yield _plain(segment, start / RATE_HZ)
        prompt = "".join(texts)[-200:] or prompt
        if end == start:
            return
        start = end


def cut(pcm: NDArray[np.float32], start: int) -> int:
    """Where the piece that begins at `start` ends: at the end, or in a quiet place before it."""
    most = round(_PIECE_S * RATE_HZ)
    if len(pcm) - start <= most:
        return len(pcm)
    width = round(_QUIET_S * RATE_HZ)
    begin = start + most - round(_LOOK_BACK_S * RATE_HZ)
    blocks = pcm[begin : start + most]
    levels = np.square(blocks[: len(blocks) // width * width].reshape(-1, width)).mean(axis=1)
    return begin + int(levels.argmin()) * width + width // 2


def _plain(segment: Any, offset_s: float) -> dict[str, Any]:
    words: Iterable[Any] = segment.words or ()
    return {
        "text": segment.text,
        "start_s": _seconds(segment.start, offset_s),
        "end_s": _seconds(segment.end, offset_s),
        "tokens": list(segment.tokens),
        "temperature": float(segment.temperature or 0.0),
        "avg_logprob": _finite(segment.avg_logprob),
        "compression_ratio": _finite(segment.compression_ratio),
        "no_speech_prob": _finite(segment.no_speech_prob),
        "words": [
            {
                "text": word.word,
                "start_s": _seconds(word.start, offset_s),
                "end_s": _seconds(word.end, offset_s),
                "probability": _finite(word.probability),
            }
            for word in words
        ],
    }


def _seconds(value: float, offset_s: float) -> float:
    return round(float(value) + offset_s, 3)


def _finite(value: float) -> float:
    """JSON knows no infinity."""
    return float(value) if math.isfinite(value) else 0.0
