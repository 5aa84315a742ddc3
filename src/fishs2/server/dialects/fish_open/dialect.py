"""The fishaudio.net open API as the edge sees it."""

from fishs2.server.dialects.fish_open.api import PREFIX, open_api_router
from fishs2.server.dialects.fish_open.errors import OpenErrorBody, error_answer
from fishs2.server.dialects.fish_open.examples import EXAMPLES
from fishs2.server.edge.dialect import Dialect

FISH_OPEN = Dialect(
    "fish_open",
    (PREFIX,),
    (open_api_router,),
    error_answer=error_answer,
    error_body=OpenErrorBody,
    uploads=frozenset({f"{PREFIX}create-model"}),
    # Pages that were written for fishaudio.net speak from the browser.
    for_pages=tuple(f"{PREFIX}{name}" for name in ("tts", "list-models", "profile")),
    has_key_in_body=True,
    examples=EXAMPLES,
)
