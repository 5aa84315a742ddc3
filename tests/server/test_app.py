from fastapi.routing import APIRoute

from tests.fakes import FakeEngine
from tests.serving import make_app, make_services, make_settings


def test_errors_are_on_the_page_and_cost_no_start_anything() -> None:
    app = make_app(make_services(FakeEngine(), make_settings()), make_settings())

    schemas = app.openapi()["components"]["schemas"]

    assert {"ErrorBody", "FishErrorBody", "OpenErrorBody", "ErrorDetail"} <= schemas.keys()
    # FastAPI works out the routes of an included router a second time, at the first request.
    routes = [each for each in app.routes if isinstance(each, APIRoute)]
    assert len(routes) > 50
    # FastAPI compiles a model for every status of every route: half of the time to make the app.
    assert not [each.path for each in routes for a in each.responses.values() if "model" in a]


def test_every_app_describes_itself_alike() -> None:
    made = [make_app(make_services(FakeEngine(), make_settings()), make_settings()) for _ in "ab"]

    first, second = (app.openapi() for app in made)

    assert first == second
    body = first["paths"]["/v1/tts"]["post"]["requestBody"]["content"]["application/json"]
    body["schema"]["properties"].clear()
    assert second["paths"]["/v1/tts"]["post"] != first["paths"]["/v1/tts"]["post"]
    third = make_app(make_services(FakeEngine(), make_settings()), make_settings()).openapi()
    assert third == second
