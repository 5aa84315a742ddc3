"""From the fields of XTTS and AllTalk to a `SpeechRequest`; speech as an answer."""

import re
from dataclasses import dataclass, replace

from fastapi import Request
from starlette.responses import Response

from fishs2.audio.effects import Effects
from fishs2.errors import UserError
from fishs2.server.dialects.xtts.manner import Manners
from fishs2.server.edge.streaming import Delivery, SpeechOrder, SpeechResponse
from fishs2.server.options import ServerOptions
from fishs2.service.services import Services
from fishs2.service.speech.request import SpeechRequest
from fishs2.service.voices.choice import DEFAULT_VOICE, SpeakerVoice

_PATH = re.compile(r"[/\\]")
_SUFFIX = ".wav"

PREVIEW_TEXT = "Hello! This is how I sound when I read to you."
"""What a voice says that is to be heard before it is chosen."""


@dataclass(frozen=True, slots=True)
class Speakers:
    """What speaks for these routes. One event loop."""

    services: Services
    options: ServerOptions
    manners: Manners

    async def request(
        self,
        request: Request,
        text: str,
        *,
        voice: str,
        language: str | None,
        narrator: str | None = None,
        param: str = "speaker_wav",
    ) -> SpeechRequest:
        """What a client asks for. narrator: the voice of a second speaker of `text`.

        Raises UserError `invalid_voice`, `unsupported_language`.
        """
        manner = self.manners.of(request)
        names = [await self._voice(name, param) for name in (voice, narrator) if name is not None]
        asked = SpeechRequest(
            dialect="xtts",
            request_id=request.state.request_id,
            text=text,
            format="wav",
            language=self._language(language),
            effects=Effects(speed=manner.speed or 1.0),
            sampling=manner.sampling,
            unheeded=manner.unheeded,
        )
        if len(names) == 1:
            return replace(asked, voice=names[0])
        return replace(asked, speakers=tuple(SpeakerVoice(name) for name in names))

    async def voices(self) -> list[tuple[str, str]]:
        """Ids and names of all voices, stored ones first. Waits for the engine."""
        await self.services.wait_for_engine()
        stored = [(voice.voice_id, voice.name) for voice in await self.services.voices.list()]
        capabilities = self.services.status().capabilities
        own = capabilities.voices if capabilities else ()
        taken = {voice_id.casefold() for voice_id, _ in stored}
        return stored + [
            (name, name)
            for name in dict.fromkeys((DEFAULT_VOICE, *own))
            if name.casefold() not in taken
        ]

    async def answer(
        self, request: Request, asked: SpeechRequest, delivery: Delivery, content_type: str
    ) -> Response:
        """The speech. Raises Fishs2Error."""
        desk = self.services.desk
        script = await desk.write(asked)
        order = SpeechOrder(desk, request.state.principal, script, content_type)
        stall_s = self.options.client_stall_s
        return SpeechResponse(order, delivery=delivery, client_stall_s=stall_s)

    async def _voice(self, name: str, param: str) -> str:
        """A voice by its name, which these clients may write as that of a file."""
        if _PATH.search(name):
            raise UserError(
                f"{param} is the name of a voice of this server, and no path; GET /speakers_list "
                "lists them",
                code="invalid_voice",
                param=param,
            )
        is_file = name.lower().endswith(_SUFFIX)
        if not is_file or await self.services.voices.find(name) is not None:
            return name
        return name[: -len(_SUFFIX)]

    def _language(self, language: str | None) -> str | None:
        """A language that the engine speaks. Raises UserError `unsupported_language`."""
        capabilities = self.services.status().capabilities
        if language is None or capabilities is None or not capabilities.languages:
            return language
        if _root(language) not in {_root(tag) for tag in capabilities.languages}:
            raise UserError(
                "the engine does not speak this language; GET /languages lists those that it does",
                code="unsupported_language",
                param="language",
            )
        return language


def _root(tag: str) -> str:
    return tag.replace("_", "-").partition("-")[0].casefold()
