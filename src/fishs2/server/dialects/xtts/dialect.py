"""XTTS servers and AllTalk as the edge sees them."""

from fishs2.server.dialects.xtts.alltalk import alltalk_router
from fishs2.server.dialects.xtts.api import REFUSED, xtts_router
from fishs2.server.dialects.xtts.errors import XttsErrorBody, xtts_error
from fishs2.server.dialects.xtts.examples import EXAMPLES
from fishs2.server.edge.dialect import Dialect

XTTS = Dialect(
    "xtts",
    (
        "/speakers",
        "/speakers_list",
        "/languages",
        "/get_models_list",
        "/get_tts_settings",
        "/set_tts_settings",
        "/tts_settings",
        "/tts_to_audio",
        "/tts_stream",
        "/sample",
        "/api/ready",
        "/api/voices",
        "/api/rvcvoices",
        "/api/currentsettings",
        "/api/tts-generate",
        "/api/tts-generate-streaming",
        "/api/previewvoice",
        *REFUSED,
    ),
    (xtts_router, alltalk_router),
    error_answer=xtts_error,
    error_body=XttsErrorBody,
    examples=EXAMPLES,
)
