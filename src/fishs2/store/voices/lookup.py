"""Which voice a text means: the one of this id, exactly, or else the one of this name.

Names are equal when `voice_ids.fold_name` says so. This is the rule of every dialect and of the
command line, for speech, uploads, changes and deletes.
"""

from fishs2.errors import UserError
from fishs2.store.voices.files import Voice
from fishs2.store.voices.folder import Scan
from fishs2.store.voices.ids import fold_name, propose_ids


def match_voice(scan: Scan, name: str) -> Voice | None:
    """The voice that `name` means, if there is one.

    Folders from elsewhere may have equal names: the newest counts. Raises OSError if it may be one
    that could not be read.
    """
    found = scan.voices.get(name)
    if found is not None:
        return found
    found = scan.named.get(fold_name(name))
    if found is not None:
        return found
    for voice_id in (name, *propose_ids(name)):
        if voice_id in scan.unread:
            raise scan.unread[voice_id]
    return None


def check_free(scan: Scan, name: str, *, but: Voice | None = None) -> None:
    """Raise UserError `voice_exists` if `name` means a voice, other than `but`."""
    if not name or (but is not None and fold_name(name) == fold_name(but.name)):
        return
    found = match_voice(scan, name)
    if found is not None and found is not but:
        raise name_taken(found.voice_id)


def check_same_name(voice: Voice, name: str) -> None:
    """Raise UserError `voice_exists` if the voice has this name as its id only: it is another's."""
    if fold_name(name) != fold_name(voice.name):
        raise name_taken(voice.voice_id)


def name_taken(voice_id: str) -> UserError:
    return UserError(
        f"there is a voice of this name, with the id {voice_id}; delete it, or choose another name",
        code="voice_exists",
        param="voice_id",
    )
