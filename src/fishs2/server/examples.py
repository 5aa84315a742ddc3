"""What the API page shows for each operation: values that work as they are.

Each dialect brings its own. Voices that ship and names of the model make requests; `OWN_VOICE`
stands for one that was uploaded.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI

TEXT = "Hello from your own machine."
VOICE = "sample_male"
OWN_VOICE = "my-voice"
SPOKEN = "The window was open, granted, but the room is on the second floor."


@dataclass(frozen=True, slots=True)
class Example:
    """Of one operation. given: values of its parameters by name; answer: where nothing is sent."""

    given: dict[str, Any] = field(default_factory=dict)
    body: dict[str, Any] | None = None
    answer: Any = None


Examples = Mapping[tuple[str, str], Example]
"""By method in lower case and path, as the page has them."""


def show_examples(app: FastAPI, examples: Examples) -> None:
    """Put the examples on the page that describes `app`."""
    build = app.openapi

    def build_with_examples() -> dict[str, Any]:
        is_new = app.openapi_schema is None
        page = build()
        if is_new:
            for (method, path), example in examples.items():
                _show(page["paths"][path][method], example)
        return page

    app.openapi = build_with_examples  # type: ignore[method-assign]


def _show(operation: dict[str, Any], example: Example) -> None:
    for parameter in operation.get("parameters", ()):
        if parameter["name"] in example.given:
            parameter["example"] = example.given[parameter["name"]]
    content = operation.get("requestBody", {}).get("content", {})
    if example.body is not None:
        # MessagePack has no text form that a page could show and send.
        operation["requestBody"]["content"] = {
            kind: described if "msgpack" in kind else {**described, "example": example.body}
            for kind, described in content.items()
        }
    if example.answer is not None:
        answer = operation["responses"]["200"]["content"]
        for described in answer.values():
            described["example"] = example.answer
