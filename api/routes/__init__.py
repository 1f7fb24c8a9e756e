"""The routes: each reads its request, asks the service layer, and answers."""

from typing import Annotated, Any

from fastapi import Path, Query

from api.bodies import NAME
from api.schemas import Problem
from tuner.studies.expressions import LONGEST

StudyName = Annotated[str, Path(pattern=NAME, description="The study's name.")]
WorkerName = Annotated[str, Path(pattern=NAME, description="The worker's name.")]
TrialNumber = Annotated[int, Path(ge=0, lt=2**31, description="The trial's number, from 0 on.")]
Limit = Annotated[int, Query(ge=1, le=1000, description="Largest number of items.")]
Cursor = Annotated[
    str | None, Query(max_length=500, description="Cursor of the page, which is `next` of the page before.")
]
Where = Annotated[
    str | None, Query(max_length=LONGEST, description="A condition on columns of the table, e.g. `r > 5 and rate > 3`.")
]

_problem: dict[str, Any] = {"content": {"application/problem+json": {"schema": Problem.model_json_schema()}}}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "The request cannot be followed: what, its value, the rule, the remedy.", **_problem},
    "5XX": {"description": "The server's trouble.", **_problem},
}


def page(items: list[Any], limit: int, cursor: Any) -> dict[str, Any]:
    """A list and the cursor after it; `items` has one more than the limit if there is more."""
    return {"items": items[:limit], "next": cursor(items[limit - 1]) if len(items) > limit else None}
