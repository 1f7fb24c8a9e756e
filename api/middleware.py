"""Checks that every request passes before any route: its Host, Origin, size, rate and key; and the headers of every
response.
"""

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem
from api.process_pool import CUSTOMER, Customer
from api.response_cache import Fresh
from api.service import Service
from api.settings import Settings
from tuner.storage.keys import Key, check, digest_of, is_guarded

SAFE = ("GET", "HEAD", "OPTIONS")
COUNTED = (*SAFE, "POST", "PUT", "PATCH", "DELETE")
"""Methods that are counted by their names; a client may invent any number of others."""
OPEN = ("/healthz", "/readyz")
PROTECTED = ("/v1/", "/metrics")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content security policy. Plotly sets styles on elements, and draws its PNG from a blob."""
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
FORWARDED = ("x-forwarded-for", "forwarded", "x-forwarded-host", "x-real-ip", "via")
"""Headers of a request that came through a proxy; the first one names the client for whom it speaks."""
CLIENTS = 10_000
"""Largest number of clients whose request rates are kept."""
WRONG_KEY_COST = 10
"""Number of requests that a request with a wrong key counts for."""
BODY_SECONDS = 30.0
"""Seconds in which a request's body must have come; a larger body has so many for each `SLOWEST_BYTES`."""
SLOWEST_BYTES = 2**20
FILE = re.compile(r"/v1/studies/[^/]+/trials/\d+/files/[^/]+/[^/]+")
"""Paths to which workers send files, which are larger than all else."""
FAILED = "the server has failed at this request, and its log says how: report it."


class RateLimiter:
    """A token bucket for each client: `rate` requests a second in the long run, two seconds' worth at once, and one at least."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.clock = rate, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str, cost: float = 1.0) -> float:
        """0 if the client may, else the seconds until it may again."""
        if not self.rate:
            return 0.0
        now, full = self.clock(), max(2 * self.rate, 1.0)
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


def client_of(peer: str, forwarded: str, proxies: Sequence[IPv4Network | IPv6Network]) -> str:
    """Whom a request comes from: its peer, or the last of those in X-Forwarded-For whom no trusted proxy's word stands for.

    An IPv6 address is its /64: whoever has one address there has all of them. One that stands for an IPv4 address is that.
    """
    for name in (peer, *(part.strip() for part in reversed(forwarded.split(",")) if part.strip())):
        try:
            address = ip_address(name)
        except ValueError:
            return name[:100]
        if isinstance(address, IPv6Address):
            address = address.ipv4_mapped or address
        found = str(ip_network((address, 64), strict=False)) if isinstance(address, IPv6Address) else str(address)
        if not any(address in network for network in proxies):
            break
    return found


def came_by_proxy(headers: Mapping[str, str]) -> bool:
    """True if a request has a proxy's headers: its client may then be elsewhere, though its peer is this machine."""
    return any(name in headers for name in FORWARDED)


