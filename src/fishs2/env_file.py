"""`.env`, and values as people write them: quotes, comments, `~`, `$HOME`, `%USERPROFILE%`."""

import os
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from pathlib import Path

from fishs2.errors import SettingsError

_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][\w.-]*)\s*=\s*(.*)")
_DOUBLE_QUOTED = re.compile(r'"(.*?)"\s*(?:#.*)?')
_SINGLE_QUOTED = re.compile(r"'(.*?)'\s*(?:#.*)?")
_COMMENT = re.compile(r"(?:^|\s+)#.*$")
_BACKSLASHES = re.compile(r"\\+")
_BRACED = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
_VARIABLE = re.compile(r"\$\{(?P<braced>\w+)\}|\$(?P<plain>[A-Za-z_]\w*)|%(?P<percent>\w+)%")
_HOMES = frozenset({"HOME", "USERPROFILE"})
"""What systems call the folder of a user; each sets one of the two."""


class Verbatim(str):
    """A value in single quotes: nothing in it stands for anything else."""

    __slots__ = ()


def read_env_file(path: Path) -> dict[str, str]:
    """Names and values of a `.env`, which need not be there; a later line wins.

    Raises SettingsError that names the file and the line.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(_read_text(path).splitlines(), 1):
        if not (text := line.strip()) or text.startswith("#"):
            continue
        parts = _LINE.fullmatch(text)
        value = None if parts is None else _read_value(parts[2], found)
        if parts is None or value is None:
            # The line itself may hold a password.
            raise SettingsError(
                f"line {number} of {path} cannot be read: write NAME=value, with both quotes or "
                "none, and # before what is no setting"
            )
        found[parts[1]] = value
    return found


def unquote(value: str) -> str:
    """A value without the quotes and spaces around it, which Docker and shells may leave there."""
    value = value.strip()
    is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    return value[1:-1].strip() if is_quoted else value


def without_comment(value: str) -> str:
    """A value without a `# comment` behind it."""
    return _COMMENT.sub("", value).strip()


def expand_path(value: object) -> object:
    """A path with `~`, `$NAME`, `${NAME}` and `%NAME%` filled in; other types pass unchanged.

    Raises ValueError for a variable that is not set and a user that does not exist.
    """
    if not isinstance(value, str) or isinstance(value, Verbatim):
        return value
    full = _VARIABLE.sub(_look_up, value)
    if full == "~" or full.startswith(("~/", "~\\")):
        return str(Path.home()) + full[1:]
    try:
        return str(Path(full).expanduser())
    except RuntimeError:
        raise ValueError(f"there is no user {full[1:].partition('/')[0]}") from None


def _look_up(found: re.Match[str]) -> str:
    name = found["braced"] or found["plain"] or found["percent"]
    if name in os.environ:
        return os.environ[name]
    if name in _HOMES:
        return str(Path.home())
    raise ValueError(f"the variable {name} is not set")


def _read_text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from None
    # Windows' editors put a byte order mark first; PowerShell writes UTF-16.
    is_utf16 = content.startswith((BOM_UTF16_LE, BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SettingsError(
            f"line {line} of {path} is not text in UTF-8; save it as that"
        ) from None


def _read_value(written: str, known: dict[str, str]) -> str | None:
    """What stands behind the equals sign; None if a quote is not closed."""
    if written.startswith("'"):
        quoted = _SINGLE_QUOTED.fullmatch(written)
        return None if quoted is None else Verbatim(quoted[1].strip())
    if written.startswith('"'):
        quoted = _DOUBLE_QUOTED.fullmatch(written)
        value = None if quoted is None else _unescape(quoted[1]).strip()
    else:
        value = without_comment(written)
    return None if value is None else _BRACED.sub(lambda name: _fill_in(name, known), value)


def _unescape(quoted: str) -> str:
    """Undo \\" and backslashes in pairs; single ones belong to Windows' paths."""
    quoted = quoted.replace('\\"', '"')
    is_paired = all(len(run) % 2 == 0 for run in _BACKSLASHES.findall(quoted))
    return quoted.replace("\\\\", "\\") if is_paired else quoted


def _fill_in(name: re.Match[str], known: dict[str, str]) -> str:
    """The value of ${NAME} or ${NAME:-default}; as written where nobody knows the name."""
    value = os.environ.get(name[1]) or known.get(name[1])
    return value or (name[0] if name[2] is None else name[2])
