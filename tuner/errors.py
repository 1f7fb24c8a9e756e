"""Errors that the command line turns into one sentence, and the API into a problem."""


class Usage(Exception):
    """The user's mistake: what, its value, the rule, the remedy. Exit code 2.

    Args:
        field: of the request that it lies in, where it has one.
    """

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class Missing(Usage):
    """There is no such thing."""


class Clash(Usage):
    """It does not go together with what is there already."""


class Fault(Exception):
    """The world's: a full disk, a lost database, a broken trainer. Exit code 1; nothing is lost."""


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM: stop in order. No KeyboardInterrupt, which the command-line library would swallow."""

    def __init__(self, reason: str = "user", message: str = "stopped by the user.") -> None:
        self.why = (reason, message)
