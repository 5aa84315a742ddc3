"""How forms with files are read. Parts of over a megabyte wait in the system's temporary folder."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request
from starlette.datastructures import FormData, UploadFile

from fishs2.server.edge.fields import whole_characters
from fishs2.store.failures import store_errors

# The bytes of a surrogate, U+D800 to U+DFFF, in UTF-8.
_HALF_IN_LATIN_1 = re.compile("\xed[\xa0-\xbf][\x80-\xbf]")


@asynccontextmanager
async def open_form(
    request: Request, *, max_files: int, max_fields: int
) -> AsyncIterator[FormData]:
    """The fields of a form; its files are gone when the block ends. Half characters are U+FFFD.

    Raises HTTPException 400 for what is none, StoreUnavailableError where files find no room.
    """
    with store_errors("files of the form"):
        form = await request.form(max_files=max_files, max_fields=max_fields)
    try:
        yield FormData([(name, _mend(value)) for name, value in form.multi_items()])
    finally:
        await form.close()


def _mend(value: UploadFile | str) -> UploadFile | str:
    """A field as JSON would have it: Starlette takes UTF-8 with half a character for Latin-1."""
    if isinstance(value, UploadFile) or not _HALF_IN_LATIN_1.search(value):
        return value
    try:
        return whole_characters(value.encode("latin-1").decode("utf-8", "surrogatepass"))
    except UnicodeError:
        return value
