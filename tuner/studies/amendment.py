"""Other values for what may change of a study: its changeable settings, and what people say of it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import func, select

from tuner.errors import Clash, Refused, Usage
from tuner.storage.tables import LOCK, TrialRow, revise, study_row
from tuner.studies.launch import judge, judge_deadline
from tuner.studies.spec import BUDGET, OPEN, Definition
from tuner.studies.study import Study
from tuner.studies.trials import revive


def amend(study: Study, values: Mapping[str, Any]) -> Study:
    """Gives some of these settings new values; the others stay as they are. Workers hear of it within seconds.

    Raises:
        Usage: if there is none, one may not change, or its value is not allowed.
        Missing: if it has been deleted meanwhile.
        Clash: if the study is being deleted.
    """
    if not values:
        raise Usage(f"nothing is to be changed: name one of {', '.join(OPEN)}.")
    for key in values:
        if key not in OPEN:
            raise Usage(f"{key} of a study does not change: what may change is {', '.join(OPEN)}.", key)
    newer = {key: OPEN[key].checked(value) for key, value in values.items()}
    judge_deadline(newer.get("deadline"))

    def change(session: Any) -> None:
        row = study_row(session, study.name, with_for_update=LOCK)
        if row.state == "deleting":
            raise Clash(f"study {study.name!r} is being deleted: make another one.")
        earlier = Definition.of(row.specification, row.budget, row.rules)
        wanted = replace(earlier, spec=replace(earlier.spec, **newer))
        judge(wanted.spec)
        made = session.execute(select(func.count()).where(TrialRow.study == study.name)).scalar_one()
        if BUDGET in newer and newer[BUDGET] < made:
            raise Refused(BUDGET, str(newer[BUDGET]), f"is too few: the study has {made} trials already.")
        row.specification, row.budget, row.rules = wanted.stored(), wanted.spec.trials, wanted.rules()
        if row.state == "satisfied" and wanted.spec.stop_when != earlier.spec.stop_when:
            revive(row, study.database.clock(session))
        revise(session, study.name)

    study.database.run(change)
    return study.refresh()
