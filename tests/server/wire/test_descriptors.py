"""A server that may open few files: new work is refused before that harms the work in progress."""

import json
import os
import socket
import sys
import threading
from pathlib import Path

import pytest

from fishs2.server.wire import descriptors
from tests.serving import PATIENCE_S, running_server

TEXT = " ".join(f"Sentence number {n} goes on for a while." for n in range(1))
BODY = {"model": "fishs2", "input": TEXT, "response_format": "mp3", "stream": True}


def asking() -> bytes:
    body = json.dumps(BODY).encode()
    head = "POST /v1/audio/speech HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def read_answer(connection: socket.socket) -> bytes:
    """All that comes until the answer is complete or the connection ends."""
    answer = b""
    try:
        while not answer.endswith(b"\r\n0\r\n\r\n"):
            piece = connection.recv(65_536)
            if not piece:
                break
            answer += piece
    except OSError:
        pass
    return answer


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux changes limits of other processes")
def test_with_few_descriptors_new_work_is_refused_and_none_is_lost(tmp_path: Path) -> None:
    import resource

    more = {"FISHS2_MAX_STREAMS": "1000", "FISHS2_MAX_QUEUE": "1000"}
    answers: list[bytes] = []
    with running_server(tmp_path, FISHS2_ENGINE="builtin", **more) as (url, process):  # type: ignore[arg-type]
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (192, 192))
        port = int(url.rpartition(":")[2])
        connections = []
        for _ in range(150):
            each = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
            each.sendall(asking())
            connections.append(each)
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as watching:
            watching.sendall(b"GET /health HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
            health = read_answer(watching)
        readers = [
            threading.Thread(target=lambda each=each: answers.append(read_answer(each)))
            for each in connections
        ]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        for each in connections:
            each.close()

    spoken = [each for each in answers if each.startswith(b"HTTP/1.1 200")]
    refused = [each for each in answers if each.startswith(b"HTTP/1.1 503")]
    assert len(spoken) > 50
    assert all(each.endswith(b"\r\n0\r\n\r\n") for each in spoken)
    assert refused
    assert all(b"retry-after: 5" in each for each in refused)
    assert not [each for each in answers if each.startswith(b"HTTP/1.1 500")]
    assert health.startswith((b"HTTP/1.1 200", b"HTTP/1.1 503"))
    assert "Traceback" not in (tmp_path / "logs" / "errors.log").read_text()


def test_the_next_descriptor_is_the_lowest_free_one() -> None:
    number = descriptors.lowest_free()
    opened = os.open(os.devnull, os.O_RDONLY)
    try:
        assert opened == number
        assert descriptors.lowest_free() > number
    finally:
        os.close(opened)


def test_few_descriptors_are_short_before_they_are_gone() -> None:
    most = descriptors.limit()
    assert most is not None
    assert not descriptors.are_short(0)
    assert descriptors.are_short(most - 90)
    assert not descriptors.are_gone(most - 90)
    assert descriptors.are_gone(most - 1)
    assert 16 <= descriptors.backlog(2_048) <= 2_048
