"""Dialects as the edge sees them: whose a path is, and what follows from it."""

import pytest
from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.responses import Response

from fishs2.runtime import server_options
from fishs2.server.app import DIALECTS
from fishs2.server.edge.dialect import Dialect, Dialects
from fishs2.server.edge.errors import Problem
from tests.fakes import FakeEngine
from tests.serving import make_services, make_settings


def test_every_route_of_a_dialect_lies_on_its_paths() -> None:
    services = make_services(FakeEngine(), make_settings())

    for dialect in DIALECTS.all:
        for make_router in dialect.routers:
            for route in make_router(services, server_options(make_settings())).routes:
                assert isinstance(route, APIRoute | APIWebSocketRoute)
                assert DIALECTS.of(route.path) is dialect, route.path


def test_no_dialect_hides_the_paths_of_another() -> None:
    # One may lie below another's, as Realtime's do: whoever comes first has them.
    for each in DIALECTS.all:
        for prefix in each.prefixes:
            assert DIALECTS.of(prefix.removesuffix("/") + "/x") is each, prefix
            assert prefix.endswith("/") or DIALECTS.of(prefix) is each, prefix


def test_exceptions_of_a_dialect_lie_on_its_paths() -> None:
    for dialect in DIALECTS.all:
        for path in (*dialect.uploads, *dialect.for_pages):
            assert DIALECTS.of(path.removesuffix("/") + "/x") is dialect


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/audio/speech", "openai"),
        ("/v1/models/a/b", "openai"),
        ("/v1/audio/voices/x", "wrapper"),
        ("/api/open/tts", "fish_open"),
        ("/api/open", "house"),
        ("/v1/tts/live", "fish_speech"),
        ("/v1/ttsx", "house"),
        ("/model/x/cover", "fish_cloud"),
        ("/v1/health", "fish_selfhosted"),
        ("/health", "house"),
        ("/compat/nothing", "fish_compat"),
        ("/clips/a.mp3", "clips"),
        ("/", "house"),
    ],
)
def test_a_path_belongs_to_a_dialect(path: str, name: str) -> None:
    assert DIALECTS.of(path).name == name


def test_a_dialect_answers_errors_on_its_paths_and_nowhere_else() -> None:
    mine = Dialect("mine", ("/mine",), error_answer=lambda _: Response(b"mine", 400))
    dialects = Dialects([mine])
    problem = Problem(404, "nothing here", "not_found")

    assert dialects.error_answer("/mine/x", problem).body == b"mine"
    assert b"not_found" in bytes(dialects.error_answer("/minex", problem).body)
