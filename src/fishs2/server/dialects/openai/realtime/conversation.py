"""The messages of one session, and which of them have been spoken."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from fishs2.errors import NotFoundError, UserError
from fishs2.server.dialects.openai.realtime.events import Item

_MAX_ITEMS = 1_000


@dataclass(slots=True)
class Message:
    """A message in its place. was_spoken: its text is not spoken again."""

    id: str
    item: Item
    was_spoken: bool

    def shown(self) -> dict[str, object]:
        """As clients see it."""
        kind = "output_text" if self.item.role == "assistant" else "input_text"
        return {
            "id": self.id,
            "object": "realtime.item",
            "type": "message",
            "status": "completed",
            "role": self.item.role,
            "content": [{"type": kind, "text": self.item.text}],
        }


class Conversation:
    """In order. max_chars: of all texts together."""

    def __init__(self, *, max_chars: int) -> None:
        self._max_chars = max_chars
        self._messages: list[Message] = []

    def add(self, item: Item, after: str | None) -> tuple[Message, str | None]:
        """Take a message, behind the one of the id `after`, "root" is before all; returns it and
        the id of the one before it.

        Raises UserError `item_not_found`, `item_exists`, `input_too_long`, `too_many_items`.
        """
        item.check()
        if item.id is not None and any(message.id == item.id for message in self._messages):
            raise UserError("an item has this id already", code="item_exists", param="item.id")
        if len(self._messages) >= _MAX_ITEMS:
            raise UserError(
                f"the conversation has {_MAX_ITEMS:,} items, which is the limit: delete some",
                code="too_many_items",
                param="item",
            )
        num_chars = sum(len(message.item.text) for message in self._messages) + len(item.text)
        if num_chars > self._max_chars:
            raise UserError(
                f"the conversation would have {num_chars:,} characters; the limit is "
                f"{self._max_chars:,}",
                code="input_too_long",
                param="item",
            )
        place = len(self._messages)
        if after is not None:
            place = 0 if after == "root" else self._place(after) + 1
        message = Message(item.id or f"item_{uuid.uuid4().hex}", item, item.role == "system")
        before = self._messages[place - 1].id if place else None
        self._messages.insert(place, message)
        return message, before

    def remove(self, item_id: str) -> None:
        """Forget a message. Raises NotFoundError `item_not_found`."""
        del self._messages[self._place(item_id)]

    def get(self, item_id: str) -> Message:
        """A message. Raises NotFoundError `item_not_found`."""
        return self._messages[self._place(item_id)]

    def unspoken(self) -> list[Message]:
        """The messages that have not been spoken yet, in order."""
        return [message for message in self._messages if not message.was_spoken]

    def _place(self, item_id: str) -> int:
        for place, message in enumerate(self._messages):
            if message.id == item_id:
                return place
        raise NotFoundError("there is no such item", code="item_not_found", param="item_id")


def join_texts(items: Sequence[Item]) -> str:
    """What items say, those of the system aside, each as a paragraph."""
    return "\n".join(item.text for item in items if item.role != "system" and item.text.strip())
