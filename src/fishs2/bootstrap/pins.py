"""Which SHA-256 the published files of S2 Pro must have: kept in pins.json, renewed from the hub.

Only what is downloaded is held against them: a file that somebody has put there is theirs.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from fishs2.errors import DownloadError

PINS_FILE = Path(__file__).with_name("pins.json")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Pin:
    """What a file must be. Both None: nobody has looked yet, and any file is taken."""

    num_bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Pins:
    """The pinned files of one repository, by name."""

    repo_id: str
    files: Mapping[str, Pin]

    def find(self, repo_id: str, filename: str) -> Pin:
        """What a file of this repository must be: nothing in particular, in another one."""
        return self.files.get(filename, Pin()) if repo_id == self.repo_id else Pin()


def read_pins(path: Path = PINS_FILE) -> Pins:
    """The pins of the package. Raises DownloadError for a file that was damaged."""
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
        files = {name: Pin(**fields) for name, fields in whole["files"].items()}
        pins = Pins(str(whole["repo_id"]), files)
        if not all(
            each.sha256 is None or _SHA256.fullmatch(each.sha256) for each in files.values()
        ):
            raise ValueError("a sum is not 64 hex digits")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DownloadError(
            f"the pinned sums in {path.name} cannot be read ({error}); install fishs2 again"
        ) from error
    return pins


def write_pins(pins: Pins, path: Path = PINS_FILE) -> None:
    """Replace the file, whole or not at all. Raises DownloadError."""
    whole = {
        "repo_id": pins.repo_id,
        "files": {name: asdict(pin) for name, pin in pins.files.items()},
    }
    new = path.with_name(path.name + ".new")
    try:
        new.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
        new.replace(path)
    except OSError as error:
        raise DownloadError(
            f"{path.name} of the package cannot be written: {error.strerror}; run this where "
            "fishs2 is installed for you alone, such as in a checkout"
        ) from error


def renew_pins(old: Pins, local: Mapping[str, Path]) -> Iterator[tuple[str, Pin, str]]:
    """Every file with its new pin, and in words where it is from.

    local: where the files lie on this machine, if they do. What the hub says of its large files
    comes first; the hub says no SHA-256 of small ones, and of none when it cannot be reached: then
    the file that is there is read; else the old pin stays.
    """
    told, why_not = _ask_hub(old.repo_id)
    for name, pin in old.files.items():
        path = local.get(name)
        if name in told:
            yield name, told[name], "as the hub says"
        elif path is not None and path.is_file():
            yield name, _pin_of(path), f"of {path}"
        else:
            yield (
                name,
                pin,
                f"unchanged: {why_not or 'the hub says none, and the file is not here'}",
            )


def _ask_hub(repo_id: str) -> tuple[dict[str, Pin], str | None]:
    """What the hub says of its files in LFS; or why it says nothing."""
    # Imported here: it takes longer to load than most starts need in all.
    from httpx2 import HTTPError
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        files = HfApi().model_info(repo_id, files_metadata=True).siblings or []
    except HfHubHTTPError as error:
        return {}, f"the hub has no {repo_id}: {str(error).splitlines()[0]}"
    except (OSError, ValueError, HTTPError) as error:
        return {}, f"the hub cannot be reached ({type(error).__name__})"
    return {
        each.rfilename: Pin(each.lfs.size, each.lfs.sha256)
        for each in files
        if each.lfs is not None
    }, None


def _pin_of(path: Path) -> Pin:
    with path.open("rb") as file:
        return Pin(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())
