"""The events that tell of one response. Source: OpenAI API reference, realtime server events."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Literal

Ended = Literal["completed", "cancelled", "failed"]


class Answer:
    """One response, which has one item with one part: what is spoken, and its text."""

    def __init__(
        self,
        text: str,
        *,
        voice: str,
        metadata: Mapping[str, str] | None,
        ignored: Sequence[str] = (),
    ) -> None:
        """ignored: fields that change nothing on this engine."""
        self._ignored = list(ignored)
        self._text = text
        self._voice = voice
        self._metadata = metadata
        self.id = f"resp_{uuid.uuid4().hex}"
        self._item_id = f"item_{uuid.uuid4().hex}"

    def begin(self) -> list[dict[str, Any]]:
        """What comes before the audio."""
        return [
            {"type": "response.created", "response": self._shown("in_progress", [])},
            self._event("response.output_item.added", item=self._item("in_progress", [])),
            {
                "type": "conversation.item.added",
                "previous_item_id": None,
                "item": self._item("in_progress", []),
            },
            self._of_part("response.content_part.added", part={"type": "audio", "transcript": ""}),
            self._of_part("response.output_audio_transcript.delta", delta=self._text),
        ]

    def audio(self, delta: str) -> dict[str, Any]:
        """A piece of audio, in base64."""
        return self._of_part("response.output_audio.delta", delta=delta)

    def end(self, status: Ended, *, code: str | None = None) -> list[dict[str, Any]]:
        """What comes after it. code: of the error, where it failed."""
        part = {"type": "audio", "transcript": self._text}
        item = self._item(
            "completed" if status == "completed" else "incomplete",
            [{"type": "output_audio", "transcript": self._text}],
        )
        return [
            self._of_part("response.output_audio.done"),
            self._of_part("response.output_audio_transcript.done", transcript=self._text),
            self._of_part("response.content_part.done", part=part),
            self._event("response.output_item.done", item=item),
            {"type": "conversation.item.done", "previous_item_id": None, "item": item},
            {"type": "response.done", "response": self._shown(status, [item], code)},
        ]

    def _shown(
        self, status: str, output: list[dict[str, Any]], code: str | None = None
    ) -> dict[str, Any]:
        details: dict[str, Any] | None = None
        if status == "cancelled":
            details = {"type": status, "reason": "client_cancelled"}
        elif status == "failed":
            details = {"type": status, "error": {"type": "server_error", "code": code}}
        return {
            "id": self.id,
            "object": "realtime.response",
            "status": status,
            "status_details": details,
            "output": output,
            "output_modalities": ["audio"],
            "audio": {"output": {"voice": self._voice}},
            "metadata": self._metadata,
            # A WebSocket has no header for it.
            "x_fishs2_ignored": self._ignored,
        }

    def _item(self, status: str, content: list[dict[str, str]]) -> dict[str, Any]:
        return {
            "id": self._item_id,
            "object": "realtime.item",
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": content,
        }

    def _event(self, kind: str, **more: Any) -> dict[str, Any]:
        return {"type": kind, "response_id": self.id, "output_index": 0, **more}

    def _of_part(self, kind: str, **more: Any) -> dict[str, Any]:
        return self._event(kind, item_id=self._item_id, content_index=0, **more)
