"""Models, users and subscriptions as ElevenLabs' clients ask for them.

A subscription is the quota of a key.

Source: ElevenLabs API reference, models and user; elevenlabs 2.78.
"""

from fastapi import Request
from starlette.responses import JSONResponse, Response

from fishs2.engines.languages import LANGUAGE_NAMES
from fishs2.server.dialects.elevenlabs.errors import ERRORS
from fishs2.server.dialects.openai.request import model_names
from fishs2.server.edge.auth import ANY_KEY, SPEECH, GuardedRouter
from fishs2.server.edge.fields import UNLIMITED
from fishs2.server.options import ServerOptions
from fishs2.service.accounts.accounts import Principal
from fishs2.service.services import Services

_ROOT = "/elevenlabs/v1"


_OF_EVERYBODY = {
    "workspace_id": "default",
    "seat_type": "workspace_admin",
    "is_new_user": False,
    "is_onboarding_completed": True,
    "is_onboarding_checklist_completed": True,
    "can_use_delayed_payment_methods": False,
}
_OF_EVERY_KEY: dict[str, object] = {
    "currency": None,
    "can_extend_character_limit": False,
    "allowed_to_extend_character_limit": False,
    "max_credit_limit_extension": 0,
    "can_use_instant_voice_cloning": True,
    "can_use_professional_voice_cloning": False,
    "next_character_count_reset_unix": None,
    "can_extend_voice_limit": False,
    "voice_add_edit_counter": 0,
    "professional_voice_limit": 0,
    "professional_voice_slots_used": 0,
    "professional_voice_slots_used_in_workspace": 0,
    "current_overage": {"amount": "0", "currency": "usd"},
    "open_invoices": [],
    "has_open_invoices": False,
}
"""What the SDK for JavaScript refuses an answer without, though nothing here has a price."""


def elevenlabs_account_router(services: Services, options: ServerOptions) -> GuardedRouter:
    """Build the routes."""
    router = GuardedRouter(tags=["ElevenLabs"])

    async def list_models() -> Response:
        """List the model and its other names."""
        await services.wait_for_engine()
        capabilities = services.status().capabilities
        tags = capabilities.languages if capabilities else ()
        return JSONResponse(
            [_model(name, tags, options.max_input_chars) for name in model_names(options)]
        )

    async def get_subscription(request: Request) -> Response:
        """Say how many characters the key has, and has used."""
        return JSONResponse(await _subscription(services, request.state.principal))

    async def get_user(request: Request) -> Response:
        """Say whose key it is, with the same."""
        principal: Principal = request.state.principal
        key = principal.key
        return JSONResponse(
            {
                "user_id": key.id if key else "anonymous",
                "first_name": key.name if key else "anonymous",
                "created_at": key.created_s if key else 0,
                **_OF_EVERYBODY,
                "subscription": await _subscription(services, principal),
            }
        )

    for path, work, asked in (
        ("/models", list_models, SPEECH),
        ("/user", get_user, ANY_KEY),
        ("/user/subscription", get_subscription, ANY_KEY),
    ):
        router.add_api_route(
            _ROOT + path, work, methods=["GET"], responses=ERRORS, openapi_extra=asked
        )
    return router


def _model(name: str, tags: tuple[str, ...], max_chars: int) -> dict[str, object]:
    return {
        "model_id": name,
        "name": name,
        "description": "The model of this server.",
        "can_do_text_to_speech": True,
        "can_do_voice_conversion": False,
        "can_be_finetuned": False,
        "can_use_style": False,
        "can_use_speaker_boost": False,
        "serves_pro_voices": False,
        "requires_alpha_access": False,
        "token_cost_factor": 1.0,
        "max_characters_request_free_user": max_chars,
        "max_characters_request_subscribed_user": max_chars,
        "maximum_text_length_per_request": max_chars,
        "languages": [{"language_id": tag, "name": LANGUAGE_NAMES.get(tag, tag)} for tag in tags],
    }


async def _subscription(services: Services, principal: Principal) -> dict[str, object]:
    key = principal.key
    granted = UNLIMITED if key is None or key.granted is None else key.granted
    remaining = await services.accounts.remaining(principal)
    return {
        "tier": "unlimited" if remaining is None else "quota",
        "character_count": 0 if remaining is None else granted - max(0, remaining),
        "character_limit": granted,
        "status": "active",
        "voice_slots_used": len(await services.voices.list()),
        "voice_limit": UNLIMITED,
        **_OF_EVERY_KEY,
    }
