"""How a command of lamelle ends, and why it ends without doing what was asked."""

from __future__ import annotations

from enum import IntEnum

from drivers.errors import FaultOf

_LINE = 300


class LamelleError(Exception):
    """Base of every error raised by `daemon`; the message names the thing, its value and the remedy."""


class Refused(LamelleError):
    """Bad input, found before hardware was touched: exit status 2."""


class ChildLost(LamelleError):
    """A child process died or missed its deadline."""


class RequestFailed(LamelleError):
    """A child answered that what it was asked failed.

    `kind` names its error, `again` whether to ask once more, `fault_of` what it is of, where the microscope failed.
    """

    def __init__(self, kind: str, message: str, *, again: bool, fault_of: FaultOf | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.again = again
        self.fault_of = fault_of


class NightStopped(LamelleError):
    """The night cannot go on; everything is safe: exit status 1."""


class JournalDamaged(LamelleError):
    """The journal contradicts itself or the files beside it."""


class ProtocolViolation(LamelleError):
    """A peer sent something that the wire protocol does not allow."""


class OtherVersion(ProtocolViolation):
    """A peer speaks another version of the protocol; the same version of lamelle on both sides is the remedy."""


class DamagedFile(LamelleError):
    """A file of a dataset does not hold what its name promises."""


def last_line(error: BaseException) -> str:
    """Write an error as the last line of its traceback has it, its message on one line of at most 300 characters."""
    try:
        message = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - an error of others that cannot say what it is
        message = ""
    if len(message) > _LINE:
        message = f"{message[:_LINE]} ..."
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


class Exit(IntEnum):
    """Exit status of a night, and of the detector over an archive."""

    COMPLETE = 0
    FAULT = 1
    REFUSED = 2
    SKIPPED = 3
    INTERRUPTED = 130
