"""Escalations over HTTP (COMP-10)."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from angzarr.coordinators import escalation as module
from angzarr.coordinators.escalation import Escalation, Webhook
from angzarr.errors import InvalidInput, RemoteError

TOLD = Escalation(
    source_domain="order",
    source_root_id="0f" * 16,
    source_seq=4,
    rejection_reason="no trucks",
    compensation_reason="größer als 50 %",
    correlation_id="c-1",
    occurred_at="2026-01-01T00:00:00.000000000Z",
)


class Loopback:
    """An HTTP server that answers with the statuses it is told to, then with 200."""

    def __init__(self):
        self.statuses = []
        self.got = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                size = int(self.headers["Content-Length"])
                outer.got.append((self.path, self.headers, json.loads(self.rfile.read(size))))
                status = outer.statuses.pop(0) if outer.statuses else 200
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_):
                """Says nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}/alarm?team=a"

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def server():
    made = Loopback()
    yield made
    made.close()


@pytest.fixture
def slept():
    return []


def webhook(url, slept, **options):
    async def sleep(delay_s):
        slept.append(delay_s)

    return Webhook(url, sleep=sleep, **options)


@pytest.mark.spec("COMP-10")
async def test_it_is_one_post_of_json_with_all_fields(server, slept):
    await webhook(server.url, slept).escalate(TOLD)

    [(path, headers, body)] = server.got
    assert path == "/alarm?team=a"
    assert headers["Content-Type"] == "application/json"
    assert body == {
        "source_domain": "order",
        "source_root_id": "0f" * 16,
        "source_seq": 4,
        "rejection_reason": "no trucks",
        "compensation_reason": "größer als 50 %",
        "correlation_id": "c-1",
        "occurred_at": "2026-01-01T00:00:00.000000000Z",
    }
    assert slept == []


@pytest.mark.spec("COMP-10")
@pytest.mark.parametrize("status", [500, 502, 503])
async def test_errors_of_the_server_are_tried_three_times(server, slept, status):
    server.statuses = [status] * 3

    with pytest.raises(RemoteError, match=f"answered {status}"):
        await webhook(server.url, slept).escalate(TOLD)

    assert len(server.got) == 3
    assert slept == [0.1, 0.2]


@pytest.mark.spec("COMP-10")
async def test_a_later_attempt_that_succeeds_is_enough(server, slept):
    server.statuses = [500, 204]

    await webhook(server.url, slept).escalate(TOLD)

    assert len(server.got) == 2


@pytest.mark.spec("COMP-10")
@pytest.mark.parametrize("status", [400, 404, 429, 302])
async def test_other_refusals_are_final(server, slept, status):
    server.statuses = [status]

    with pytest.raises(RemoteError, match=f"answered {status}"):
        await webhook(server.url, slept).escalate(TOLD)

    assert len(server.got) == 1
    assert slept == []


@pytest.mark.spec("COMP-10")
async def test_errors_of_the_network_are_tried_three_times(slept):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"

        with pytest.raises(RemoteError, match=url) as caught:
            await webhook(url, slept).escalate(TOLD)

    assert slept == [0.1, 0.2]
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.spec("COMP-10")
async def test_https_is_spoken_where_the_address_says_so(server, slept):
    url = server.url.replace("http:", "https:")

    with pytest.raises(RemoteError) as caught:
        await webhook(url, slept).escalate(TOLD)

    assert isinstance(caught.value.__cause__, ssl.SSLError)


@pytest.mark.spec("COMP-10")
async def test_a_server_that_does_not_answer_is_left_after_the_timeout(slept):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"

        with pytest.raises(RemoteError, match="timed out"):
            await webhook(url, slept, timeout_s=0.01).escalate(TOLD)

    assert slept == [0.1, 0.2]


@pytest.mark.spec("COMP-10")
async def test_the_timeout_is_thirty_seconds():
    assert module.TIMEOUT_S == 30.0
    assert Webhook("https://example.org")._timeout_s == 30.0


@pytest.mark.parametrize("url", ["", "ftp://x/y", "http://", "//x/y", "http://x:99999/", "x"])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(InvalidInput, match="escalation_webhook_url"):
        Webhook(url)
