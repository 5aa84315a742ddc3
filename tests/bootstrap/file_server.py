"""A local HTTP server with the faults of real ones: cuts, stalls, wrong sizes, no ranges."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def _set_event() -> threading.Event:
    event = threading.Event()
    event.set()
    return event


@dataclass(slots=True)
class Faults:
    """How the server misbehaves. Lists are used up from the front, a request each.

    cut_after: bytes that are sent before the connection is cut; None sends all. statuses: instead
    of an answer; None is a proper one. may_go: comes between the halves of every body. declare:
    bytes to add to the declared length.
    """

    has_ranges: bool = True
    cut_after: list[int | None] = field(default_factory=list)
    statuses: list[int | None] = field(default_factory=list)
    may_go: threading.Event = field(default_factory=_set_event)
    declare: int = 0
    etag: str = '"one"'
    redirect_to: str = ""


@dataclass(slots=True)
class FileServer:
    """The server: `files` by path, what was asked of it, and how many bytes of bodies it sent."""

    url: str
    files: dict[str, bytes]
    faults: Faults
    requests: list[tuple[str, str, str]]
    num_sent: int = 0


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that break off are what some tests are about."""


@contextmanager
def file_server(files: dict[str, bytes], faults: Faults | None = None) -> Iterator[FileServer]:
    """Serve `files` on a free port of loopback."""
    server = FileServer("", files, faults or Faults(), [])

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(has_body=False)

        def do_GET(self) -> None:
            self._answer(has_body=True)

        def _answer(self, *, has_body: bool) -> None:
            path = self.path.partition("?")[0]
            wanted = self.headers.get("Range", "")
            server.requests.append((self.command, path, wanted))
            faults = server.faults
            status = faults.statuses.pop(0) if faults.statuses and has_body else None
            if path not in server.files:
                status = 404
            if faults.redirect_to and path != faults.redirect_to:
                self.send_response(302)
                self.send_header("Location", faults.redirect_to)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if status is not None:
                self.send_response(status)
                self.send_header("Retry-After", "0")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self._send(server.files[path], wanted, has_body=has_body)

        def _send(self, whole: bytes, wanted: str, *, has_body: bool) -> None:
            faults = server.faults
            first = 0
            is_same = self.headers.get("If-Range") in (None, faults.etag)
            if faults.has_ranges and wanted and is_same:
                first = int(wanted.removeprefix("bytes=").partition("-")[0])
                if first >= len(whole):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(whole)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {first}-{len(whole) - 1}/{len(whole)}")
            else:
                self.send_response(200)
            body = whole[first:]
            self.send_header("Content-Length", str(len(body) + faults.declare))
            self.send_header("ETag", faults.etag)
            self.send_header("X-Repo-Commit", "0" * 40)
            self.end_headers()
            if has_body:
                self._send_body(body)

        def _send_body(self, body: bytes) -> None:
            faults = server.faults
            cut = faults.cut_after.pop(0) if faults.cut_after else None
            sent = body if cut is None else body[:cut]
            half = len(sent) // 2
            self.wfile.write(sent[:half])
            self.wfile.flush()
            faults.may_go.wait()
            self.wfile.write(sent[half:])
            server.num_sent += len(sent)
            if cut is not None or faults.declare:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    with _QuietServer(("127.0.0.1", 0), Answer) as http:
        server.url = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.faults.may_go.set()
            http.shutdown()
            thread.join()
