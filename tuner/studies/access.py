"""One door to studies: those of a database that is at hand, and those of a server (`client.Client`)."""

from collections.abc import Iterator
from typing import Any, Protocol

from tuner.errors import Unreadable
from tuner.storage.database import Database
from tuner.studies import answers, queries, strikes
from tuner.studies.amendment import amend
from tuner.studies.study import ODD, open_study, open_to_delete
from tuner.studies.study import Study as Record
from tuner.studies.table import Table
from tuner.studies.trials import Trial

PAGE = 500
"""Number of studies, trials or epochs that are read at a time."""


class Studies(Protocol):
    """Studies, wherever they are. Every call raises `Missing` if there is no study or trial of that name or number."""

    def studies(
        self, technique: str | None = None, state: str | None = None, tag: str | None = None
    ) -> Iterator[answers.Summary]:
        """All studies, or those that fit, the newest first."""

    def study(self, name: str) -> answers.Study:
        """A study by its name."""

    def change(self, name: str, **settings: Any) -> answers.Study:
        """Gives changeable settings and remarks of a study other values; what is left out stays."""

    def stop(self, name: str) -> answers.Study:
        """Has no more trials of a study handed out, if it is active."""

    def delete(self, name: str) -> None:
        """Removes a study with its trials and files; raises `Busy` while trials are being handed back."""

    def trials(
        self, name: str, state: str | None = None, order: str = "number", where: str | None = None
    ) -> Iterator[Trial]:
        """Trials of a study that fit a condition, ordered by a column of its table or against it (`-nll`)."""

    def trial(self, name: str, number: int) -> tuple[Trial, list[answers.Attempt]]:
        """A trial and its attempts."""

    def epochs(self, name: str, number: int) -> Iterator[dict[str, Any]]:
        """A trial's figures by epoch."""

    def log(self, name: str, number: int) -> str:
        """The end of what a trial's last attempt said, up to `LOG_BYTES`; raises `Missing` if none has been published."""

    def workers(self) -> Iterator[dict[str, Any]]:
        """Workers (`queries.workers`), the newest word first."""

    def strike(self, name: str, number: int, because: str) -> Trial:
        """Makes a trial failed, whatever it was."""


class DatabaseStudies:
    """The studies of a database."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def studies(
        self, technique: str | None = None, state: str | None = None, tag: str | None = None
    ) -> Iterator[answers.Summary]:
        takers, after = queries.takers(self.database), None
        while found := queries.page(self.database, PAGE, after, technique, state, tag):
            yield from (self._listed(each, takers) for each in found)
            after = found[-1].created_at, found[-1].name

    def _listed(self, found: Record | Unreadable, takers: queries.Takers) -> answers.Summary:
        """A study's summary in a list, in which one that cannot be read does not keep the others from being listed."""
        try:
            if isinstance(found, Unreadable):
                raise found
            return answers.summary(found, found.facts.corpus.name, takers)
        except ODD as error:
            return answers.unreadable(found.name, str(error), 0, found.created_at)

    def study(self, name: str) -> answers.Study:
        return answers.study_here(open_study(self.database, name))

    def change(self, name: str, **settings: Any) -> answers.Study:
        return answers.study_here(amend(open_study(self.database, name), settings))

    def stop(self, name: str) -> answers.Study:
        found = open_study(self.database, name)
        found.stop()
        return answers.study_here(found)

    def delete(self, name: str) -> None:
        open_to_delete(self.database, name).delete()

    def trials(
        self, name: str, state: str | None = None, order: str = "number", where: str | None = None
    ) -> Iterator[Trial]:
        found = open_study(self.database, name)
        numbers = Table(found).follow().select(where, order, state)
        for first in range(0, len(numbers), PAGE):
            yield from found.trials.get_many(numbers[first : first + PAGE])

    def trial(self, name: str, number: int) -> tuple[Trial, list[answers.Attempt]]:
        found = open_study(self.database, name)
        return found.trials.get(number), [answers.attempt(each) for each in found.trials.attempts(number)]

    def epochs(self, name: str, number: int) -> Iterator[dict[str, Any]]:
        found, after = open_study(self.database, name), 0
        found.trials.get(number)
        while page := found.trials.epochs(number, PAGE, after):
            yield from page
            after = page[-1]["epoch"]

    def log(self, name: str, number: int) -> str:
        files = open_study(self.database, name).files
        files.check()
        return files.log(number)

    def workers(self) -> Iterator[dict[str, Any]]:
        return map(answers.worker, queries.workers(self.database))

    def strike(self, name: str, number: int, because: str) -> Trial:
        return strikes.strike(open_study(self.database, name), number, because)
