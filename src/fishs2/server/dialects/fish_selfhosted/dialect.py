"""fish-speech's own server as the edge sees it. Its errors are those of the cloud."""

from fishs2.server.dialects.fish_cloud.errors import FishErrorBody, error_answer
from fishs2.server.dialects.fish_selfhosted.api import fish_selfhosted_router
from fishs2.server.dialects.fish_selfhosted.examples import EXAMPLES
from fishs2.server.edge.dialect import Dialect

FISH_SELFHOSTED = Dialect(
    "fish_selfhosted",
    ("/v1/references", "/v1/vqgan", "/v1/health"),
    (fish_selfhosted_router,),
    error_answer=error_answer,
    error_body=FishErrorBody,
    uploads=frozenset({"/v1/references/add", "/v1/vqgan/encode"}),
    examples=EXAMPLES,
)
