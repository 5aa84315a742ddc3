"""Requests that nobody sends by mistake alone: those of the API page, changed until they are wrong.

Every route of the server's own /openapi.json with a body has an example there; each request starts
from one and is changed: in its values, its shape, its bytes, its type, its path or its headers.
"""

import copy
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlencode

import ormsgpack

CANARY = "zq-canary-7f3a"
"""Part of every text and every credential that is sent: no error may repeat it."""

_ODD_TEXTS = (
    "",
    " ",
    "\x00",
    "\ud800",
    "a" * 70_000,
    "../../../../etc/passwd",
    "/etc/passwd",
    "C:\\Windows\\win.ini",
    "file:///etc/passwd",
    "http://127.0.0.1:9/",
    "' OR 1=1 --",
    "<script>alert(1)</script>",
    "{{7*7}}",
    "%00%0a",
    "\u202e\u200b\ufeff",
    "💥" * 500,
    "data:audio/wav;base64,AAAA",
    "data:audio/wav;base64," + "A" * 5_000,
    "$(id)",
    "<|speaker:99999|>",
    "[" * 3_000,
    "null",
    "1e999",
)
_ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**63), 10**400),
    *(0.5, -0.0, 1e308, float("inf"), float("-inf"), float("nan")),
    *([], {}, [[]], [None] * 50, {"a": {"b": {"c": []}}}, [{"audio": "x"}]),
)
_ODD_TYPES = (
    "text/plain",
    "application/json; charset=utf-16",
    "application/json; charset=nonsense",
    "application/msgpack",
    "application/x-msgpack",
    "multipart/form-data",
    "multipart/form-data; boundary=",
    "multipart/form-data; boundary=" + "b" * 300,
    "application/x-www-form-urlencoded",
    "application/octet-stream",
    "",
    "\x7f",
)
_ODD_HEADERS = (
    ("Authorization", "Bearer"),
    ("Authorization", f"Basic {CANARY}"),
    ("Authorization", f"Bearer fs2_{CANARY}"),
    ("Accept", "text/event-stream"),
    ("Accept", "*/*;q=nan"),
    ("Content-Encoding", "gzip"),
    ("Range", "bytes=9-1"),
    ("If-None-Match", "*"),
    ("X-Forwarded-For", "999.1.1.1, ;"),
    ("X-Forwarded-Host", "evil.example"),
    ("Forwarded", 'for=;host="\\'),
    ("X-Request-ID", "a\tb" + "c" * 300),
    ("Upgrade", "h2c"),
    ("Expect", "something"),
    ("Cookie", "a=b; " * 200),
    ("model", "s2-pro"),
    ("Content-Language", "\xff"),
)


