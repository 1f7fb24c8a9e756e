"""Errors as RFC 9457's problem+json: one sentence with what, its value, the rule and the remedy."""

import json
import logging
import re
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DBAPIError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response

from api.process_pool import Left
from tuner.errors import Busy, Clash, Fault, Missing, StoreFault, Usage
from tuner.workers.claims import LeaseLost

MEDIA = "application/problem+json"
log = logging.getLogger("tuner.api")


CODE = re.compile("`[^`]*`")
"""Code within a sentence, where a colon parts nothing."""


def body(status: int, detail: str, field: str | None = None) -> bytes:
    colon = CODE.sub(lambda code: "x" * len(code[0]), detail).rfind(": ")
    content = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "field": field,
        "remedy": detail[colon + 2 :] if colon >= 0 else None,
    }
    return json.dumps(content, ensure_ascii=False).encode(errors="replace")


def problem(status: int, detail: str, field: str | None = None, **headers: str) -> Response:
    return Response(body(status, detail, field), status, headers, MEDIA)


def later(seconds: int) -> dict[str, str]:
    return {"Retry-After": str(seconds)}


STATUS: dict[type[Exception], int] = {Missing: 404, Clash: 409, LeaseLost: 409, Usage: 422}


def handle(app: FastAPI) -> None:
    """Turns every error into a problem."""

    def expected(_: Request, error: Exception) -> Response:
        status = next(status for kind, status in STATUS.items() if isinstance(error, kind))
        said = getattr(error, "public", None) or FOLDERS.sub("", str(error))
        return problem(status, said, getattr(error, "field", None))

    for kind in STATUS:
        app.add_exception_handler(kind, expected)

    @app.exception_handler(RequestValidationError)
    def _(request: Request, error: RequestValidationError) -> Response:
        if isinstance(error.body, bytes):  # which were not read as JSON
            kind = request.headers.get("content-type", "")
            return problem(422, f"Content-Type {kind!r} is not JSON: send Content-Type: application/json.")
        return problem(422, *_said(error.errors()[0]))

    @app.exception_handler(HTTPException)
    def _(request: Request, error: HTTPException) -> Response:
        said = {
            400: "the body is no JSON that can be read: send one JSON object.",
            404: f"{request.url.path} is not there: the routes are in /v1/openapi.json",
            405: f"{request.method} is not allowed for {request.url.path}: the routes are in /v1/openapi.json",
        }
        return problem(error.status_code, said.get(error.status_code, str(error.detail)), **(error.headers or {}))

    def away(_: Request, error: Exception) -> Response:
        log.warning("the database cannot be used: %s", type(error).__name__)
        return problem(503, "the database cannot be reached now: try again in a moment.", **later(2))

    app.add_exception_handler(DBAPIError, away)

    @app.exception_handler(Fault)
    def _(_: Request, error: Exception) -> Response:
        log.error("%s", error)
        return problem(503, "the server cannot do this now, and its log says why: try again later.", **later(30))

    @app.exception_handler(StoreFault)
    def _(_: Request, error: Exception) -> Response:
        log.error("%s", error)
        return problem(507, FOLDERS.sub("", str(error)))

    @app.exception_handler(Busy)
    def _(_: Request, error: Busy) -> Response:
        return problem(503, str(error), **later(round(error.after)))

    @app.exception_handler(Left)
    def _(_: Request, __: Exception) -> Response:
        return Response(status_code=499)  # nobody hears it


async def known_query(request: Request) -> None:
    """
    Raises:
        Usage: if the query has a part that the route does not read: a filter with a typing mistake would answer with everything.
    """
    if not request.query_params:
        return
    path = request.scope["route"].path
    path = path if path.startswith("/v1/") else f"/v1{path}"  # as FastAPI's version has it
    described = request.app.openapi_schema or await run_in_threadpool(request.app.openapi)  # made once
    method = described["paths"][path][request.method.lower()]
    known = [each["name"] for each in method.get("parameters", []) if each["in"] == "query"]
    for name in request.query_params:
        if name not in known:
            raise Usage(f"{name} is no part of this request's query: it has {', '.join(known) or 'none'}.", name)


FOLDERS = re.compile(r"(?<![\w:/.])/(?!v1/)(?:[^\s/'\"`]+/)+")
"""Folders of an absolute path, which are cut from messages: their places are the server's business."""


def _said(error: dict[str, Any]) -> tuple[str, str | None]:
    """One of pydantic's errors as a sentence and its field."""
    place = [str(part) for part in error["loc"] if part not in ("body", "query", "path", "header")]
    field = ".".join(place) or None
    if error["type"] == "missing":
        return f"{field or 'the body'} is missing: give it.", field
    if error["type"] == "json_invalid":
        return f"the body is no JSON ({error['ctx']['error']}): send one JSON object.", None
    if error["type"] == "extra_forbidden":
        return (
            f"{field} is no field of this request: leave it out, or see /v1/openapi.json for those that it has.",
            field,
        )
    value = str(error.get("input"))
    shown = value if len(value) < 80 else value[:77] + "…"
    said = str(error["ctx"]["error"]) if error["type"] == "value_error" else error["msg"]
    rule = said[0].lower() + said[1:]
    return f"{field or 'the body'} = {shown!r} is not allowed: {rule}.", field
