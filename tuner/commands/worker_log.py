"""The log of `tuner worker`: a line for whatever happens to an attempt, with the time."""

import json
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tuner.commands.options import say

if TYPE_CHECKING:
    from tuner.workers.claims import Claim

QUIET_SECONDS = 60.0
"""Seconds after an attempt's last line for which its progress earns no further line unless a new phase begins."""
ENDS = ("complete", "pruned", "failed", "handed back", "lost")
"""Events after which nothing more is heard of an attempt."""


class WorkerLog:
    """Hears the workers of this process, from any thread.

    Args:
        as_json: a line is a JSON object, rather than KEY=VALUE.
    """

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self._lock = threading.Lock()
        self._last: dict[str, tuple[float, object]] = {}
        """Time of the last line about each attempt under way and its phase then, by the attempt's token."""

    def hear(self, event: str, claim: "Claim", facts: Mapping[str, Any]) -> None:
        """One event of an attempt: when, which study, trial and attempt, what."""
        shown = {key: value for key, value in facts.items() if key not in ("event", "metrics")}
        if event == "complete" and "metrics" in facts:
            shown = {key: facts["metrics"][key] for key in ("nll", "ppl", "rate")}
        with self._lock:
            if self._is_news(event, claim.token, facts.get("phase")):
                self._say(
                    {"event": event, "study": claim.study, "trial": claim.number, "attempt": claim.attempt, **shown}
                )

    def warn(self, sentence: str) -> None:
        """Says a warning that belongs to no attempt."""
        with self._lock:
            self._say({"event": "warning", "message": sentence})

    def _is_news(self, event: str, token: str, phase: object) -> bool:
        now, (said_at, before) = time.monotonic(), self._last.get(token, (0.0, None))
        if event == "progress" and phase == before and now - said_at < QUIET_SECONDS:
            return False
        self._last[token] = now, phase if event == "progress" else before
        if event in ENDS:
            del self._last[token]
        return True

    def _say(self, facts: Mapping[str, Any]) -> None:
        dated = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **facts}
        if self.as_json:
            say(json.dumps(dated, ensure_ascii=False, default=str))
        else:
            say(" ".join(f"{key}={_logged(value)}" for key, value in dated.items()))


def _logged(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return json.dumps(text, ensure_ascii=False) if not text or any(c in text for c in ' "=\n') else text
