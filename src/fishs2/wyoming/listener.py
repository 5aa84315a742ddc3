"""The port of Wyoming: who is let in, and how it ends with the server around it."""

import asyncio
import logging
import socket
from contextlib import AbstractContextManager, suppress
from typing import Protocol

from wyoming.error import Error
from wyoming.event import async_write_event

from fishs2.service.accounts.accounts import Principal
from fishs2.service.services import Services
from fishs2.wyoming.options import WyomingOptions
from fishs2.wyoming.session import Session

logger = logging.getLogger(__name__)

_KEPT_BYTES = 65_536
"""Sound that waits in a connection for its client."""

_EVERYWHERE = ("0.0.0.0", "::")
_SERVICE = "_wyoming._tcp.local."
_MDNS_GROUP = "224.0.0.251"


class Ending(Protocol):
    """How the server around it ends: see `server.wire.stopping.Stopping`."""

    @property
    def has_begun(self) -> asyncio.Event: ...

    def watching(self) -> AbstractContextManager[None]: ...


class WyomingListener:
    """Serves Wyoming on a socket that listens already. One event loop."""

    def __init__(
        self, listening: socket.socket, services: Services, options: WyomingOptions
    ) -> None:
        self._socket = listening
        self._services = services
        self._options = options
        self._sessions: dict[asyncio.Task[None], Session] = {}
        self._server: asyncio.Server | None = None
        self._ending_task: asyncio.Task[None] | None = None
        self._announcing: asyncio.Task[None] | None = None
        self._ending: Ending | None = None

    async def start(self, ending: Ending) -> None:
        """Let clients in."""
        self._ending = ending
        limit = self._options.max_event_bytes
        self._server = await asyncio.start_server(self._meet, sock=self._socket, limit=limit)
        self._ending_task = asyncio.create_task(self._stop_with(ending))
        if self._options.is_announced:
            self._announcing = asyncio.create_task(self._announce())

    async def close(self) -> None:
        """Wait for what is still spoken, which `Ending` cuts in the end."""
        assert self._server is not None
        self._server.close()
        self._stop_sessions()
        if self._sessions:
            await asyncio.wait(list(self._sessions))
        for task in (self._ending_task, self._announcing):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])

    async def _stop_with(self, ending: Ending) -> None:
        await ending.has_begun.wait()
        assert self._server is not None
        self._server.close()
        self._stop_sessions()

    def _stop_sessions(self) -> None:
        for session in self._sessions.values():
            session.stop()

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(high=_KEPT_BYTES)
        task = asyncio.current_task()
        assert task is not None
        assert self._ending is not None
        session = Session(
            reader,
            writer,
            self._services,
            self._options,
            find_principal=self._find_principal,
        )
        try:
            if len(self._sessions) >= self._options.max_connections:
                await self._refuse(writer)
                return
            self._sessions[task] = session
            # Cut, it has nobody to tell: the task is ours alone.
            with suppress(asyncio.CancelledError), self._ending.watching():
                await session.run()
        finally:
            self._sessions.pop(task, None)
            writer.close()

    async def _refuse(self, writer: asyncio.StreamWriter) -> None:
        most = self._options.max_connections
        why = f"there are {most} connections already; ask again when one has ended"
        with suppress(ConnectionError):
            await async_write_event(Error(why, "too_many_connections").event(), writer)

    async def _find_principal(self) -> Principal:
        """On whom speech is counted. Raises UnauthorizedError, ForbiddenError."""
        accounts = self._services.accounts
        principal = await accounts.act_for(self._options.key)
        accounts.require(principal, "speech")
        return principal

    async def _announce(self) -> None:
        """Be found by Home Assistant, until cancelled."""
        from zeroconf import IPVersion
        from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

        host, port = self._socket.getsockname()[:2]
        name = f"fishs2 on {socket.gethostname()}"
        try:
            found = AsyncZeroconf(ip_version=IPVersion.V4Only)
            address = _outward_address() if host in _EVERYWHERE else host
            info = AsyncServiceInfo(
                _SERVICE,
                f"{name}.{_SERVICE}",
                port=port,
                parsed_addresses=[address],
            )
            await found.async_register_service(info, allow_name_change=True)
        except OSError as error:
            logger.warning("Wyoming cannot be announced by mDNS on this network: %s", error)
            return
        try:
            await asyncio.Event().wait()
        finally:
            await found.async_unregister_all_services()
            await found.async_close()


def _outward_address() -> str:
    """The address that this machine has on the network where mDNS is heard."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # Nothing is sent: it only asks for the way there.
        probe.connect((_MDNS_GROUP, 1))
        return str(probe.getsockname()[0])
