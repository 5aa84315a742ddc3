"""The `builtin` engine through the server: first audio, throughput beside bare eSpeak, memory.

    .venv/bin/python -m benchmarks.builtin_speech

First audio: time from sending the request to the first byte of the body of a streamed mp3, one at a
time. Throughput: 16 clients ask for whole WAVs of different texts; beside it, two processes that do
nothing but call eSpeak on the same texts, without a server, pipes or checks. The two are measured in
turns, and their ratio is taken within each turn. Memory: resident size of server and workers after
400 mixed requests and after 2,000 more.
"""

import concurrent.futures
import ctypes
import http.client
import itertools
import json
import multiprocessing
import os
import statistics
import tempfile
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


def speak_bare(texts: list[str], start: "multiprocessing.synchronize.Barrier") -> int:
    """Call eSpeak on each text; returns the samples made."""
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    os.chdir(Path(espeakng_loader.get_data_path()).parent)
    library.espeak_Initialize(2, 100, b".", 0x8000)
    num_samples = 0

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
    def receive(_samples: int, count: int, _events: int) -> int:
        nonlocal num_samples
        num_samples += count
        return 0

    library.espeak_SetSynthCallback(receive)
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
        return sum(process.memory_info().rss for process in family) / 1e6

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
        pairs = [(measure_server(url), measure_bare()) for _ in range(NUM_TURNS)]
        for server, bare in pairs:
            print(f"audio-s/s: server {server:.0f}, bare {bare:.0f}, ratio {server / bare:.2f}")
        print(f"median ratio {statistics.median(s / b for s, b in pairs):.2f}", flush=True)
        early, late = measure_memory(url)
        print(f"resident: {early:.1f} MB, then {late:.1f} MB ({100 * (late / early - 1):+.1f} %)")


if __name__ == "__main__":
    main()
