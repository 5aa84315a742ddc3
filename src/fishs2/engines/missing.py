"""An engine that cannot work here, so that the server can say why instead of not starting."""

from collections.abc import AsyncGenerator

from fishs2.engines.base import AudioChunk, Capabilities, Utterance
from fishs2.errors import EngineUnavailableError


class MissingEngine:
    """Its start fails with `reason`, which names no path: everybody may read it.

    A SpeechEngine otherwise, which nothing ever reaches.
    """

    def __init__(self, name: str, reason: str) -> None:
        self._name = name
        self._reason = reason

    @property
    def capabilities(self) -> Capabilities:
        raise EngineUnavailableError(self._reason)

    async def start(self) -> None:
        raise EngineUnavailableError(
            f"the {self._name} engine cannot work: {self._reason}", reason=self._reason
        )

    def find_voice(self, voice: str | None, language: str | None) -> str:
        raise EngineUnavailableError(self._reason)

    def speak(self, utterance: Utterance) -> AsyncGenerator[AudioChunk]:
        raise EngineUnavailableError(self._reason)

    def end_speech(self, speech: str) -> None:
        """It carries nothing over."""

    def stats(self) -> None:
        """It counts nothing."""

    async def close(self) -> None:
        pass
