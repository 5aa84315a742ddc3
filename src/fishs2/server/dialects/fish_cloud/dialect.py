"""Fish Audio's cloud as the edge sees it: speech, all else, and its OpenAI-compatible routes."""

from fishs2.server.dialects.fish_cloud.account import ABSENT, fish_account_router
from fishs2.server.dialects.fish_cloud.asr import fish_asr_router
from fishs2.server.dialects.fish_cloud.compat import (
    ROOT,
    TRANSCRIPTION_PATHS,
    fish_compat_router,
)
from fishs2.server.dialects.fish_cloud.errors import (
    FishErrorBody,
    compat_error_answer,
    error_answer,
    speech_error_answer,
)
from fishs2.server.dialects.fish_cloud.examples import EXAMPLES, SPEECH_EXAMPLES
from fishs2.server.dialects.fish_cloud.frames import error_frame
from fishs2.server.dialects.fish_cloud.live import fish_live_router
from fishs2.server.dialects.fish_cloud.models import fish_models_router
from fishs2.server.dialects.fish_cloud.speech import fish_cloud_router
from fishs2.server.edge.dialect import Dialect

FISH_SPEECH = Dialect(
    "fish_speech",
    ("/v1/tts",),
    (fish_cloud_router, fish_live_router),
    error_answer=speech_error_answer,
    error_body=FishErrorBody,
    socket_error=error_frame,
    examples=SPEECH_EXAMPLES,
)
FISH_CLOUD = Dialect(
    "fish_cloud",
    ("/model", "/wallet", "/v1/asr", *ABSENT),
    (fish_models_router, fish_account_router, fish_asr_router),
    error_answer=error_answer,
    error_body=FishErrorBody,
    uploads=frozenset({"/model"}),
    examples=EXAMPLES,
)
FISH_COMPAT = Dialect(
    "fish_compat",
    (ROOT,),
    (fish_compat_router,),
    error_answer=compat_error_answer,
    uploads=frozenset(TRANSCRIPTION_PATHS),
)
