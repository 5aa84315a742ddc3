"""What the campaign asks for: requests of every dialect, each by the client people use for it."""

import base64
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import ormsgpack

from benchmarks.campaign.clients import (
    Stream,
    cloud_audio,
    cloud_live,
    http_audio,
    http_events,
    legacy_audio,
    legacy_live,
    linked_audio,
    openai_audio,
    raw_live,
    socket_audio,
)
from fishs2.bench.texts import TextMaker

Engine = Literal["builtin", "s2-tiny"]
Likeness = Literal["bytes", "status"]

CHANGING_VOICE = "changing"
"""The voice that is replaced all the time: who speaks in it hears the old or the new one."""

_MSGPACK = {"Content-Type": "application/msgpack"}
_CLOUD = {**_MSGPACK, "model": "s2-pro"}
_PANDRATOR = {
    "model": "fishaudio/s2-pro",
    "response_format": "wav",
    "temperature": 0.7,
    "top_p": 0.7,
    "chunk_length": 200,
    "latency": "balanced",
    "normalize": True,
}


@dataclass(frozen=True, slots=True)
class Call:
    """One request. is_streamed: whether its first audio comes before its last.

    likeness: `bytes` must be as when heard alone; of `status` only that it was spoken.
    """

    dialect: str
    name: str
    stream: Stream
    is_streamed: bool = True
    likeness: Likeness = "bytes"
    is_changing: bool = False


