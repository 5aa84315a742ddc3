"""Transcripts of voices that were stored without one: heard, where something can listen."""

import asyncio
import logging

from fishs2.audio.decode import DecodedAudio
from fishs2.errors import BusyError, ListeningError
from fishs2.listening.base import Wish
from fishs2.listening.languages import find_language
from fishs2.listening.whisper import INSTALL
from fishs2.service.listening import Listening
from fishs2.service.voices.rules import MAX_TRANSCRIPT_CHARS
from fishs2.store.voices.files import Voice

_PATIENCE_S = 120.0
"""Longer recordings may be heard before this one, and whoever uploads a voice waits."""

logger = logging.getLogger(__name__)


class Hearing:
    """Hears what is said in the recordings of voices. For one event loop."""

    def __init__(self, listening: Listening) -> None:
        self._listening = listening

    @property
    def can_listen(self) -> bool:
        """Whether there is something to listen with."""
        return self._listening.is_available

    async def transcript_of(self, recording: DecodedAudio, language: str | None) -> str | None:
        """What is said in a recording; None where nothing can listen, or nothing was understood.

        language: what the voice is noted to speak, in anybody's words. Never raises what a listener
        raises: a voice may be stored without a transcript.
        """
        if not self.can_listen:
            return None
        wish = Wish(find_language(language) if language else None)
        try:
            async with asyncio.timeout(_PATIENCE_S):
                heard = await self._listening.hear(recording.pcm, recording.sample_rate_hz, wish)
        except (ListeningError, BusyError) as error:
            logger.warning("a voice was not heard: %s", error.message)
            return None
        except TimeoutError:
            logger.warning("a voice was not heard: others were, for %d s", _PATIENCE_S)
            return None
        return heard.text[:MAX_TRANSCRIPT_CHARS].strip() or None


def describe_missing(voice: Voice, *, needs_transcript: bool) -> str | None:
    """What whoever stored a voice must know: that it cannot be cloned, and how it could.

    needs_transcript: whether the engine cannot do without. None where all is well.
    """
    if voice.transcript or not needs_transcript:
        return None
    return (
        "this voice cannot be cloned until it has a transcript of its first recording: send it as "
        f"texts with PATCH /model/{voice.voice_id}, or upload the voice again with prompt_text; "
        f"servers with {INSTALL} hear it by themselves"
    )
