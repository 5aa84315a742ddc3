"""Fish Audio's `/wallet`: what a key has left; and what its cloud has that this server lacks.

Source: Fish Audio API reference, Wallet. Credit is counted in characters.
"""

import time
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from fishs2.server.dialects.fish_cloud.errors import FISH_ERRORS, error_answer
from fishs2.server.edge.auth import ANY_KEY, SPEECH, GuardedRouter
from fishs2.server.edge.errors import Problem
from fishs2.server.edge.fields import UNLIMITED, JsonBody, iso_time
from fishs2.server.options import ServerOptions
from fishs2.service.accounts.accounts import Principal
from fishs2.service.services import Services

ABSENT = {
    "/v1/voice-design": "this server does not design voices: store one with POST /model",
    "/v1/agent": "this server has no agents",
    "/v1/agents": "this server has no agents",
}
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


class _Wallet(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    id: str = Field(alias="_id")
    user_id: str
    created_at: str
    updated_at: str


class Credit(_Wallet):
    """The body of GET /wallet/self/api-credit; credit: characters, a decimal number as text."""

    credit: str
    cumulative_top_up: str
    has_phone_sha256: bool = False
    has_free_credit: bool = False


class CreditQuery(JsonBody):
    """What GET /wallet/self/api-credit asks for."""

    check_free_credit: bool = Field(False, description="No effect: no credit here is free.")


class Package(_Wallet):
    """The body of GET /wallet/self/package; total and balance: characters.

    finished_at: when the key expires, "" if it does not; clients want a text.
    """

    type: str
    total: int
    balance: int
    finished_at: str


async def _left(services: Services, principal: Principal) -> int:
    remaining = await services.accounts.remaining(principal)
    return UNLIMITED if remaining is None else max(0, remaining)


def fish_account_router(services: Services, _: ServerOptions) -> GuardedRouter:
    """Build the routes."""
    router = GuardedRouter(tags=["Fish Audio"])
    errors: dict[int | str, dict[str, Any]] = {status: FISH_ERRORS[status] for status in (400, 401)}

    @router.get("/wallet/self/api-credit", responses=errors, openapi_extra=ANY_KEY)
    async def get_credit(request: Request, query: Annotated[CreditQuery, Query()]) -> Credit:
        """Say how many characters the key has left."""
        principal = request.state.principal
        balance, granted = await _left(services, principal), _granted(principal)
        user, created, updated = _owner(principal)
        return Credit(
            id=f"{user}-credit",
            user_id=user,
            credit=str(balance),
            cumulative_top_up=str(granted),
            created_at=created,
            updated_at=updated,
        )

    @router.get("/wallet/self/package", responses=errors, openapi_extra=ANY_KEY)
    async def get_package(request: Request) -> Package:
        """Say the same as a package of characters."""
        principal = request.state.principal
        user, created, updated = _owner(principal)
        key = principal.key
        return Package(
            id=f"{user}-package",
            user_id=user,
            type="unlimited" if key is None or key.granted is None else "quota",
            total=_granted(principal),
            balance=await _left(services, principal),
            created_at=created,
            updated_at=updated,
            finished_at=iso_time(key.expires_s) if key and key.expires_s is not None else "",
        )

    _add_refusals(router)
    return router


def _add_refusals(router: GuardedRouter) -> None:
    async def refuse(request: Request) -> Response:
        """Say that this server has no such thing."""
        path = request.scope["path"]
        reason = next(text for root, text in ABSENT.items() if path.startswith(root))
        return error_answer(Problem(HTTPStatus.NOT_IMPLEMENTED, reason, "not_supported"))

    for root in ABSENT:
        for path in (root, f"{root}/{{rest:path}}"):
            router.add_api_route(
                path, refuse, methods=_METHODS, include_in_schema=False, openapi_extra=SPEECH
            )


def _granted(principal: Principal) -> int:
    key = principal.key
    return UNLIMITED if key is None or key.granted is None else key.granted


def _owner(principal: Principal) -> tuple[str, str, str]:
    """Whose wallet it is, when it was made and last used."""
    key = principal.key
    if key is None:
        present = iso_time(int(time.time()))
        return "anonymous", present, present
    last_used_s = key.created_s if key.last_used_s is None else key.last_used_s
    return key.id, iso_time(key.created_s), iso_time(last_used_s)