@dataclass(frozen=True, slots=True)
class Attack:
    """A request. content: its body. headers: also its content type."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    content: bytes = b""

    @property
    def name(self) -> str:
        """For people, cut."""
        return f"{self.method} {self.path[:80]} {dict(self.headers)!r:.120} {self.content[:160]!r}"


@dataclass(frozen=True, slots=True)
class Seed:
    """A route with an example of what it takes. fields: of the body; None if it has none."""

    method: str
    path: str
    content_type: str
    fields: dict[str, Any] | None
    parameters: tuple[str, ...]


def find_seeds(page: dict[str, Any]) -> list[Seed]:
    """All routes of an /openapi.json, once for each type of body that has an example."""
    seeds = []
    for path, operations in page["paths"].items():
        for method, operation in operations.items():
            named = operation.get("parameters", [])
            queries = tuple(each["name"] for each in named if each["in"] == "query")
            bodies = operation.get("requestBody", {}).get("content", {})
            example: dict[str, Any] = next(
                (b["example"] for b in bodies.values() if "example" in b), {}
            )
            for content_type in bodies or ("",):
                fields = bodies.get(content_type, {}).get("example", example) if bodies else None
                seeds.append(Seed(method.upper(), path, content_type, fields, queries))
    return seeds


class Mutator:
    """Draws attacks on the routes that `seeds` name. files: what uploads may carry."""

    def __init__(self, seeds: list[Seed], files: list[bytes], seed: int) -> None:
        self._seeds = seeds
        self._files = files
        self._pick = random.Random(seed)

    def draw(self) -> Attack:
        """The next one; the same seed draws the same ones."""
        pick = self._pick
        seed = pick.choice(self._seeds)
        fields = copy.deepcopy(seed.fields)
        if fields is not None:
            for name in ("input", "text"):
                if name in fields:
                    fields[name] = f"{CANARY} says this."
            for _ in range(pick.choice((0, 1, 1, 2, 4))):
                self._change(fields)
        content_type, content = self._body(seed.content_type, fields)
        attack = Attack(seed.method, self._path(seed), self._headers(content_type), content)
        for change in self._more_changes():
            attack = change(attack)
        return attack

    def _change(self, fields: dict[str, Any]) -> None:
        """Make one value odd, take it away, or bring one that nobody knows."""
        pick = self._pick
        name = pick.choice([*fields, f"{CANARY}-field", "__proto__"])
        match pick.randrange(5):
            case 0:
                fields.pop(name, None)
            case 1:
                fields[name] = [fields.get(name)] * pick.choice((1, 2, 40))
            case 2:
                fields[name] = {"a": fields.get(name), "text": pick.choice(_ODD_TEXTS)}
            case 3:
                fields[name] = pick.choice(_ODD_VALUES)
            case _:
                fields[name] = pick.choice(_ODD_TEXTS)

    def _body(self, content_type: str, fields: dict[str, Any] | None) -> tuple[str, bytes]:
        if fields is None:
            return "", b""
        if "msgpack" in content_type:
            # Whole numbers of more than 64 bits have no MessagePack.
            plain = json.loads(json.dumps(fields, default=str).replace("Infinity", "1e99"))
            return content_type, ormsgpack.packb(_packable(plain))
        if content_type.startswith("multipart"):
            return self._form(fields)
        return content_type, json.dumps(fields).encode()

    def _form(self, fields: dict[str, Any]) -> tuple[str, bytes]:
        parts = []
        for name, value in fields.items():
            is_file = name in ("files", "file", "audio", "audioFiles", "audio_sample", "voices")
            value = self._pick.choice(self._files) if is_file else _text_of(value)
            file_name = self._pick.choice(("a.wav", "../../x.wav", "", "a\x00.mp3", "é" * 200))
            extra = f'; filename="{file_name}"' if is_file else ""
            head = f'Content-Disposition: form-data; name="{name}"{extra}\r\n\r\n'
            parts.append(b"--zq\r\n" + head.encode(errors="replace") + value + b"\r\n")
        return "multipart/form-data; boundary=zq", b"".join(parts) + b"--zq--\r\n"

    def _path(self, seed: Seed) -> str:
        pick, path = self._pick, seed.path
        while "{" in path:
            before, _, rest = path.partition("{")
            odd = pick.choice((*_ODD_TEXTS[3:], "default", "low", CANARY))[:300]
            path = before + quote(odd.encode(errors="replace"), safe="") + rest.partition("}")[2]
        query = {
            name: str(pick.choice((*_ODD_VALUES, *_ODD_TEXTS)))[:400].encode(errors="replace")
            for name in seed.parameters
            if pick.random() < 0.4
        }
        return f"{path}?{urlencode(query)}" if query else path

    def _headers(self, content_type: str) -> tuple[tuple[str, str], ...]:
        return (("Content-Type", content_type),) if content_type else ()

    def _more_changes(self) -> Iterator[Callable[[Attack], Attack]]:
        """Now and then one of what is below the fields: bytes, types, headers, methods."""
        chance = self._pick.random
        if chance() < 0.25:
            yield self._break_bytes
        if chance() < 0.1:
            yield self._other_type
        if chance() < 0.2:
            yield self._odd_header
        if chance() < 0.08:
            yield self._other_method

    def _break_bytes(self, attack: Attack) -> Attack:
        return replace(attack, content=mutate_bytes(attack.content, self._pick))

    def _other_type(self, attack: Attack) -> Attack:
        return replace(attack, headers=(("Content-Type", self._pick.choice(_ODD_TYPES)),))

    def _odd_header(self, attack: Attack) -> Attack:
        return replace(attack, headers=(*attack.headers, self._pick.choice(_ODD_HEADERS)))

    def _other_method(self, attack: Attack) -> Attack:
        methods = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "BREW")
        return replace(attack, method=self._pick.choice(methods))


def mutate_bytes(content: bytes, pick: random.Random) -> bytes:
    """Bytes with some of them changed, taken out, doubled or cut off."""
    changed = bytearray(content)
    for _ in range(pick.choice((1, 1, 2, 8, 40))):
        at = pick.randrange(len(changed) + 1)
        num = pick.choice((1, 1, 4, 32, 1_000))
        match pick.randrange(6):
            case 0 | 1:
                changed[at : at + num] = pick.randbytes(min(num, len(changed) - at))
            case 2:
                del changed[at : at + num]
            case 3:
                changed[at:at] = changed[at : at + num]
            case 4:
                changed[at : at + 4] = pick.choice((b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff"))
            case _:
                del changed[max(at, 1) :]
    return bytes(changed)


def _text_of(value: Any) -> bytes:
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode(errors="surrogatepass")


def _packable(value: Any) -> Any:
    """The same without what MessagePack cannot say."""
    match value:
        case str():
            return value.encode(errors="replace").decode()
        case bool() | float() | None:
            return value
        case int():
            return max(-(2**63), min(value, 2**64 - 1))
        case list():
            return [_packable(each) for each in value]
        case dict():
            return {k: _packable(v) for k, v in value.items()}
    return str(value)
