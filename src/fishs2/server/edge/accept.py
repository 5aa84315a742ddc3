"""What the Accept header asks for, where an answer can be of two kinds.

Source: RFC 9110 section 12.5.1.
"""

import re

_QUALITY = re.compile(r"0(?:\.\d{0,3})?|1(?:\.0{0,3})?")


def wants_events(accept: str) -> bool:
    """Whether speech is to come as server-sent events: named, and nothing is liked more."""
    given = _qualities(accept)
    events = given.get("text/event-stream", given.get("text/*", 0.0))
    rivals = [q for name, q in given.items() if name == "*/*" or name.startswith("audio/")]
    return events > 0 and events >= max(rivals, default=0.0)


def prefers_json(accept: str) -> bool:
    """Whether JSON is named and liked more than MessagePack, under any of its names."""
    given = _qualities(accept)
    packed = [q for name, q in given.items() if name.endswith("msgpack")]
    return given.get("application/json", 0.0) > max(packed, default=0.0)


def _qualities(accept: str) -> dict[str, float]:
    """How much each range that the header names is wanted, 0 to 1."""
    return dict(_read(item) for item in accept.lower().split(","))


def _read(item: str) -> tuple[str, float]:
    """A range and its quality; a quality that cannot be read is none, and that means 1."""
    name, *parameters = (part.strip() for part in item.split(";"))
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q" and _QUALITY.fullmatch(value.strip()):
            return name, float(value)
    return name, 1.0