class CallMaker:
    """Draws texts, voices and formats for the calls of every dialect."""

    def __init__(self, engine: Engine, voices: Sequence[str], recording: bytes, seed: int) -> None:
        self._is_s2 = engine == "s2-tiny"
        self._voices = ("default", *voices)
        self._recording = recording
        self._pick = random.Random(seed)
        self._texts = TextMaker(seed)
        self._number = 0

    def make(self, num_rounds: int) -> list[Call]:
        """So many calls of each kind, no two with the same text."""
        kinds: tuple[Callable[[], Call], ...] = (
            self._openai,
            self._openai_whole,
            self._openai_events,
            self._openai_unknown,
            self._link,
            self._slow_socket,
            self._pandrator,
            self._changing,
            self._compat,
            self._open,
            self._open_cached,
            self._cloud,
            self._cloud_recording,
            self._cloud_unknown,
            self._legacy,
            self._times,
            self._self_hosted,
            self._self_hosted_form,
            self._cloud_live,
            self._legacy_live,
            self._raw_live,
            self._raw_live_times,
        )
        return [make() for _ in range(num_rounds) for make in kinds]

    # The dialects -----------------------------------------------------------------------

    def _openai(self) -> Call:
        body = {**self._speech(), "response_format": self._one("mp3", "opus", "aac", "flac", "pcm")}
        return self._call(
            "openai", f"{body['response_format']}", partial(openai_audio, fields=body)
        )

    def _openai_whole(self) -> Call:
        body = {**self._speech(), "stream": False, "speed": self._one(0.8, 1.0, 1.3)}
        body["response_format"] = self._one("wav", "flac", "mp3")
        stream = partial(openai_audio, fields=body)
        return self._call("openai", f"whole {body['response_format']}", stream, is_streamed=False)

    def _openai_events(self) -> Call:
        body = {
            **self._speech(),
            "stream_format": "sse",
            "response_format": self._one("pcm", "mp3"),
        }
        return self._call("openai", "events", partial(openai_audio, fields=body))

    def _openai_unknown(self) -> Call:
        body = {**self._speech(), "voice": "nobody-has-this", "response_format": "mp3"}
        return self._call("openai", "unknown voice", partial(openai_audio, fields=body))

    def _link(self) -> Call:
        query = {k: json.dumps(v) if isinstance(v, dict) else v for k, v in self._speech().items()}
        query["response_format"] = "mp3"
        return self._http("openai", "link", "GET", "/v1/audio/speech", params=query)

    def _slow_socket(self) -> Call:
        body = {**self._speech(long=False), "response_format": "mp3", "stream": True}
        stream = partial(socket_audio, body=json.dumps(body).encode())
        return self._call("openai", "one who reads slowly", stream, is_streamed=False)

    def _pandrator(self) -> Call:
        speed = self._one(1.0, 1.2)
        prosody = {"speed": speed, "volume": 0.0, "normalize_loudness": True}
        body = {**self._speech(), **_PANDRATOR, "speed": speed, "prosody": prosody}
        path = self._one("/v1/audio/speech", "/audio/speech")
        return self._http("wrapper", "Pandrator", "POST", path, json=body, is_streamed=False)

    def _changing(self) -> Call:
        body = {**self._speech(long=False), **_PANDRATOR, "voice": CHANGING_VOICE}
        call = self._http("wrapper", "voice that changes", "POST", "/v1/audio/speech", json=body)
        return Call(call.dialect, call.name, call.stream, is_streamed=False, is_changing=True)

    def _compat(self) -> Call:
        body = {**self._speech(), "response_format": self._one("pcm", "wav", "mp3")}
        body["voice"] = self._one(*self._voices[1:])
        return self._http("compat", "speech", "POST", "/compat/v1/audio/speech", json=body)

    def _open(self) -> Call:
        body = self._open_body()
        body |= {"format": self._one("mp3", "wav", "pcm"), "speed": self._one(0.8, 1.0, 1.5)}
        packed: dict[str, Any] = {"content": ormsgpack.packb(body), "headers": _MSGPACK}
        request = self._one({"json": body}, packed)
        return self._http(
            "open", "speech", "POST", "/api/open/tts", likeness=self._by_luck(), **request
        )

    def _open_cached(self) -> Call:
        body = {**self._open_body(), "cache": True}
        stream = partial(linked_audio, body=body)
        return self._call("open", "link", stream, is_streamed=False, likeness=self._by_luck())

    def _cloud(self) -> Call:
        fields = {**self._fish(), "format": self._one("mp3", "wav", "opus", "pcm")}
        fields["latency"] = self._one("normal", "balanced")
        return self._call(
            "fish cloud", "fishaudio", partial(cloud_audio, fields=fields), likeness=self._by_luck()
        )

    def _cloud_recording(self) -> Call:
        reference = {"audio": self._recording, "text": "What is said in it."}
        body = {**self._fish(), **self._fixed(), "references": [reference], "format": "mp3"}
        del body["reference_id"]
        content = ormsgpack.packb(body)
        return self._http(
            "fish cloud", "recording", "POST", "/v1/tts", content=content, headers=_CLOUD
        )

    def _cloud_unknown(self) -> Call:
        fields = {**self._fish(), "reference_id": "nobody-has-this"}
        return self._call("fish cloud", "unknown voice", partial(cloud_audio, fields=fields))

    def _legacy(self) -> Call:
        fields = {**self._fish(), "format": self._one("mp3", "wav"), "chunk_length": 150}
        return self._call(
            "fish legacy", "session", partial(legacy_audio, fields=fields), likeness=self._by_luck()
        )

    def _times(self) -> Call:
        body = {**self._fish(), **self._fixed(), "format": "mp3"}
        path = "/v1/tts/stream/with-timestamp"
        return self._call(
            "fish cloud",
            "times",
            partial(http_events, path=path, content=ormsgpack.packb(body), headers=_CLOUD),
        )

    def _self_hosted(self) -> Call:
        audio = base64.b64encode(self._recording).decode()
        body = {**self._fish(), **self._fixed(), "format": self._one("wav", "mp3")}
        if self._pick.random() < 0.3:
            body["references"] = [{"audio": audio, "text": "What is said in it."}]
            del body["reference_id"]
        return self._http("fish self-hosted", "JSON", "POST", "/v1/tts", json=body)

    def _self_hosted_form(self) -> Call:
        fields = {**self._fish(), **self._fixed(), "format": "wav"}
        files = {name: (None, str(value)) for name, value in fields.items()}
        return self._http("fish self-hosted", "form", "POST", "/v1/tts", files=files)

    def _cloud_live(self) -> Call:
        fields = {"reference_id": self._voice(), "format": self._one("mp3", "pcm")}
        stream = partial(cloud_live, texts=(self._text(),), fields=fields)
        return self._call("fish cloud", "live", stream, likeness=self._by_luck())

    def _legacy_live(self) -> Call:
        fields = {"reference_id": self._voice(), "format": "wav"}
        stream = partial(legacy_live, texts=(self._text(),), fields=fields)
        return self._call("fish legacy", "live", stream, likeness=self._by_luck())

    def _raw_live(self) -> Call:
        # How many words are spoken together hangs on when they come.
        texts = tuple(f"{word} " for word in self._text().split())
        fields = {"reference_id": self._voice(), "format": "pcm", **self._fixed()}
        stream = partial(raw_live, path="/v1/tts/live", texts=texts, fields=fields)
        return self._call("live", "word by word", stream, likeness="status")

    def _raw_live_times(self) -> Call:
        fields = {"reference_id": self._voice(), "format": "mp3", **self._fixed()}
        path = "/v1/tts/live/with-timestamp"
        stream = partial(raw_live, path=path, texts=(self._text(),), fields=fields)
        return self._call("live", "with times", stream)

    # What they are made of --------------------------------------------------------------

    def _call(self, dialect: str, name: str, stream: Stream, **more: Any) -> Call:
        self._number += 1
        return Call(dialect, f"{name} ({self._number})", stream, **more)

    def _http(self, dialect: str, name: str, method: str, path: str, **request: Any) -> Call:
        more = {k: request.pop(k) for k in ("is_streamed", "likeness") if k in request}
        stream = partial(http_audio, method=method, path=path, **request)
        return self._call(dialect, name, stream, **more)

    def _speech(self, *, long: bool = True) -> dict[str, Any]:
        """A body of OpenAI's speech with everything that makes its sound the same each time."""
        body: dict[str, Any] = {
            "model": "fishs2",
            "voice": self._voice(),
            "input": self._text(long=long),
            **self._fixed(),
        }
        if self._is_s2:
            # Random weights may end before they have begun, or never.
            body["fishs2"] = {"min_tokens_before_end": 4}
        return body

    def _fixed(self) -> dict[str, Any]:
        return {"seed": self._number, "max_new_tokens": 16} if self._is_s2 else {}

    def _fish(self) -> dict[str, Any]:
        return {"text": self._text(), "reference_id": self._voice()}

    def _open_body(self) -> dict[str, Any]:
        return {"reference_id": self._one(*self._voices), "text": self._text()}

    def _voice(self) -> str:
        return self._pick.choice(self._voices)

    def _text(self, *, long: bool = True) -> str:
        is_long = long and not self._is_s2 and self._pick.random() < 0.15
        # No two are the same, so that nothing that is kept answers for what was spoken.
        return self._texts.make(
            self._pick.randint(180, 700) if is_long else self._pick.randint(25, 90)
        )

    def _by_luck(self) -> Likeness:
        """For clients that can name no seed."""
        return "status" if self._is_s2 else "bytes"

    def _one(self, *choices: Any) -> Any:
        return self._pick.choice(choices)
