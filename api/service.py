"""Shared parts of the routes of one server process: the database, the answers it keeps, and processes for heavy work."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

from starlette.requests import Request

from api.events import Event, Feed, event, events_of
from api.process_pool import ProcessPool
from api.prometheus import Measures
from api.response_cache import Answer, Fresh, ResponseCache
from api.settings import Settings
from tuner.analysis.pareto import Columns
from tuner.errors import Missing, Unreadable
from tuner.storage import keys
from tuner.storage.database import Database
from tuner.studies import answers, changes, corpora, queries
from tuner.studies import study as studies
from tuner.studies.corpora import Source
from tuner.studies.queries import Takers
from tuner.studies.study import ODD, Study
from tuner.studies.table import Table

TABLES = 8
"""Largest number of studies whose tables are kept: 20 MB for 10,000 trials."""
COMPARED = 32
"""Largest number of studies whose columns are kept: 2 MB for 10,000 trials."""
CALM = 10.0
"""Factor of the studies' freshness after which the registered corpora are read again, as they hardly change."""
PATIENCE = 2.0
"""Seconds for which a request waits for a database that has gone, or lost a race for a lock."""


class Service:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = Database(settings.database, create=True, patience=PATIENCE)
        self.measures = Measures()
        self.processes = ProcessPool(settings.work_seconds, settings.work_memory)
        self.cache = ResponseCache(self.processes.await_other)
        streams = settings.streams, settings.streams_each
        self.feed = Feed(
            lambda: keys.listed(self.database),
            lambda: changes.current(self.database),
            self._changes,
            self._summary_or_none,
            *streams,
        )
        self.revisions = Fresh(lambda: changes.current(self.database), settings.freshness)
        self._takers = Fresh(lambda: queries.takers(self.database), settings.freshness)
        self._registered = Fresh(lambda: corpora.registered(self.database), CALM * settings.freshness)
        self._columns: OrderedDict[str, tuple[int, Columns]] = OrderedDict()
        self._tables: OrderedDict[str, Table] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def takers(self) -> Takers:
        """The workers that there are, the server's own among them, which take any study."""
        return Takers(takes_any=True) if self.settings.workers > 0 else self._takers.get()

    def study(self, name: str) -> Study:
        return studies.open_study(self.database, name)

    def revision(self, name: str) -> int:
        """
        Raises:
            Missing: if there is no such study.
        """
        found = self.revisions.get().get(name)
        return self.study(name).revision if found is None else found

    def of_study(self, kind: str, name: str, arguments: Hashable, make: Callable[[Study], Any]) -> Answer:
        """The answer that `make` gives of a study, made once for each of its revisions. Parts that depend on the time
        are a second old at most.
        """
        version = (self.revision(name), int(time.time()))
        return self.cache.get((kind, name, arguments), version, lambda: make(self.study(name)))

    def summary(self, study: Study, takers: Takers) -> answers.Summary:
        return answers.summary(study, self.corpus(study), takers)

    def listed(self, study: Study | Unreadable, takers: Takers) -> answers.Summary:
        """The summary of a study in a list, in which one that cannot be read does not keep the others from being
        listed.
        """
        try:
            if isinstance(study, Unreadable):
                raise study
            return self.summary(study, takers)
        except ODD as error:
            revision = self.revisions.get().get(study.name, 0)
            said = getattr(error, "public", None) or "a record of one of its trials cannot be read: delete the study."
            return answers.unreadable(study.name, said, revision, study.created_at)

    @property
    def corpora(self) -> dict[str, Source]:
        """Corpora that a request may name, by name; those of the command line count before those of the database."""
        return {**self._registered.get(), **self.settings.offered}

    def corpus(self, study: Study) -> str:
        """The name of a study's corpus; of a folder that has none, its last part."""
        opened = study.facts.corpus.name
        return next((name for name, source in self.corpora.items() if source.place == opened), Path(opened).name)

    def columns(self, name: str) -> Columns:
        """A study's complete trials.

        Raises:
            Missing: if there is no such study.
        """
        revision = self.revision(name)
        with self._lock:
            head, kept = self._columns.get(name, (0, None))
        if kept is None or head != revision:
            study = self.study(name)
            if kept is None or kept.study.created_at != study.created_at:
                kept = Columns(study)
            kept.follow()
            if len(kept.numbers) != study.trials.counts().get("complete", 0):  # one was struck out
                kept = Columns(study).follow()
            with self._lock:
                self._columns[name] = study.revision, kept
                self._columns.move_to_end(name)
                if len(self._columns) > COMPARED:
                    self._columns.popitem(last=False)
        return kept

    def of_results(self, kind: str, work: Callable[..., Any], name: str, *arguments: Hashable) -> Answer:
        """The answer that slow work of another process gives of a study, made once for each set of its complete trials.

        Args:
            work: takes the database's address, the study's name and the arguments.
        """
        columns = self.columns(name)
        version = (columns.seen, len(columns.numbers))

        def make() -> Any:
            return self.processes.do(work, self.settings.database, name, *arguments)

        return self.cache.get((kind, name, arguments), version, make)

    def table(self, study: Study) -> Table:
        """All trials of a study by columns, as they are now."""
        with self._lock:
            kept = self._tables.pop(study.name, None)
            if kept is None or kept.study.created_at != study.created_at:
                kept = Table(study)
            self._tables[study.name] = kept
            if len(self._tables) > TABLES:
                self._tables.popitem(last=False)
        return kept.follow()

    def _changes(self, name: str, after: int) -> tuple[list[Event], int] | None:
        try:
            found = changes.changes(self.database, name, after)
            if found is None:
                return None
            return events_of(found, dict(self.summary(found.study, self.takers))), found.until
        except ODD:
            told, until = self._summary_or_none(name), changes.current(self.database).get(name, after)
            return None if told is None else ([(until, event("study", told, until))], until)

    def _summary_or_none(self, name: str) -> dict[str, Any] | None:
        try:
            return dict(self.listed(self.study(name), self.takers))
        except Missing:
            return None
        except Unreadable as error:
            error.name = name
            return dict(self.listed(error, self.takers))

    def close(self) -> None:
        self.processes.close()
        self.database.close()


def service_of(request: Request) -> Service:
    found: Service = request.app.state.service
    return found
