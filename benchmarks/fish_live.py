"""Live speech: how soon it sounds beside POST /v1/tts, and what a frame costs.

    .venv/bin/python -m benchmarks.fish_live

First audio: a server process with the builtin engine; the same sentence by HTTP on an open
connection and as a text frame on a speech that has been started, in turns, from the last byte sent
to the first audio. Cost: a server process around an engine that costs nothing; tokens of a language
model, one a frame, thousands of them, and all the audio they make; CPU of the server, all threads.
"""

import contextlib
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import ormsgpack
import psutil
from websockets.sync.client import ClientConnection, connect

from tests.fakes import CHARS_PER_S
from tests.serving import free_port, server_process

NUM_TURNS = 80
NUM_RUNS = 5
NUM_SENTENCES = 500
SENTENCE = "Number {n} is a sentence that somebody has just finished writing."
TOKENS = ["This", " is", " a", " sen", "tence", " that", " a", " model", " wri", "tes", ".", " "]
_SENTENCE_BYTES = 2 * round(len("".join(TOKENS).strip()) / CHARS_PER_S * 24_000)
AUDIO_FORMATS = ("mp3", "pcm")

_RATES_HZ = {"wav": 24_000}
"""The fake engine's own: what is left is the cost of frames, not that of resampling."""


@contextlib.contextmanager
def started(url: str, audio_format: str) -> Iterator[ClientConnection]:
    """A speech that waits for text."""
    address = url.replace("http", "ws", 1) + "/v1/tts/live"
    request = {"text": "", "format": audio_format, "sample_rate": _RATES_HZ.get(audio_format)}
    headers = {"model": "s2-pro"}
    with connect(address, additional_headers=headers, compression=None) as socket:
        socket.send(ormsgpack.packb({"event": "start", "request": request}))
        yield socket


def say(socket: ClientConnection, text: str) -> None:
    """Send a piece of text."""
    socket.send(ormsgpack.packb({"event": "text", "text": text}))


def hear(socket: ClientConnection) -> bytes:
    """The server's next audio; nothing at the end. Raises AssertionError for an error."""
    frame = socket.recv()
    assert isinstance(frame, bytes)
    event = ormsgpack.unpackb(frame)
    assert event.get("reason") != "error", event
    audio: bytes = event.get("audio", b"")
    return audio


def first_audio_http_s(connection: http.client.HTTPConnection, text: str, name: str) -> float:
    """Seconds to the first byte of a streamed answer."""
    body = json.dumps({"text": text, "format": name})
    headers = {"Content-Type": "application/json", "model": "s2-pro"}
    started_s = time.perf_counter()
    connection.request("POST", "/v1/tts", body, headers=headers)
    answer = connection.getresponse()
    assert answer.status == 200, answer.status
    assert answer.read(1)
    first_s = time.perf_counter() - started_s
    answer.read()
    return first_s


def first_audio_live_s(url: str, text: str, name: str) -> float:
    """Seconds to the first audio frame of a speech that waits for its first sentence."""
    with started(url, name) as socket:
        # Long enough that the server waits too.
        time.sleep(0.005)
        started_s = time.perf_counter()
        say(socket, text)
        assert hear(socket)
        first_s = time.perf_counter() - started_s
        socket.send(ormsgpack.packb({"event": "stop"}))
        while hear(socket):
            pass
    return first_s


def measure_first_audio(name: str) -> tuple[float, float]:
    """Medians in ms: by HTTP, and live."""
    with tempfile.TemporaryDirectory() as folder, server_process(Path(folder)) as url:
        connection = http.client.HTTPConnection(urlsplit(url).netloc)
        by_http, by_socket = [], []
        for turn in range(NUM_TURNS + 5):
            text = SENTENCE.format(n=turn)
            by_http.append(first_audio_http_s(connection, text, name))
            by_socket.append(first_audio_live_s(url, text, name))
    # The first turns meet a server that has only just started.
    return 1000 * statistics.median(by_http[5:]), 1000 * statistics.median(by_socket[5:])


@contextlib.contextmanager
def fake_server() -> Iterator[tuple[str, psutil.Process]]:
    """Run benchmarks.fake_server; yields its URL and process once it listens."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.fake_server", str(port), "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    url = f"http://127.0.0.1:{port}"
    for _ in range(200):
        with contextlib.suppress(OSError), started(url, "pcm"):
            break
        time.sleep(0.05)
    try:
        yield url, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.communicate()


def measure_frames() -> tuple[float, int, int]:
    """CPU in ms per frame, and how many frames went in and came out."""
    with fake_server() as (url, process):
        num_out = num_bytes = 0
        before = process.cpu_times()
        with started(url, "wav") as socket:
            for sentence in range(NUM_SENTENCES):
                for token in TOKENS:
                    say(socket, token)
                # At the pace of the speech, so that no sentence is packed with the next.
                while num_bytes < (sentence + 1) * _SENTENCE_BYTES:
                    num_bytes += len(hear(socket))
                    num_out += 1
            socket.send(ormsgpack.packb({"event": "stop"}))
            while hear(socket):
                num_out += 1
        after = process.cpu_times()
    cpu_s = after.user + after.system - before.user - before.system
    num_in = NUM_SENTENCES * len(TOKENS)
    return 1000 * cpu_s / (num_in + num_out), num_in, num_out


def main() -> None:
    """Measure several times and print medians."""
    for name in AUDIO_FORMATS:
        runs = [measure_first_audio(name) for _ in range(NUM_RUNS)]
        for label, values in (
            (f"first audio in ms, {name}, POST", [by_http for by_http, _ in runs]),
            (f"first audio in ms, {name}, live", [live for _, live in runs]),
            (f"ratio, {name}", [live / by_http for by_http, live in runs]),
        ):
            report(label, values)
    frames = [measure_frames() for _ in range(NUM_RUNS)]
    report("CPU in ms per frame", [cost for cost, _, _ in frames])
    print(f"frames in and out: {frames[0][1:]}")


def report(label: str, values: list[float]) -> None:
    """Print the median and the range of a figure."""
    middle = statistics.median(values)
    print(
        f"{label:<32} {middle:8.3f}   ({min(values):.3f} to {max(values):.3f}, {len(values)} runs)"
    )


if __name__ == "__main__":
    main()
