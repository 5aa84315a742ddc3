"""OpenAI's API as the edge sees it. Its errors are those of the house."""

from fishs2.server.dialects.openai.captioned import CAPTIONED_PATH, captioned_router
from fishs2.server.dialects.openai.consents import CONSENTS_PATH, consents_router
from fishs2.server.dialects.openai.examples import EXAMPLES
from fishs2.server.dialects.openai.speech import openai_router
from fishs2.server.dialects.openai.transcription import PATHS, transcription_router
from fishs2.server.edge.dialect import Dialect

OPENAI = Dialect(
    "openai",
    (
        *("/v1/audio/speech", "/v1/audio/models", "/v1/models", "/v1/text/preview"),
        *PATHS.values(),
        CONSENTS_PATH,
        CAPTIONED_PATH,
    ),
    (openai_router, transcription_router, consents_router, captioned_router),
    uploads=frozenset({*PATHS.values(), CONSENTS_PATH}),
    examples=EXAMPLES,
)
