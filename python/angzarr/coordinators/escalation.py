"""Failed compensations told to people: an HTTP POST to a webhook (COMP-10)."""

from __future__ import annotations

import asyncio
import http.client
import json
from dataclasses import asdict, dataclass
from typing import Final, Protocol
from urllib.parse import SplitResult, urlsplit

from angzarr.coordinators.pipeline import Sleep, real_sleep
from angzarr.errors import InvalidInput, RemoteError

TIMEOUT_S: Final = 30.0
DELAYS_S: Final = (0.1, 0.2)
"""Between the attempts."""


@dataclass(frozen=True, slots=True)
class Escalation:
    """What is told, and its JSON. source_root_id: hex. occurred_at: RFC 3339, UTC."""

    source_domain: str
    source_root_id: str
    source_seq: int
    rejection_reason: str
    compensation_reason: str
    correlation_id: str
    occurred_at: str


class Escalations(Protocol):
    """Where escalations go."""

    async def escalate(self, escalation: Escalation) -> None:
        """Tell it; done on return. Raises RemoteError if nobody took it."""
        ...


class Webhook:
    """Posts escalations to an `http` or `https` address, in a thread of asyncio's own pool.

    Redirects are not followed and no proxy is asked. Raises InvalidInput for another address.
    """

    def __init__(
        self, url: str, *, timeout_s: float = TIMEOUT_S, sleep: Sleep = real_sleep
    ) -> None:
        self._url = url
        self._parts = _checked(url)
        self._timeout_s = timeout_s
        self._sleep = sleep

    async def escalate(self, escalation: Escalation) -> None:
        """One POST; again after errors of the network and of the server, not after a 4xx."""
        body = json.dumps(asdict(escalation)).encode()
        for delay_s in (*DELAYS_S, None):
            try:
                status = await asyncio.to_thread(self._post, body)
            except (OSError, http.client.HTTPException) as error:
                failure = RemoteError("UNAVAILABLE", f"{self._url}: {error or type(error)}")
                failure.__cause__ = error
            else:
                if status < 300:
                    return
                failure = RemoteError("UNAVAILABLE", f"{self._url} answered {status}")
                if status < 500:
                    raise failure
            if delay_s is None:
                raise failure
            await self._sleep(delay_s)

    def _post(self, body: bytes) -> int:
        """The answer's status."""
        parts = self._parts
        is_secret = parts.scheme == "https"
        connect = http.client.HTTPSConnection if is_secret else http.client.HTTPConnection
        assert parts.hostname is not None, "checked when it was made"
        connection = connect(parts.hostname, parts.port, timeout=self._timeout_s)
        try:
            path = parts.path or "/"
            target = f"{path}?{parts.query}" if parts.query else path
            connection.request("POST", target, body, {"Content-Type": "application/json"})
            return connection.getresponse().status
        finally:
            connection.close()


def _checked(url: str) -> SplitResult:
    allowed = "http://host[:port]/path or https://…"
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError as error:  # a port that is none
        raise InvalidInput("escalation_webhook_url", allowed, url) from error
    if not is_good:
        raise InvalidInput("escalation_webhook_url", allowed, url)
    return parts
