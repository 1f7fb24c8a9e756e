"""One door to what studies say together: those of a database that is at hand, and those of a server (`client.Client`)."""

from collections.abc import Sequence
from typing import Any, Protocol

from tuner.analysis import comparison, curves, export, levels, pareto, rates
from tuner.analysis.pareto import Columns
from tuner.storage.database import Database
from tuner.studies import confirmation
from tuner.studies.study import open_study


class Analysis(Protocol):
    """Figures of studies, wherever they are. Every call raises `Missing` if there is no study or trial of a name."""

    def pareto(self, studies: Sequence[str], x: str = "rate", y: str = "ppl", split: str = "valid") -> dict[str, Any]:
        """Trials in the plane of two figures (`pareto.compare`), and the lines beside them (`levels`).

        Args:
            studies: their names; none: all but the confirmations of one of them.
        """

    def rates(self, studies: Sequence[str], split: str = "valid") -> dict[str, Any]:
        """Figures by target rate (`rates.plain`), of these studies or of all but the confirmations of one of them."""

    def compare(self, runs: Sequence[str]) -> dict[str, Any]:
        """Two to six trials, STUDY/NUMBER each, side by side (`comparison.of`)."""

    def curves(self, name: str, figure: str = "neg_elbo") -> dict[str, Any]:
        """A validation figure by epoch, of each trial of a study (`curves.of`)."""

    def export(self, name: str, form: str = "csv") -> str:
        """All trials of a study as CSV or JSON (`export.trials`)."""


class DatabaseAnalysis:
    """Figures of the studies of a database."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def pareto(self, studies: Sequence[str], x: str = "rate", y: str = "ppl", split: str = "valid") -> dict[str, Any]:
        runs = [own for _, each in confirmation.sources(self.database, list(studies), split) for own in each]
        columns = [Columns(own).follow() for own in runs]
        return {**pareto.compare(columns, x, y, split), "levels": levels.of(self.database, columns, y, split)}

    def rates(self, studies: Sequence[str], split: str = "valid") -> dict[str, Any]:
        runs = confirmation.sources(self.database, list(studies), split)
        return rates.plain(
            rates.series([(one, [Columns(each).follow() for each in own]) for one, own in runs], split), split
        )

    def compare(self, runs: Sequence[str]) -> dict[str, Any]:
        return comparison.of(self.database, runs)

    def curves(self, name: str, figure: str = "neg_elbo") -> dict[str, Any]:
        return curves.of(open_study(self.database, name), figure)

    def export(self, name: str, form: str = "csv") -> str:
        return export.trials(open_study(self.database, name), form)
