"""`python -m tests.fuzz.child KIND NUM`: read damaged files in a process that has limits.

Whatever is neither success nor an error of our own ends it with status 1 and the number of the
damage; a crash, too much memory or too much time end it by themselves.
"""

import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.campaign.mutations import mutate_bytes
from fishs2.errors import Fishs2Error

MORE_MEMORY_BYTES = 1 << 30
CPU_S = 240
SLOW_S = 2.0


@dataclass(frozen=True, slots=True)
class Kind:
    """How files are made and read. Both import what they need: limits count from there."""

    make: Callable[[], list[bytes]]
    read: Callable[[Path], object]
    suffix: str = ""
    header_bytes: int | None = None
    """Only so many bytes are looked at, and damaged; None is all. What follows them is zeros."""

    has_own_limit: bool = False
    """Whether the server reads it in a process that may run out of memory, and says so."""


def _golden(name: str) -> bytes:
    return (Path(__file__).parents[1] / "golden" / "s2" / name).read_bytes()


def _read_gguf(path: Path) -> None:
    from fishs2.engines.s2.weights.checkpoint import open_weights
    from fishs2.engines.s2.weights.inspection import inspect_gguf

    open_weights(path)
    inspect_gguf(path, None)


def _read_safetensors(path: Path) -> None:
    from fishs2.engines.s2.weights.checkpoint import open_weights

    open_weights(path)


def _read_tokenizer(path: Path) -> None:
    from fishs2.engines.s2.model.tokenizer import load_tokenizer

    load_tokenizer(path)


def _make_archives() -> list[bytes]:
    from fishs2.store.voices.archive import pack_voice
    from fishs2.store.voices.files import Sample, Voice

    samples = (Sample("b.wav", 500), Sample("a.wav", 3))
    voice = Voice("low", "Low", 1, None, "en", None, None, "What is said.", samples, ("More.",))
    return [pack_voice(voice, [bytes(500), b"abc"])]


def _read_archive(path: Path) -> None:
    from fishs2.store.voices.archive import unpack_voice

    unpack_voice(path.read_bytes())


def _make_recordings() -> list[bytes]:
    from benchmarks.campaign.recordings import KINDS as RECORDINGS
    from benchmarks.campaign.recordings import make_recording

    return [make_recording(kind) for kind in RECORDINGS]


def _read_recording(path: Path) -> None:
    from fishs2.audio.decode import decode_audio

    decode_audio(path.read_bytes(), max_seconds=10)


KINDS = {
    "gguf": Kind(lambda: [_golden("tiny-f16.gguf")], _read_gguf, ".gguf", 20_000),
    "safetensors": Kind(
        lambda: [_golden("lm_tiny/model.safetensors"), _golden("codec_tiny/codec.safetensors")],
        _read_safetensors,
        ".safetensors",
        8_000,
    ),
    "tokenizer": Kind(lambda: [_golden("lm_tiny/tokenizer.json")], _read_tokenizer, ".json"),
    "archive": Kind(_make_archives, _read_archive, ".zip"),
    "recording": Kind(_make_recordings, _read_recording, has_own_limit=True),
}


def damage(content: bytes, kind: Kind, pick: random.Random) -> bytes:
    """The same with damage; JSON is mostly changed in its values, which more readers get to see."""
    if kind.suffix == ".json" and pick.random() < 0.7:
        return json.dumps(_change(json.loads(content), pick)).encode()
    return mutate_bytes(content[: kind.header_bytes], pick)


def write(path: Path, content: bytes, num_bytes: int) -> None:
    """Write it with a hole behind it, up to `num_bytes` in all: the disk has less to do."""
    path.write_bytes(content)
    if len(content) < num_bytes:
        os.truncate(path, num_bytes)


_ODD: tuple[object, ...] = (
    None,
    True,
    -1,
    0,
    2**70,
    1e300,
    "",
    "x" * 5_000,
    "\ud800",
    [],
    {},
    [[]],
    {"type": "x"},
)


def _change(value: object, pick: random.Random) -> object:
    """One value, somewhere inside, is another one or gone."""
    if not isinstance(value, (dict, list)) or not value or pick.random() < 0.05:
        return pick.choice(_ODD)
    if isinstance(value, list):
        at = pick.randrange(len(value))
        return [*value[:at], _change(value[at], pick), *value[at + 1 :]]
    name = pick.choice(list(value))
    if pick.random() < 0.1:
        return {key: each for key, each in value.items() if key != name}
    return {**value, name: _change(value[name], pick)}


def limit() -> None:
    """Give this process so much more memory, and so much time."""
    import resource

    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + MORE_MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))


def main() -> None:
    """Read `NUM` damaged files, with the seed that may follow."""
    name, num, *rest = sys.argv[1:]
    kind, seed = KINDS[name], int(rest[0]) if rest else 0
    files = kind.make()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{kind.suffix}"
        for content in files:
            # Undamaged, before there are limits: everything that reading needs is imported.
            path.write_bytes(content)
            with suppress(Fishs2Error):
                kind.read(path)
        limit()
        for number in range(int(num)):
            pick = random.Random(f"{name} {seed} {number}")
            whole = pick.choice(files)
            write(path, damage(whole, kind, pick), len(whole) if kind.header_bytes else 0)
            started_s = time.perf_counter()
            try:
                kind.read(path)
            except Fishs2Error as error:
                if str(path.parent) in error.message:
                    sys.exit(f"{name} {seed} {number}: shows a path: {error.message}")
            except MemoryError:
                if not kind.has_own_limit:
                    raise
            except BaseException as error:
                print(f"{name} {seed} {number}: {type(error).__name__}", flush=True)
                raise
            took_s = time.perf_counter() - started_s
            if took_s > SLOW_S:
                print(f"slow: {name} {seed} {number}: {took_s:.1f} s", flush=True)
    print(f"read {num}")


if __name__ == "__main__":
    main()
