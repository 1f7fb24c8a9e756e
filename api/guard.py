"""What every request passes before any route: its Host, Origin, size, rate and key; and the headers of every response."""

import time
from collections import OrderedDict
from collections.abc import Callable, MutableMapping
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.answers import Fresh
from api.problems import problem
from api.service import Service
from api.settings import Settings
from tuner.keys import Key, check, digest_of, is_guarded

SAFE = ("GET", "HEAD", "OPTIONS")
OPEN = ("/healthz", "/readyz")
PROTECTED = ("/v1/", "/metrics")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Plotly sets styles on elements, and draws its PNG from a blob"""
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
CLIENTS = 10_000
"""whose rates are kept"""
WRONG_KEY_COST = 10
"""requests that one with a wrong key counts for"""
FAILED = "the server has failed at this request, and its log says how: report it."


class Rates:
    """A token bucket for each client: `rate` requests a second in the long run, two seconds' worth at once."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.clock = rate, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str, cost: float = 1.0) -> float:
        """0 if the client may, else the seconds until it may again."""
        if not self.rate:
            return 0.0
        now, full = self.clock(), 2 * self.rate
        left, at = self._buckets.pop(client, (full, now))
        left = min(left + (now - at) * self.rate, full)
        may = left >= 1.0
        self._buckets[client] = (max(left - cost, -full) if may else left, now)
        if len(self._buckets) > CLIENTS:
            self._buckets.popitem(last=False)
        return 0.0 if may else (1.0 - left) / self.rate


def host_of(netloc: str) -> str:
    """A name without its port, IPv6 addresses without brackets; empty for what is none."""
    try:
        return (urlsplit(f"//{netloc}").hostname or "").lower()
    except ValueError:
        return ""


class Guard:
    """ASGI middleware; the first one."""

    def __init__(self, app: ASGIApp, settings: Settings, service: Service) -> None:
        self.app, self.settings, self.database = app, settings, service.database
        self.requests, self.service = service.measures.requests, service
        self.guarded = Fresh(lambda: is_guarded(service.database), settings.freshness)
        self._keys: OrderedDict[str, tuple[float, Key]] = OrderedDict()
        self.rates = Rates(settings.rate)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers, service, begun = Headers(scope=scope), self.service, False

        async def respond(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                if scope["method"] not in SAFE:
                    service.revisions.forget()  # what a client has changed, it sees
                self.requests.labels(scope["method"], message["status"]).inc()
                own = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    own[name] = value
                if "cache-control" not in own:
                    own["Cache-Control"] = "no-store"
            await send(message)

        refused = self._misplaced(scope, headers) or await self._unwelcome(scope, headers)
        if refused is not None:
            await refused(scope, receive, respond)
            return
        try:
            await self.app(scope, self._limited(receive), respond)
        except Exception:
            if not begun:  # else the client sees it cut off
                await problem(500, FAILED)(scope, receive, respond)
            raise  # the server logs it with its traceback

    def _misplaced(self, scope: Scope, headers: Headers) -> Response | None:
        """A request that came under a foreign name (DNS rebinding), from another site's page, or is too large."""
        host = headers.get("host", "")
        if host_of(host) not in self.settings.allowed_hosts:
            return problem(
                421, f"Host {host!r} is not a name of this server: start it with --allowed-host NAME to be reached so."
            )
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            return problem(403, f"Origin {origin!r} is another site: requests come from this server's own pages.")
        if scope["method"] not in SAFE and headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return problem(403, "the request was made by another site's page: use this server's own.")
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self.settings.body_bytes:
            return problem(413, self._too_large)
        return None

    @property
    def _too_large(self) -> str:
        return f"the body is larger than {self.settings.body_bytes} bytes: send less at a time."

    async def _unwelcome(self, scope: Scope, headers: Headers) -> Response | None:
        """A request too many, without a key that is needed, or with one that may not do this."""
        peer = (scope.get("client") or ("unknown",))[0]
        path = scope["path"]
        if path in OPEN:
            return None
        key: Key | None = None
        if path.startswith(PROTECTED):
            scheme, _, presented = headers.get("authorization", "").partition(" ")
            presented = presented.strip() if scheme.lower() == "bearer" else ""
            key = await self._key(presented) if presented else None
            if key is None and (presented or await self._needs_key()):
                wait = self.rates.wait(peer, WRONG_KEY_COST)
                return self._too_many(wait) if wait else _unknown(bool(presented))
        wait = self.rates.wait(f"key {key.id}" if key else peer)
        if wait:
            return self._too_many(wait)
        can_write = key is None or key.can_write
        if scope["method"] not in SAFE and not can_write:
            return problem(403, "this key may only read: take one with scope write (`tuner key create NAME --write`).")
        scope.setdefault("state", {})["can_write"] = can_write
        return None

    async def _key(self, presented: str) -> Key | None:
        now = time.monotonic()
        digest = digest_of(presented)
        until, key = self._keys.get(digest, (0.0, None))
        if until > now:
            return key
        found = await run_in_threadpool(check, self.database, presented)
        if found is not None:
            self._keys[digest] = now + self.settings.freshness, found
            if len(self._keys) > CLIENTS:
                self._keys.popitem(last=False)
        return found

    async def _needs_key(self) -> bool:
        if not self.settings.is_local:
            return True
        known = self.guarded.known()
        return await run_in_threadpool(self.guarded.get) if known is None else known

    @staticmethod
    def _too_many(wait: float) -> Response:
        return problem(
            429, f"too many requests: wait {wait:.1f} s.", None, **{"Retry-After": str(max(round(wait + 0.5), 1))}
        )

    def _limited(self, receive: Receive) -> Receive:
        """The body as it comes, no further than the limit."""
        seen = 0

        async def limited() -> MutableMapping[str, object]:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.settings.body_bytes:
                raise HTTPException(413, self._too_large)
            return message

        return limited


def _unknown(presented: bool) -> Response:
    what = "the key is not one of this server's, or is revoked" if presented else "a key is needed"
    detail = f"{what}: send `Authorization: Bearer KEY` with one that `tuner key create NAME` made."
    return problem(401, detail, None, **{"WWW-Authenticate": "Bearer"})