class Guard:
    """ASGI middleware; the first one."""

    def __init__(self, app: ASGIApp, settings: Settings, service: Service) -> None:
        self.app, self.settings, self.database = app, settings, service.database
        self.requests, self.service = service.measures.requests, service
        self.guarded = Fresh(lambda: is_guarded(service.database), settings.freshness)
        self._keys: OrderedDict[str, tuple[float, Key]] = OrderedDict()
        self.rates = RateLimiter(settings.rate)

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
                method = scope["method"] if scope["method"] in COUNTED else "other"
                self.requests.labels(method, message["status"]).inc()
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
        CUSTOMER.set(Customer(scope["state"]["client"], receive))
        try:
            await self.app(scope, self._limited(receive, self._most(scope), headers), respond)
        except Exception:
            if not begun:  # else the client sees it cut off
                await problem(500, FAILED)(scope, receive, respond)
            raise  # the server logs it with its traceback

    def _misplaced(self, scope: Scope, headers: Headers) -> Response | None:
        """A request that came under a foreign name (DNS rebinding), from another site's page, or is too large."""
        host = headers.get("host", "")
        if host_of(host) not in self.settings.allowed_hosts:
            return foreign(host)
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            return problem(403, f"Origin {origin!r} is another site: requests come from this server's own pages.")
        if scope["method"] not in SAFE and headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return problem(403, "the request was made by another site's page: use this server's own.")
        length = headers.get("content-length", "0")
        most = self._most(scope)
        if not length.isdecimal() or int(length) > most:
            return problem(413, _too_large(most))
        return None

    def _most(self, scope: Scope) -> int:
        """Bytes that the request's body may have."""
        is_file = scope["method"] == "PUT" and FILE.fullmatch(scope["path"])
        return self.settings.uploads.file if is_file else self.settings.body_bytes

    async def _unwelcome(self, scope: Scope, headers: Headers) -> Response | None:
        """A request too many, without a key that is needed, or with one that may not do this.

        The page, requests without a key, and wrong keys each have a limit of their own by address, so that whoever tries keys
        shuts nobody else out: many may share an address.
        """
        peer, path = (scope.get("client") or ("unknown",))[0], scope["path"]
        state = scope.setdefault("state", {})
        forwarded = ",".join(headers.getlist(FORWARDED[0]))
        state["client"] = client = client_of(peer, forwarded, self.settings.proxies)
        state["key"], state["can_write"] = None, True
        if path in OPEN:
            wait = self.rates.wait(f"open {client}")
            return too_many(wait) if wait else None
        if not path.startswith(PROTECTED):
            wait = self.rates.wait(f"page {client}")
            return too_many(wait) if wait else None
        scheme, _, presented = headers.get("authorization", "").partition(" ")
        presented = presented.strip() if scheme.lower() == "bearer" else ""
        key = await self._key(presented) if presented else None
        if presented and key is None:
            wait = self.rates.wait(f"wrong {client}", WRONG_KEY_COST)
            return too_many(wait) if wait else _unknown(presented=True)
        if key is not None:
            state["client"], state["key"], state["can_write"] = f"key {key.id}", key.id, key.can_write
        wait = self.rates.wait(state["client"])
        if wait:
            return too_many(wait)
        if key is None and await self._needs_key(headers):
            return _unknown(presented=False)
        if scope["method"] not in SAFE and not state["can_write"]:
            return problem(403, "this key may only read: take one that may write (`tuner key create NAME --write`).")
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

    async def _needs_key(self, headers: Headers) -> bool:
        if not self.settings.is_local or came_by_proxy(headers):
            return True
        known = self.guarded.known()
        return await run_in_threadpool(self.guarded.get) if known is None else known

    def _limited(self, receive: Receive, most: int, headers: Headers) -> Receive:
        """The body as it comes, no further than the limits of size and time."""
        seconds = BODY_SECONDS * (1 + int(headers.get("content-length", "0")) // SLOWEST_BYTES)
        seen, whole, until = 0, False, time.monotonic() + seconds

        async def limited() -> MutableMapping[str, object]:
            nonlocal seen, whole
            try:
                async with asyncio.timeout(None if whole else max(until - time.monotonic(), 0)):
                    message = await receive()
            except TimeoutError as error:
                raise HTTPException(
                    408, f"the body has not come within {seconds:g} s: send it at once.", {"Connection": "close"}
                ) from error
            seen += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if seen > most:
                raise HTTPException(413, _too_large(most))
            return message

        return limited


def _too_large(most: int) -> str:
    return f"the body is larger than {most} bytes: send less at a time."


def foreign(host: str) -> Response:
    detail = f"Host {host!r} is not a name of this server: start it with --allowed-host NAME to be reached so."
    return problem(421, detail)


def too_many(wait: float) -> Response:
    seconds = str(max(round(wait + 0.5), 1))
    return problem(429, f"too many requests: wait {wait:.1f} s.", None, **{"Retry-After": seconds})


def _unknown(presented: bool) -> Response:
    what = "the key is not one of this server's, or is revoked" if presented else "a key is needed"
    detail = f"{what}: send `Authorization: Bearer KEY` (`tuner` reads TUNER_API_KEY) with one that `tuner key create NAME` made."
    return problem(401, detail, None, **{"WWW-Authenticate": "Bearer"})
