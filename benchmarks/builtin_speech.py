"""The `builtin` engine through the server: first audio, throughput beside bare eSpeak, memory.

    .venv/bin/python -m benchmarks.builtin_speech

First audio: time from sending the request to the first byte of the body of a streamed mp3, one at
a time. Throughput: 16 clients ask for whole WAVs of different texts. Beside it, in turns, the same
texts spoken by two processes without a server: the `espeak-ng` program, once per text, where it is
installed; and a loop around the library, which carries its state from text to text, so that the
samples of a text depend on those before it (the server's do not). Memory: resident size of server
and workers after 400 mixed requests and after 2,000 more.
"""

import concurrent.futures
import ctypes
import http.client
import itertools
import json
import math
import multiprocessing
import os
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import espeakng_loader
import numpy as np
import psutil

from tests.serving import server_process

NUM_CLIENTS = 16
NUM_FIRST = 200
NUM_TEXTS = 320
NUM_TURNS = 5
NUM_BARE_PROCESSES = 2
RATE_HZ = 22_050
FORMATS = ("wav", "mp3", "opus", "aac", "flac", "pcm")


def make_text(number: int) -> str:
    """Three sentences of ordinary length, different for every number."""
    return (
        f"This is paragraph number {number} of a long book about the sea. The captain looked at "
        "the horizon, where dark clouds were gathering, and said nothing for a while. Then he "
        f"gave his order in a low voice, and {number % 90 + 10} men ran to the sails."
    )


TEXTS = [make_text(number) for number in range(NUM_TEXTS)]


class Client:
    """One keep-alive connection."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(url.removeprefix("http://"))

    def speak(self, text: str, **fields: object) -> tuple[float, bytes]:
        """Seconds to the first byte of the body, and the body."""
        body = json.dumps({"model": "fishs2", "input": text, **fields})
        started_s = time.perf_counter()
        self._connection.request(
            "POST", "/v1/audio/speech", body, headers={"Content-Type": "application/json"}
        )
        answer = self._connection.getresponse()
        first = answer.read(1)
        first_s = time.perf_counter() - started_s
        assert answer.status == 200, answer.status
        return first_s, first + answer.read()


def measure_first_audio(url: str) -> list[float]:
    """Milliseconds to the first byte of streamed mp3s."""
    client = Client(url)
    return [
        1000 * client.speak(text, response_format="mp3", stream=True)[0]
        for text in itertools.islice(itertools.cycle(TEXTS), NUM_FIRST)
    ]


def measure_server(url: str) -> float:
    """Seconds of audio made per second by 16 clients that share the texts."""
    shares = [TEXTS[index::NUM_CLIENTS] for index in range(NUM_CLIENTS)]

    def read_share(share: list[str]) -> int:
        client = Client(url)
        return sum(len(client.speak(text, response_format="wav")[1]) - 44 for text in share)

    started_s = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(NUM_CLIENTS) as pool:
        num_bytes = sum(pool.map(read_share, shares))
    return num_bytes / 2 / RATE_HZ / (time.perf_counter() - started_s)


def speak_bare(texts: list[str], start: threading.Barrier) -> int:
    """Call eSpeak on each text; returns the samples made."""
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    os.chdir(Path(espeakng_loader.get_data_path()).parent)
    library.espeak_Initialize(2, 100, b".", 0x8000)
    num_samples = 0

    def receive(_samples: int, count: int, _events: int) -> int:
        nonlocal num_samples
        num_samples += count
        return 0

    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
    callback = kind(receive)
    library.espeak_SetSynthCallback(callback)
    library.espeak_SetVoiceByName(b"en-us")
    start.wait()
    for text in texts:
        raw = text.encode() + b"\0"
        library.espeak_Synth(raw, ctypes.c_size_t(len(raw)), 0, 1, 0, 1, None, None)
    return num_samples


def measure_bare() -> float:
    """Seconds of audio made per second by bare eSpeak processes that share the texts."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        start = manager.Barrier(NUM_BARE_PROCESSES + 1)
        with concurrent.futures.ProcessPoolExecutor(NUM_BARE_PROCESSES, context) as pool:
            shares = [TEXTS[index::NUM_BARE_PROCESSES] for index in range(NUM_BARE_PROCESSES)]
            done = [pool.submit(speak_bare, share, start) for share in shares]
            start.wait()
            started_s = time.perf_counter()
            num_samples = sum(each.result() for each in done)
            return num_samples / RATE_HZ / (time.perf_counter() - started_s)


def measure_program() -> float:
    """Seconds of audio made per second by two `espeak-ng` programs at a time; NaN without one."""
    program = shutil.which("espeak-ng")
    if program is None:
        return math.nan

    def speak_text(text: str) -> int:
        command = [program, "-v", "en-us", "--stdout", text]
        return len(subprocess.run(command, capture_output=True, check=True).stdout) - 44

    started_s = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(NUM_BARE_PROCESSES) as pool:
        num_bytes = sum(pool.map(speak_text, TEXTS))
    return num_bytes / 2 / RATE_HZ / (time.perf_counter() - started_s)


def measure_memory(url: str) -> tuple[float, float]:
    """Resident MB of the server and its workers, early and after 2,000 requests more."""
    (server,) = [
        connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
        and connection.laddr.port == int(url.rsplit(":", 1)[1])
    ]

    def resident_mb() -> float:
        root = psutil.Process(server)
        family = [root, *root.children(recursive=True)]
        return float(sum(process.memory_info().rss for process in family)) / 1e6

    client = Client(url)
    sizes = []
    for num_requests in (400, 2_000):
        for index in range(num_requests):
            client.speak(
                TEXTS[index % NUM_TEXTS],
                response_format=FORMATS[index % len(FORMATS)],
                stream=index % 2 == 0,
                speed=(1.0, 1.3)[index % 3 == 0],
            )
        # A worker grows by 4 KB an order and is replaced after 200: compare at rest.
        sizes.append(statistics.median(resident_mb() for _ in range(5)))
    return sizes[0], sizes[1]


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder, server_process(Path(folder)) as url:
        measure_first_audio(url)
        first = measure_first_audio(url)
        p50, p99 = np.percentile(first, [50, 99])
        print(f"first audio, streamed mp3: p50 {p50:.1f} ms, p99 {p99:.1f} ms", flush=True)
        for name, measure in (("program", measure_program), ("library loop", measure_bare)):
            pairs = [(measure_server(url), measure()) for _ in range(NUM_TURNS)]
            server, bare = (statistics.median(column) for column in zip(*pairs, strict=True))
            ratio = statistics.median(ours / theirs for ours, theirs in pairs)
            print(
                f"16 clients: {server:.0f} audio-s/s; two bare processes ({name}): "
                f"{bare:.0f}; ratio {ratio:.2f}",
                flush=True,
            )
        early, late = measure_memory(url)
        print(f"resident: {early:.1f} MB, then {late:.1f} MB ({100 * (late / early - 1):+.1f} %)")


if __name__ == "__main__":
    main()
