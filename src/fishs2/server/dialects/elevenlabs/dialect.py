"""ElevenLabs as the edge sees it; `edge.paths` leads its clients here from the root, too."""

from fishs2.server.dialects.elevenlabs.account import elevenlabs_account_router
from fishs2.server.dialects.elevenlabs.errors import (
    ElevenLabsErrorBody,
    defect_frame,
    elevenlabs_error,
)
from fishs2.server.dialects.elevenlabs.examples import EXAMPLES
from fishs2.server.dialects.elevenlabs.sockets import elevenlabs_sockets_router
from fishs2.server.dialects.elevenlabs.speech import elevenlabs_speech_router
from fishs2.server.dialects.elevenlabs.voices import elevenlabs_voices_router
from fishs2.server.edge.dialect import Dialect

ELEVENLABS = Dialect(
    "elevenlabs",
    ("/elevenlabs",),
    (
        elevenlabs_speech_router,
        elevenlabs_sockets_router,
        elevenlabs_voices_router,
        elevenlabs_account_router,
    ),
    error_answer=elevenlabs_error,
    error_body=ElevenLabsErrorBody,
    socket_error=defect_frame,
    uploads=frozenset({"/elevenlabs/v1/voices/add"}),
    has_key_in_frames=True,
    examples=EXAMPLES,
)
