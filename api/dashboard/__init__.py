"""The page at `/`: static files of our own beside this one, and Plotly's script from its package. No build step, no CDN."""

import gzip
import hashlib
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from api.problems import problem

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
PLOTLY = "plotly.js"
PLOTTED = ("compare", "pareto", "rates", "study", "trial")
"""Views with plots, for which a browser fetches the plotting script beside the page's own."""


@cache
def _files() -> dict[str, Traversable]:
    """All there are: no other name is ever looked for."""
    ours = {e.name: e for e in resources.files(__package__).iterdir() if e.is_file() and e.name.endswith(tuple(TYPES))}
    return {**ours, PLOTLY: resources.files("plotly").joinpath("package_data/plotly.min.js")}


@cache
def _file(name: str) -> tuple[bytes, bytes, str]:
    """A file's content, its compressed content, and its tag."""
    content = _files()[name].read_bytes()
    return content, gzip.compress(content, 6, mtime=0), f'"{hashlib.sha256(content).hexdigest()[:24]}"'


def mount(app: FastAPI) -> None:
    """Serves the dashboard's files."""

    @app.get("/", include_in_schema=False)
    def index(request: Request) -> Response:
        response = _send(request, "index.html")
        if request.query_params.get("view") in PLOTTED:
            response.headers["Link"] = f"</assets/{PLOTLY}>; rel=preload; as=script"
        return response

    @app.get("/assets/{name}", include_in_schema=False)
    def asset(request: Request, name: str) -> Response:
        return _send(request, name)


def _send(request: Request, name: str) -> Response:
    if name not in _files():
        return problem(404, f"{request.url.path} is not there: the page is at /")
    content, packed, tag = _file(name)
    headers = {"ETag": tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(None, 304, headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        content = packed
    return Response(content, 200, headers, TYPES[name[name.rindex(".") :]])
