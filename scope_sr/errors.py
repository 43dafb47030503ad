"""Every error a user can cause or meet, as one tree.

::

    ScopeSRError            exit code 1, one line on the screen, no traceback
    ├── InputError          exit code 2: an option, a rig or an image is wrong; nothing has moved
    ├── MicroscopeError     the instrument did not do what it was told
    │   ├── LimitError      a position outside the limits was asked for; nothing moved
    │   ├── ReadbackError   the stage or nosepiece is not where it was sent
    │   ├── DeadlineError   a device did not answer in time
    │   └── StoppedError    somebody pressed stop
    ├── SessionError        the folder of a session cannot be used, read or written
    ├── DatasetError        the folder of a dataset likewise
    └── TrainingError       a training could not go on; what was saved before is whole

Anything else that escapes is our own bug and keeps its traceback.
"""


class ScopeSRError(Exception):
    """What went wrong, in one line that names the way out."""

    exit_code = 1


class InputError(ScopeSRError):
    """What the user gave is wrong; nothing has moved and nothing was written."""

    exit_code = 2


class MicroscopeError(ScopeSRError):
    """The instrument did not do what it was told."""


class LimitError(MicroscopeError):
    """A position outside the limits of the rig was asked for; nothing moved."""


class ReadbackError(MicroscopeError):
    """A device reports another place or label than the one it was sent to."""


class DeadlineError(MicroscopeError):
    """A device did not answer within its deadline."""


class StoppedError(MicroscopeError):
    """The move was broken off because stop was called."""


class SessionError(ScopeSRError):
    """The folder of a session cannot be used, read or written."""


class DatasetError(ScopeSRError):
    """The folder of a dataset cannot be used or written."""


class TrainingError(ScopeSRError):
    """A training could not go on; the weights saved before are whole."""
