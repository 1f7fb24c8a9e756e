"""The ways a run ends early, each with the name that the study database records."""


class BadInput(ValueError):
    """The user's mistake, told in one sentence: what, its value, the rule, the remedy."""


class Failure(RuntimeError):
    """A run that cannot go on. `reason` is one of: nan, oom, disk, preempted."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
