"""Every exception that fishs2 raises.

    Fishs2Error                what all share: a message that names value, limit and remedy
    ├── UserError              the request is wrong; carries a stable `code` and a `param`
    │   ├── NotFoundError      it names something that does not exist
    │   ├── UnauthorizedError  it has no valid key
    │   ├── ForbiddenError     its key does not allow this
    │   ├── LargeHeadError     its headers are more than the server reads
    │   ├── LongTargetError    its path and query are
    │   ├── SlowRequestError   it does not come
    │   └── WrongHostError     a browser sent it here under a name that is not this server's
    ├── BusyError              no room at present; carries `retry_after_s`
    │   ├── NoRoomError        no room for the connection, or for the files of the request
    │   └── QuotaError         the key has nothing left; carries a `code`
    ├── EngineError            the engine failed at this utterance
    │   ├── EngineLostError          its process was lost; spoken again, all may be well
    │   ├── RunawaySpeechError       what it said was no speech; another seed may do better
    │   └── EngineUnavailableError   the engine cannot work at all until somebody repairs it
    ├── ListeningError         a recording could not be heard
    │   └── ListenerMissingError     what hears, or its model, is not here; carries a `code`
    ├── StoreUnavailableError  keys, voices or cached audio cannot be read or written
    │   └── StoreFullError     there is no room for more
    ├── ShutdownError          the server ends before this was finished
    ├── StalledReaderError     the client takes no more bytes
    ├── DownloadError          a file cannot be had, or is not what it should be
    └── SettingsError          the settings do not let the program start
        └── FlagError          a flag of the command line has a value that it cannot have

Messages are safe to show to a client: no path of this machine, no traceback, no text of a request.
`server.edge.errors` turns these into the error shape of each dialect.
"""


class Fishs2Error(Exception):
    """Base of every error raised on purpose."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class UserError(Fishs2Error):
    """The request cannot be served as it is.

    code: stable, lower_snake_case, part of the API. param: the field at fault, if there is one.
    """

    def __init__(self, message: str, *, code: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


class NotFoundError(UserError):
    """The request names a model, voice or file that does not exist."""


class UnauthorizedError(UserError):
    """The request has no valid key."""


class ForbiddenError(UserError):
    """The key of the request does not allow this."""


class LargeHeadError(UserError):
    """The headers of the request have more bytes or fields than the server reads."""


class LongTargetError(UserError):
    """The path and query of the request have more bytes than the server reads."""


class SlowRequestError(UserError):
    """The request did not come in the time that it may take."""


class WrongHostError(UserError):
    """A browser sent the request here under a name that may not be this server's."""


class BusyError(Fishs2Error):
    """There is no room for another request at present.

    retry_after_s: an estimate; None where waiting does not help.
    code: stable, part of the API.
    """

    def __init__(
        self, message: str, *, retry_after_s: int | None, code: str = "server_busy"
    ) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.code = code


class NoRoomError(BusyError):
    """There is no room for another connection, or the system lets no more files be open."""

    def __init__(
        self, message: str, *, retry_after_s: int | None, code: str = "too_many_connections"
    ) -> None:
        super().__init__(message, retry_after_s=retry_after_s, code=code)


class QuotaError(BusyError):
    """The key has no characters left, or asks too often or for too much at once."""


class EngineError(Fishs2Error):
    """The engine failed while it worked on an utterance."""


class EngineLostError(EngineError):
    """The process that worked on an utterance was lost; another one may do it."""


class RunawaySpeechError(EngineError):
    """The model did not come to an end, repeated itself or fell silent; another seed may help."""


class EngineUnavailableError(EngineError):
    """The engine cannot work until somebody repairs it: missing library, model or device.

    reason: what everybody may know of it, without paths; "" is for the log alone.
    """

    def __init__(self, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


def reason_of(error: Fishs2Error) -> str:
    """What everybody may know of why an engine cannot work; "" where only the log says it."""
    return error.reason if isinstance(error, EngineUnavailableError) else ""


class ListeningError(Fishs2Error):
    """A recording could not be heard, although it is one."""


class ListenerMissingError(ListeningError):
    """What recognises speech, or its model, is not installed.

    code: `asr_not_installed` or `asr_model_missing`, part of the API.
    """

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class StoreUnavailableError(Fishs2Error):
    """The database, or a folder of what is kept, cannot be read or written at present."""


class StoreFullError(StoreUnavailableError):
    """The disk is full, a quota is used up, or a file may not grow so large."""


class ShutdownError(Fishs2Error):
    """The server ends before this was finished."""

    def __init__(self, message: str = "the server is shutting down; ask again in a moment") -> None:
        super().__init__(message)


class StalledReaderError(Fishs2Error):
    """The client keeps the connection open but takes no more bytes."""


class DownloadError(Fishs2Error):
    """A file that is needed cannot be downloaded, checked or unpacked."""


class SettingsError(Fishs2Error):
    """The settings do not let the program start."""


class FlagError(SettingsError):
    """A flag of the command line has a value that it cannot have."""
