from fastapi.routing import APIRoute

from tests.fakes import FakeEngine
from tests.serving import make_app, make_services, make_settings


def test_errors_are_on_the_page_and_cost_no_start_anything() -> None:
    app = make_app(make_services(FakeEngine(), make_settings()), make_settings())

    schemas = app.openapi()["components"]["schemas"]

    assert {"ErrorBody", "FishErrorBody", "OpenErrorBody", "ErrorDetail"} <= schemas.keys()
    routers = [each.original_router for each in app.routes if hasattr(each, "original_router")]
    routes = [each for router in routers for each in router.routes if isinstance(each, APIRoute)]
    assert len(routes) > 50
    # FastAPI compiles a model for every status of every route: half of the time to make the app.
    assert not [each.path for each in routes for a in each.responses.values() if "model" in a]
