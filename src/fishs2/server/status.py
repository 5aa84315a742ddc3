"""`/health`, and the pages that describe the API."""

from importlib.resources import files
from typing import Any, Literal

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles

from fishs2 import __version__
from fishs2.errors import Fishs2Error, reason_of
from fishs2.server.dialects.openai.request import model_names
from fishs2.server.edge.auth import PUBLIC, SPEECH, Doors, GuardedRouter
from fishs2.server.edge.errors import LOG_SAYS_WHY
from fishs2.server.edge.proxies import path_prefix
from fishs2.server.examples import Example
from fishs2.server.options import ServerOptions
from fishs2.service.services import Services

_DOCS_FILES = "/docs/files"
_ICON = "/favicon.ico"
_ICON_HEADERS = {"Cache-Control": "public, max-age=604800"}
_METRICS_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"description": "The text format of Prometheus.", "content": {"text/plain": {}}}
}


EXAMPLES = {
    ("get", "/health"): Example(answer={"status": "ok", "ready": True, "engine": "builtin"}),
    ("get", "/metrics"): Example(answer="fishs2_requests_total 3.0"),
}


class Queue(BaseModel):
    """How busy the server is."""

    streams: int
    waiting: int


class Health(BaseModel):
    """The body of GET /health. `status` is "ok" as long as the port is open."""

    status: Literal["ok"] = "ok"
    version: str = __version__
    ready: bool
    engine: str | None
    engine_error: str | None
    model_loaded: bool
    model_count: int
    voice_count: int
    store: str = Field(description='"ok", or why nothing can be kept.')
    backend: str | None
    device: str | None
    gpu_device: int | None = None
    queue: Queue
    rtf: float | None


def _why(failure: Fishs2Error | None) -> str:
    reason = reason_of(failure) if failure is not None else ""
    return f"the engine cannot work at present; {reason or LOG_SAYS_WHY}"


def status_router(services: Services, options: ServerOptions) -> GuardedRouter:
    """Build `/health`, which answers at once whatever the engine is doing."""
    router = GuardedRouter(tags=["Status"])

    @router.get("/health", openapi_extra=PUBLIC)
    async def get_health() -> Health:
        """Say whether the server and its engine are well."""
        status = services.status()
        capabilities = status.capabilities
        is_on_card = capabilities is not None and capabilities.backend in ("cuda", "vulkan")
        return Health(
            ready=status.state == "ready",
            engine=capabilities.name if capabilities else None,
            engine_error=_why(services.failure) if status.state == "failed" else None,
            model_loaded=status.is_loaded,
            model_count=len(model_names(options)),
            voice_count=await services.count_voices(),
            store=await services.store.state(),
            backend=capabilities.backend if capabilities else None,
            device=capabilities.device if capabilities else None,
            gpu_device=options.gpu_device if is_on_card else None,
            queue=Queue(streams=status.num_streams, waiting=status.num_queued),
            rtf=services.metrics.rtf,
        )

    @router.get(
        "/metrics", response_class=Response, responses=_METRICS_ANSWER, openapi_extra=SPEECH
    )
    async def get_metrics() -> Response:
        """Numbers for Prometheus."""
        return Response(services.metrics.render(), media_type=CONTENT_TYPE_LATEST)

    return router


def install_docs_files(app: FastAPI, doors: Doors) -> None:
    """Serve what the API pages are made of from files in a wheel: no network is needed."""
    doors.open(f"{_DOCS_FILES}/{{path}}")
    app.mount(_DOCS_FILES, StaticFiles(directory=str(files("fastapi_offline") / "static")))


def docs_router(app: FastAPI) -> GuardedRouter:
    """Build the API pages, at `/` and `/docs`."""
    router = GuardedRouter(include_in_schema=False)

    async def describe(request: Request) -> JSONResponse:
        prefix = path_prefix(request)
        servers = {"servers": [{"url": prefix}]} if prefix else {}
        return JSONResponse({**app.openapi(), **servers})

    async def show_docs(request: Request) -> HTMLResponse:
        prefix = path_prefix(request) or _way_to_root(request)
        return get_swagger_ui_html(
            openapi_url=f"{prefix}/openapi.json",
            title="fishs2",
            swagger_js_url=f"{prefix}{_DOCS_FILES}/swagger-ui-bundle.js",
            swagger_css_url=f"{prefix}{_DOCS_FILES}/swagger-ui.css",
            swagger_favicon_url=f"{prefix}{_ICON}",
        )

    icon = (files("fishs2.server") / "favicon.png").read_bytes()

    async def get_icon() -> Response:
        return Response(icon, media_type="image/png", headers=_ICON_HEADERS)

    router.add_api_route(_ICON, get_icon, openapi_extra=PUBLIC)
    router.add_api_route("/openapi.json", describe, openapi_extra=PUBLIC)
    router.add_api_route("/", show_docs, openapi_extra=PUBLIC)
    router.add_api_route("/docs", show_docs, openapi_extra=PUBLIC)
    return router


def _way_to_root(request: Request) -> str:
    """Relative, for proxies that add a path and do not say which."""
    is_below = request.state.has_slash and request.scope["path"] != "/"
    return ".." if is_below else "."
