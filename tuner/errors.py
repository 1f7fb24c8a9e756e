"""Errors that the command line turns into one sentence, and the API into a problem."""


class Usage(Exception):
    """The user's mistake: what, its value, the rule, the remedy. Exit code 2.

    Args:
        field: of the request that it lies in, where it has one.
        public: the same for whoever asks over the API, where the message tells what is none of their business: the database's
            address, what else it holds, folders.
        command: of the command line, that does what the message ends with.
    """

    def __init__(
        self, message: str, field: str | None = None, public: str | None = None, command: str | None = None
    ) -> None:
        super().__init__(message)
        self.field, self.public, self.command = field, public, command


class Refused(Usage):
    """A value of a study's setting that is not allowed.

    Args:
        field: the setting's name.
        value: in words.
        rule: what is wrong with it, and the remedy, after `field = value`; a command line says its option instead of the two.
    """

    def __init__(self, field: str, value: object, rule: str) -> None:
        super().__init__(f"{field} = {value} {rule}", field)
        self.value, self.rule = value, rule

    def __reduce__(self) -> tuple[object, ...]:
        """The parts from which another process makes the error again."""
        return Refused, (self.field, self.value, self.rule), {**self.__dict__, "args": self.args}


class Missing(Usage):
    """A study, a trial or another thing that does not exist."""


class Unreadable(Usage):
    """A study's row in the database is not one that this program writes."""

    name, created_at = "", 0.0
    """Name and creation time of the study, as far as its row can be read."""


class Clash(Usage):
    """A request that does not go together with what is there already."""


class Fault(Exception):
    """The world's: a full disk, a lost database, a broken trainer. Exit code 1; nothing is lost."""


class Busy(Fault):
    """A request that cannot be met now, but in a moment.

    Args:
        after: seconds after which to try again.
    """

    def __init__(self, message: str, after: float = 2.0) -> None:
        super().__init__(message)
        self.after = after


class StoreFault(Fault):
    """A study's files cannot be written, or read."""


class Exhausted(Fault):
    """Work that needs more memory than it may have."""


class Unfit(Fault):
    """A worker's own: no study can be trained here."""


def unwritten(flag: str, place: object, error: OSError) -> Usage | Fault:
    """The error of an option's file that cannot be written: the user's if the place cannot hold it, else the world's."""
    said = f"{flag} {place} cannot be written ({error.strerror or error})"
    if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError | PermissionError):
        return Usage(f"{said}: name a place in a folder that is there and that you may write to.")
    return Fault(f"{said}: make room, or name another place.")


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM: stop in order. No KeyboardInterrupt, which the command-line library would swallow."""

    def __init__(self, reason: str = "user", message: str = "stopped by the user.") -> None:
        self.why = (reason, message)
