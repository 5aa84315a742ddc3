"""What the values of settings are: their types, and what is said of a wrong one."""

import json
import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le
from pydantic import AfterValidator, BeforeValidator, Field
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from fishs2.advice import did_you_mean
from fishs2.env_file import expand_path, without_comment
from fishs2.settings_sources import ENV_PREFIX, is_service_address

_PORT_INSIDE = re.compile(r"[^:]+:\d+|\[.*\]:\d+")


def split_list(value: object) -> object:
    """Read a list written as JSON, or with commas or semicolons; other values pass unchanged."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return [item.strip() for item in re.split(r"[,;]", value) if item.strip()]


def _in_lower_case(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _read_host(value: str) -> str:
    """An address to listen on, without the brackets that addresses of IPv6 have in a URL."""
    if "/" in value:
        raise ValueError("it is the address of a machine, such as 127.0.0.1, and no URL")
    if _PORT_INSIDE.fullmatch(value):
        raise ValueError(f"the port belongs into --port or {ENV_PREFIX}PORT")
    is_bracketed = value.startswith("[") and value.endswith("]")
    return value[1:-1] if is_bracketed else value


def _read_port(value: object) -> object:
    if is_service_address(value):
        raise ValueError(
            "Kubernetes sets this for a service called fishs2; give the pod a value of its own "
            f'(env: {ENV_PREFIX}PORT, "8020") or set enableServiceLinks: false'
        )
    return value


def _read_network(text: str) -> str:
    """An address or network of proxies, or `*`."""
    if text == "*":
        return text
    try:
        return str(ip_network(text, strict=False))
    except ValueError:
        raise ValueError(
            f"{text!r} is neither an address, such as 10.0.0.7, nor a network, such as "
            "10.0.0.0/8, nor * for all"
        ) from None


def _read_host_name(text: str) -> str:
    """A name that browsers may call the server by."""
    if "/" in text or re.search(r":\d+$", text):
        raise ValueError(
            f"{text!r} cannot be a name: leave out https:// and the port, as in tts.example.com"
        )
    return text


def _without_slash(value: str) -> str:
    return value.rstrip("/")


def _expand_paths(value: object) -> object:
    value = split_list(value)
    return [expand_path(each) for each in value] if isinstance(value, list) else value


Lower = BeforeValidator(_in_lower_case)
LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR"],
    BeforeValidator(lambda value: value.strip().upper() if isinstance(value, str) else value),
]
EngineName = Annotated[Literal["auto", "builtin", "s2", "s2cpp"], Lower]
Backend = Annotated[Literal["auto", "cuda", "vulkan", "metal", "cpu"], Lower]
Kernels = Annotated[Literal["auto", "triton", "torch"], Lower]
ModelQuant = Annotated[Literal["f16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q3_k", "q2_k"], Lower]
Format = Annotated[Literal["wav", "mp3", "opus", "aac", "flac", "pcm"], Lower]
Emoji = Annotated[Literal["read", "skip"], Lower]
TextCleaning = Annotated[Literal["off", "minimal", "markdown", "full"], Lower]
Instructions = Annotated[Literal["style", "ignore"], Lower]

Host = Annotated[str, Field(min_length=1), AfterValidator(_read_host)]
Port = Annotated[int, BeforeValidator(_read_port), Ge(0), Le(65_535)]
HomePath = Annotated[Path, BeforeValidator(expand_path)]
PathList = Annotated[tuple[Path, ...], BeforeValidator(_expand_paths)]
TextList = Annotated[tuple[str, ...], BeforeValidator(split_list)]
Origins = Annotated[
    tuple[Annotated[str, AfterValidator(_without_slash)], ...], BeforeValidator(split_list)
]
HostNames = Annotated[
    tuple[Annotated[str, AfterValidator(_read_host_name)], ...], BeforeValidator(split_list)
]
Networks = Annotated[
    tuple[Annotated[str, AfterValidator(_read_network)], ...], BeforeValidator(split_list)
]
HttpUrl = Annotated[str, Field(pattern=r"^https?://[^\s/][^\s]*$")]
BaseUrl = Annotated[HttpUrl, AfterValidator(_without_slash)]
Sha256 = Annotated[str, Lower, Field(pattern=r"^[0-9a-f]{64}$")]

_PATTERNS = {
    r"^https?://[^\s/][^\s]*$": "an address that begins with http:// or https://",
    r"^[0-9a-f]{64}$": "64 hexadecimal digits",
    r"^[\w.-]+/[\w.-]+$": "OWNER/NAME",
    r"^[A-Za-z0-9-]+$": "letters, digits and hyphens",
    r"^(sqlite|postgresql)(\+\w+)?://": "sqlite:///... or postgresql://...",
    r"^rediss?://": "redis://... or rediss://...",
}
"""What the patterns of fields mean, for people."""


def read_text(value: str, field: FieldInfo) -> str:
    """A value as its field takes it: a text may have a # in it, a number may not."""
    is_text = _holds(field.annotation, str) or _holds(field.annotation, Path)
    return value if is_text else without_comment(value)


def _holds(annotation: object, kind: type) -> bool:
    """Whether a value of this annotation can be of this type, or hold values of it."""
    inner = getattr(annotation, "__args__", ())
    return annotation is kind or any(_holds(each, kind) for each in inner)


def allowed_values(field: FieldInfo) -> str:
    """Describe what a setting accepts: its range or its choices, for people; "" for any text."""
    limits = {type(item): item for item in field.metadata}
    bounds = []
    if isinstance(low := limits.get(Ge), Ge):
        bounds.append(f"{low.ge}")
    if isinstance(above := limits.get(Gt), Gt):
        bounds.append(f"above {above.gt}")
    if isinstance(high := limits.get(Le), Le):
        bounds.append(f"to {high.le}" if low else f"at most {high.le}")
    elif bounds:
        bounds.append("or more")
    if bounds:
        return (" " if low else ", ").join(bounds)
    if field.annotation is bool:
        return "true, false"
    return ", ".join(_choices(field.annotation))


def _choices(annotation: object) -> list[str]:
    """The strings of a Literal, wherever it stands in the annotation."""
    found: list[str] = []
    for inner in getattr(annotation, "__args__", ()):
        found.extend([inner] if isinstance(inner, str) else _choices(inner))
    return found


def describe_error(error: ErrorDetails, field: FieldInfo, name: str) -> str:
    """One line for one bad value: name, value, what is wrong, what is allowed."""
    allowed = allowed_values(field)
    is_told = not allowed or error["type"] == "value_error"
    remedy = _reason(error) if is_told else f"{_kind_of(error)}allowed: {allowed}"
    # An address may hold a password.
    value = "..." if name.lower().endswith("url") else error["input"]
    meant = did_you_mean(str(error["input"]), _choices(field.annotation))
    return f"{name}={value}: {remedy}{meant}"


def _kind_of(error: ErrorDetails) -> str:
    """What a range does not say of the values in it."""
    is_integer = error["type"] in ("int_parsing", "int_from_float")
    return "it must be a whole number; " if is_integer else ""


def _reason(error: ErrorDetails) -> str:
    context = error.get("ctx", {})
    if error["type"] == "string_pattern_mismatch":
        return f"it must be {_PATTERNS.get(context['pattern'], context['pattern'])}"
    return error["msg"].removeprefix("Value error, ")
