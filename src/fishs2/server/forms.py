"""How forms with files are read. Parts of over a megabyte wait in the system's temporary folder."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request
from starlette.datastructures import FormData

from fishs2.store.failures import store_errors


@asynccontextmanager
async def open_form(
    request: Request, *, max_files: int, max_fields: int
) -> AsyncIterator[FormData]:
    """The fields of a form; its files are gone when the block ends.

    Raises HTTPException 400 for what is none, StoreUnavailableError where files find no room.
    """
    with store_errors("files of the form"):
        form = await request.form(max_files=max_files, max_fields=max_fields)
    try:
        yield form
    finally:
        await form.close()
