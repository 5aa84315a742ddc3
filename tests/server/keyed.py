"""Servers that have keys when they start."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fishs2.engines.base import SpeechEngine
from fishs2.runtime import open_database
from fishs2.store.accounts.keys import Key, NewKey, create_key
from tests.serving import Served, make_settings, serving


@asynccontextmanager
async def serving_keys(
    *new_keys: NewKey, engine: SpeechEngine | None = None, **settings: Any
) -> AsyncIterator[tuple[Served, list[tuple[Key, str]]]]:
    """A server with these keys; yields them too, with the token of each."""
    with tempfile.TemporaryDirectory(prefix="fishs2-") as folder:
        settings = {"data_dir": Path(folder) / "data", **settings}
        database = open_database(make_settings(**settings))
        database.migrate()
        keys = [create_key(database, new) for new in new_keys]
        database.close()
        async with serving(engine, **settings) as served:
            await served.services.wait_for_stores()
            yield served, keys
