"""Why a command of lamelle ends without doing what was asked."""


class LamelleError(Exception):
    """Base of every error raised by `daemon`; the message names the thing, its value and the remedy."""


class Refused(LamelleError):
    """Bad input, found before hardware was touched: exit status 2."""


class ChildLost(LamelleError):
    """A child process died or missed its deadline."""


class NightStopped(LamelleError):
    """The night cannot go on; everything is safe: exit status 1."""


class JournalDamaged(LamelleError):
    """The journal contradicts itself or the files beside it."""


class ProtocolViolation(LamelleError):
    """A peer sent something that the wire protocol does not allow."""


class DamagedFile(LamelleError):
    """A file of a dataset does not hold what its name promises."""
