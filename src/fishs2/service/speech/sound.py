"""A complete file of audio, in memory or on the disk, for whoever sends or keeps it."""

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import Executor

from fishs2.store.spool import Spool


class Sound:
    """The file in a spool, which whoever made it closes. For one event loop."""

    def __init__(self, spool: Spool, threads: Executor) -> None:
        self._threads = threads
        self.spool = spool
        """The file, for those who have a thread to read it in."""

    @property
    def num_bytes(self) -> int:
        """Its length."""
        return self.spool.num_bytes

    async def pieces(self, max_bytes: int) -> AsyncGenerator[bytes]:
        """Yield all of it. Raises StoreUnavailableError."""
        self.spool.seek(0)
        loop = asyncio.get_running_loop()
        num_left = self.num_bytes
        while num_left:
            if self.spool.is_light:
                piece = self.spool.read(max_bytes)
            else:
                piece = await loop.run_in_executor(self._threads, self.spool.read, max_bytes)
            num_left -= len(piece)
            yield piece

    async def content(self) -> bytes:
        """All of it, in memory."""
        return b"".join([piece async for piece in self.pieces(self.num_bytes)])
