"""What happens to the server beside speech: attacks, kills, keys and voices that change."""

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx2
import psutil

from benchmarks.campaign.calls import CHANGING_VOICE
from benchmarks.campaign.listeners import Tally
from benchmarks.campaign.mutations import CANARY, Attack, Mutator
from benchmarks.campaign.served import CommandError, Server

_PATIENCE_S = 60.0
_PRIVATE = (b"Traceback", b"site-packages", b"/src/fishs2", b'File "')
"""What no answer may hold: it is the server's own."""


@dataclass(slots=True)
class Trouble:
    """What was tried and how it was met. statuses: of attacks, by number; 0 is a closed connection.

    key_delays_s: how long a disabled key was still let in.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    slowest_s: float = 0.0
    slowest: str = ""
    num_commands: int = 0
    num_replaced: int = 0
    key_delays_s: list[float] = field(default_factory=list)


class Troubles:
    """All of it, each part until a moment of the monotonic clock that it is given."""

    def __init__(self, server: Server, token: str, tally: Tally, trouble: Trouble) -> None:
        self._server = server
        self._token = token
        self._tally = tally
        self._trouble = trouble

    def _client(self, token: str | None = None) -> httpx2.AsyncClient:
        headers = {"Authorization": f"Bearer {token or self._token}"}
        return httpx2.AsyncClient(
            base_url=self._server.url, timeout=_PATIENCE_S, trust_env=False, headers=headers
        )

    async def attack(self, mutator: Mutator, pause_s: float, ends_s: float) -> None:
        """Send requests that are wrong in every way, with the right key."""
        while time.monotonic() < ends_s:
            await self._attack_once(mutator.draw())
            await asyncio.sleep(pause_s)

    async def _attack_once(self, attack: Attack) -> None:
        started_s = time.monotonic()
        status, content = await send_attack(self._server.url, attack, self._token)
        took_s = time.monotonic() - started_s
        self._trouble.statuses[status] += 1
        if status >= 400 and took_s > self._trouble.slowest_s:
            self._trouble.slowest_s, self._trouble.slowest = took_s, attack.name
        fault = fault_of(status, content, str(self._server.folder))
        if fault and not (status >= 500 and self._tally.was_provoked(started_s)):
            self._tally.note_fault(fault, f"{attack.name} -> {status} {content[:200]!r}")

    async def kill(self, every_s: float, pick: random.Random, ends_s: float) -> None:
        """Kill one of the engine's processes now and then."""
        while time.monotonic() + every_s < ends_s:
            await asyncio.sleep(every_s)
            if children := self._server.living_children():
                try:
                    pick.choice(children).kill()
                except psutil.NoSuchProcess:
                    continue
                self._tally.kills_s.append(time.monotonic())

    async def change_voices(
        self, recordings: tuple[bytes, bytes], pause_s: float, ends_s: float
    ) -> None:
        """Replace one voice by the other and back, and store and delete a third."""
        async with self._client() as client:
            while time.monotonic() < ends_s:
                recording = recordings[self._trouble.num_replaced % 2]
                await store_voice(client, CHANGING_VOICE, recording)
                self._trouble.num_replaced += 1
                await asyncio.sleep(pause_s)
                await store_voice(client, "passing", recording)
                (await client.get("/v1/audio/voices")).raise_for_status()
                (await client.delete("/v1/audio/voices/passing")).raise_for_status()
                await asyncio.sleep(pause_s)

    async def change_keys(self, pause_s: float, ends_s: float) -> None:
        """Make a key, use it, disable it, and see how long it is still let in."""
        while time.monotonic() < ends_s:
            number = self._trouble.num_commands
            try:
                await self._change_key(f"passing-{number}")
                if len(self._trouble.key_delays_s) % 2:
                    await self._run("voices", "list")
                else:
                    await self._run("keys", "usage")
            except CommandError as error:
                self._tally.note_fault("command", str(error))
            await asyncio.sleep(pause_s)

    async def _change_key(self, name: str) -> None:
        token = (await self._run("keys", "create", name)).strip()
        async with self._client(token) as client:
            await _wait_for(client, 200)
            body = {"model": "fishs2", "input": f"I am {name}.", "response_format": "wav"}
            await client.post("/v1/audio/speech", json=body)
            await self._run("keys", "disable", name)
            disabled_s = time.monotonic()
            await _wait_for(client, 401)
            self._trouble.key_delays_s.append(time.monotonic() - disabled_s)

    async def _run(self, *arguments: str) -> str:
        self._trouble.num_commands += 1
        return await self._server.run_command(*arguments)


async def _wait_for(client: httpx2.AsyncClient, status: int) -> None:
    async with asyncio.timeout(_PATIENCE_S):
        while (await client.get("/v1/models")).status_code != status:  # noqa: ASYNC110 - asks
            await asyncio.sleep(0.05)


async def store_voice(client: httpx2.AsyncClient, name: str, recording: bytes) -> None:
    """Store or replace a voice."""
    stored = await client.post(
        "/v1/audio/voices",
        files={"files": ("a.wav", recording, "audio/wav")},
        data={"voice_id": name, "prompt_text": f"A {name} voice."},
    )
    stored.raise_for_status()


async def send_attack(url: str, attack: Attack, token: str = "") -> tuple[int, bytes]:
    """Send it byte by byte as it is; returns the status, 0 if there was none, and the answer.

    No HTTP library would send most of them. Speech is not read to its end.
    """
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    lines = [f"{attack.method} {attack.path} HTTP/1.1", "Host: localhost", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in attack.headers]
    if token and not any(name == "Authorization" for name, _ in attack.headers):
        lines.append(f"Authorization: Bearer {token}")
    if attack.content or attack.method in ("POST", "PUT", "PATCH"):
        lines.append(f"Content-Length: {len(attack.content)}")
    received = b""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            writer.write("\r\n".join([*lines, "", ""]).encode("utf-8") + attack.content)
            while piece := await reader.read(1 << 16):
                received += piece
                if len(received) > 1 << 16:
                    break
    except (OSError, ValueError):
        pass  # it is refused before it has been read: what was answered counts
    finally:
        writer.transport.abort()
    first, *_ = received.split(b"\r\n", 1)
    is_answer = first.startswith(b"HTTP/1.1 ") and first[9:12].isdigit()
    return (int(first[9:12]) if is_answer else 0), received


def fault_of(status: int, answer: bytes, folder: str) -> str | None:
    """What is wrong with the answer to an attack, in a word; None if nothing is."""
    if status >= 500 and status not in (501, 503):
        return "server error"
    if status >= 400 and CANARY.encode() in answer.partition(b"\r\n\r\n")[2]:
        return "repeated text"
    if any(private in answer for private in (*_PRIVATE, folder.encode())):
        return "private words"
    return None
