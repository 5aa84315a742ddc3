"""Where settings come from: the environment, `.env`, and what lies where it used to."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from fishs2.env_file import Verbatim, expand_path, read_env_file, unquote
from fishs2.errors import SettingsError
from fishs2.home import default_home

ENV_PREFIX = "FISHS2_"
_HOME = f"{ENV_PREFIX}HOME"
_ENV_FILE = ".env"

_SERVICE_LINK = re.compile(r"(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)")
"""What Kubernetes sets in a pod for a service called fishs2, beside FISHS2_PORT.

Source: Kubernetes, Service, "Environment variables".
"""
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://.*")


@dataclass(frozen=True, slots=True)
class Sources:
    """What was found. values: what is set, by the name of the field. others: the other lines of
    `.env`. notices: one sentence each about what is read from a place that it should leave.
    """

    home: Path
    values: dict[str, str]
    others: dict[str, str]
    notices: tuple[str, ...]


def read_sources() -> Sources:
    """Read the environment, then `.env` in the current folder and at home; the first one wins.

    Raises SettingsError for a file that cannot be read.
    """
    environment = {
        name.upper(): value
        for name, value in os.environ.items()
        if name.upper().startswith(ENV_PREFIX)
    }
    given = unquote(environment.get(_HOME, ""))
    home = _read_home(given) if given else default_home()
    if home.exists() and not home.is_dir():
        raise SettingsError(f"the home folder {home} is a file; name a folder with {_HOME}")
    files, notices = _read_files(home)
    values = {**files, **{name: value for name, value in environment.items() if value.strip()}}
    settings = {
        name.removeprefix(ENV_PREFIX).lower(): value
        if isinstance(value, Verbatim)
        else unquote(value)
        for name, value in values.items()
        if name.startswith(ENV_PREFIX) and not _is_service_link(name)
    }
    settings = {name: value for name, value in settings.items() if value}
    settings["home"] = str(home)
    old, more = _find_old_folders(home, settings, is_given=bool(given))
    others = {name: value for name, value in files.items() if not name.startswith(ENV_PREFIX)}
    return Sources(home, {**old, **settings}, others, (*notices, *more))


def is_service_address(value: object) -> bool:
    """Whether this is what Kubernetes sets FISHS2_PORT to, for a service called fishs2."""
    return isinstance(value, str) and _SERVICE_ADDRESS.fullmatch(value) is not None


def _is_service_link(name: str) -> bool:
    return _SERVICE_LINK.fullmatch(name.removeprefix(ENV_PREFIX)) is not None


def _read_home(written: str) -> Path:
    try:
        return Path(str(expand_path(written))).absolute()
    except ValueError as error:
        raise SettingsError(f"{_HOME}={written}: {error}") from None


def _read_files(home: Path) -> tuple[dict[str, str], list[str]]:
    """The lines of `.env` at home and, if it speaks of us, of the one in the current folder."""
    notices = []
    values = read_env_file(home / _ENV_FILE)
    here = _current_folder() / _ENV_FILE
    if here.parent != home.resolve() and _speaks_of_us(here):
        values |= read_env_file(here)
        notices.append(
            f"{here} is read because it lies in the current folder; its place is the home folder: "
            f"{_move(here, home / _ENV_FILE)}"
        )
    # A name means the same in every case, as in the environment of Windows.
    values = {n.upper() if n.upper().startswith(ENV_PREFIX) else n: v for n, v in values.items()}
    if _HOME in values:
        raise SettingsError(
            f"{_HOME} cannot be set in {_ENV_FILE}, which lies in that folder: set it in the "
            "environment"
        )
    return values, notices


def _speaks_of_us(path: Path) -> bool:
    """Whether a line of the file sets one of our settings; other programs have a `.env` too."""
    try:
        content = path.read_bytes().replace(b"\0", b"").upper()
    except OSError:
        return False
    return re.search(rb"^[^#\n]*" + ENV_PREFIX.encode(), content, re.MULTILINE) is not None


def _find_old_folders(
    home: Path, values: dict[str, str], *, is_given: bool
) -> tuple[dict[str, str], list[str]]:
    """Keys and voices of servers that kept them in the folder that they were started in.

    They are still used, as a server without its keys would be open to everybody. A home that
    somebody chose comes first if it has its own, and in place of the usual home.
    """
    here = _current_folder()
    found: dict[str, str] = {}
    notices: list[str] = []
    if here == home.resolve():
        return found, notices
    for name, proof, others in (
        ("data", "fishs2.db", "database_url"),
        ("voices", "*/meta.json", ""),
    ):
        setting, old, new = f"{name}_dir", here / name, home / name
        if setting in values or others in values or not _has(old, proof):
            continue
        if is_given and (_has(new, proof) or here == default_home().resolve()):
            if name == "data":
                notices.append(f"{old} is not used, as {_HOME} names another home: {home}")
            continue
        found[setting] = str(old)
        notices.append(
            f"{old} is used because it lies in the current folder; its place is the home folder: "
            f"stop the server and move it: {_move(old, new)}"
            + (f" ({new} is there too: move that away first)" if new.exists() else "")
        )
    return found, notices


def _move(old: Path, new: Path) -> str:
    """The command that moves a file or folder."""
    return f'move "{old}" "{new}"' if os.name == "nt" else f"mv {quote(str(old))} {quote(str(new))}"


def _has(folder: Path, pattern: str) -> bool:
    try:
        return any(folder.glob(pattern))
    except OSError:
        return False


def _current_folder() -> Path:
    try:
        return Path.cwd()
    except OSError:  # it was deleted
        return Path("/")
