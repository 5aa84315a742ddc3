"""ElevenLabs' WebSocket: how soon it sounds beside the POST.

    .venv/bin/python -m benchmarks.stream_input

A server process with the builtin engine; the same sentence in turns, by HTTP on an open connection
and as a frame on an open `stream-input`, from the last byte sent to the first audio.
"""

import http.client
import json
import statistics
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from websockets.sync.client import connect

from tests.serving import server_process

NUM_TURNS = 30
NUM_WARM = 5
FORMATS = ("mp3_44100_128", "pcm_24000")
PATH = "/v1/text-to-speech/default"
SENTENCE = "Number {n} is a sentence that somebody has just finished writing. "


def first_audio_http_s(connection: http.client.HTTPConnection, text: str, name: str) -> float:
    """Seconds to the first byte of a streamed answer."""
    headers = {"Content-Type": "application/json"}
    body = json.dumps({"text": text})
    started_s = time.perf_counter()
    connection.request("POST", f"{PATH}/stream?output_format={name}", body, headers=headers)
    answer = connection.getresponse()
    assert answer.status == 200, answer.status
    assert answer.read(1)
    first_s = time.perf_counter() - started_s
    answer.read()
    return first_s


def first_audio_socket_s(url: str, text: str, name: str) -> float:
    """Seconds to the first frame with audio, on a connection that is open."""
    address = f"{url.replace('http', 'ws', 1)}{PATH}/stream-input?output_format={name}"
    with connect(address, compression=None) as socket:
        socket.send(json.dumps({"text": " ", "voice_settings": {}}))
        # Long enough that the server waits for text.
        time.sleep(0.005)
        started_s = time.perf_counter()
        socket.send(json.dumps({"text": text}))
        assert json.loads(socket.recv())["audio"]
        first_s = time.perf_counter() - started_s
        socket.send(json.dumps({"text": ""}))
        while not json.loads(socket.recv()).get("isFinal"):
            pass
    return first_s


def measure(url: str, name: str) -> tuple[float, float]:
    """Medians in ms: by HTTP, and over the WebSocket."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    by_http, by_socket = [], []
    for turn in range(NUM_WARM + NUM_TURNS):
        text = SENTENCE.format(n=turn)
        by_http.append(first_audio_http_s(connection, text, name))
        by_socket.append(first_audio_socket_s(url, text, name))
    # The first turns meet a server that has only just started.
    http_s, socket_s = (statistics.median(each[NUM_WARM:]) for each in (by_http, by_socket))
    return 1000 * http_s, 1000 * socket_s


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, server_process(Path(folder)) as url:
        for name in FORMATS:
            http_ms, socket_ms = measure(url, name)
            ratio = socket_ms / http_ms
            print(f"{name}: POST {http_ms:.1f} ms, stream-input {socket_ms:.1f} ms, {ratio:.2f}")


if __name__ == "__main__":
    main()
