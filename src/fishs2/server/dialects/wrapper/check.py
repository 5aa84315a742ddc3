"""`/v1/voices/check`: whether a recording will do as a reference, before anything is stored."""

from fastapi import Request

from fishs2.errors import UserError
from fishs2.server.dialects.wrapper.voices import (
    ERRORS,
    MAX_FIELDS,
    UPLOAD_SCHEMA,
    CheckedRecording,
    found_items,
    read_form,
)
from fishs2.server.edge.auth import WRITE_VOICES, GuardedRouter
from fishs2.server.edge.bodies import open_form
from fishs2.server.edge.streaming import while_connected
from fishs2.server.options import ServerOptions
from fishs2.service.services import Services
from fishs2.service.voices.rules import MAX_SAMPLES

CHECK_PATH = "/v1/voices/check"


def check_router(services: Services, _: ServerOptions) -> GuardedRouter:
    """Build the route."""
    router = GuardedRouter(tags=["Voices"])

    async def check_recording(request: Request) -> CheckedRecording:
        """Say whether a recording will do as a reference; nothing is stored."""
        async with open_form(request, max_files=MAX_SAMPLES + 1, max_fields=MAX_FIELDS) as form:
            new = await read_form(form)
        first = next((sample for sample in new.samples if sample.content), None)
        if first is None:
            raise UserError(
                "no audio was uploaded: send it in a form part named files, audio_sample or file",
                code="missing_files",
                param="files",
            )
        work = services.voices.doctor.examine(
            first.content, transcript=new.transcript, language=new.language
        )
        async with services.desk.work(request.state.principal):
            found = await while_connected(request.receive, work)
        return CheckedRecording(findings=found_items(found), heard=found.heard)

    router.add_api_route(
        CHECK_PATH,
        check_recording,
        methods=["POST"],
        responses=ERRORS,
        openapi_extra={**UPLOAD_SCHEMA, **WRITE_VOICES},
    )
    return router
