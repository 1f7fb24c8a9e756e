"""Studies whose trials are over with figures of a test's choice."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tuner.storage.database import Database
from tuner.storage.tables import TrialRow
from tuner.studies import confirmation, creation
from tuner.studies.spec import Definition
from tuner.studies.study import Study


def metrics(nll: float, rate: float = 5.0, split: str = "valid", **more: Any) -> dict[str, Any]:
    facts = {"proposal": "q", "samples": 1000, "sentences": 40, "of": 40, "seed": 0, "split": split}
    found = {
        "nll": nll,
        "nll_se": 0.1,
        "ppl": math.exp(nll / 20),
        "rate": rate,
        "distortion": nll - rate,
        "neg_elbo": nll,
    }
    return {**found, "active_units": 3, "acc_gap": None, "collapsed": False, "estimator": facts, **more}


def fill(
    study: Study, *found: Mapping[str, Any] | None, r: float = 5.0, params: Sequence[Mapping[str, Any]] = ()
) -> None:
    """Trials that are over with these figures; None has failed.

    Without `params` each has the r that its figures held, or another r than the others.
    """

    def held_rate(number: int, figures: Mapping[str, Any]) -> float:
        error = figures.get("rate_error")
        return r + number if error is None else round(float(figures["rate"] - error), 9)

    def enter(session: Any) -> None:
        for number, each in enumerate(found):
            state = (
                {"state": "failed", "reason": "nan"}
                if each is None
                else {
                    "state": "complete",
                    "metrics": dict(each),
                    "value": each["nll"],
                    "values": [each["nll"], each["rate"]],
                }
            )
            session.add(
                TrialRow(
                    study=study.name,
                    number=number,
                    params=dict(params[number]) if params else {"r": held_rate(number, each or {})},
                    created_at=0.0,
                    revision=number + 1,
                    **state,
                )
            )

    study.database.run(enter)


def confirmed(database: Database, study: Study, folder: Path, runs: int = 3) -> Study:
    """The study that confirms the best trial."""
    (best,) = confirmation.chosen(study, None, front=False)
    made = Definition(confirmation.spec(study, best, runs, {}), replace(study.facts, ngram=None))
    return creation.go_on(database, confirmation.name_of(study, best), made, folder / "runs")


def held(target: float, rate: float, ppl: float, gap: float | None = 5.0, **more: Any) -> dict[str, Any]:
    """Figures of a run that held a rate."""
    return metrics(100.0, rate, **{"rate_error": rate - target, "ppl": ppl, "acc_gap": gap, **more})
