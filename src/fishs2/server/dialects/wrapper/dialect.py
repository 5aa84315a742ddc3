"""The original wrapper's voices as the edge sees them. Their errors are those of the house."""

from fishs2.server.dialects.wrapper.check import CHECK_PATH, check_router
from fishs2.server.dialects.wrapper.examples import EXAMPLES
from fishs2.server.dialects.wrapper.voices import LIST_PATHS, UPLOAD_PATHS, voices_router
from fishs2.server.edge.dialect import Dialect

WRAPPER = Dialect(
    "wrapper",
    LIST_PATHS,
    (voices_router, check_router),
    uploads=frozenset({*UPLOAD_PATHS, CHECK_PATH}),
    examples=EXAMPLES,
)
