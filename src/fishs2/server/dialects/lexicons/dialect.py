"""The lexicons as the edge sees them. Their errors are those of the house."""

from fishs2.server.dialects.lexicons.api import LEXICONS_PATH, lexicons_router
from fishs2.server.dialects.lexicons.examples import EXAMPLES
from fishs2.server.edge.dialect import Dialect

LEXICONS = Dialect("lexicons", (LEXICONS_PATH,), (lexicons_router,), examples=EXAMPLES)
