import logging

import aiohttp
import pytest

from penstock.admin.address import AddressError, parse_address
from penstock.admin.app import AdminServer
from penstock.admin.metrics import Metrics
from penstock.admin.security import is_loopback
from tests.admin.conftest import Api
from tests.admin.fake_control import FakeControlPlane

WISH = {"cluster": "cloud-eu-west", "reason": "upgrade", "owner": "maria", "for": "2h"}


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_a_foreign_page_cannot_drain(api: Api, control: FakeControlPlane, headers: dict[str, str]) -> None:
    assert (await api.ask("POST", "/api/v1/drains", json=WISH, headers=headers)).status == 403
    assert control.overrides.drains == {}


async def test_our_own_page_can_drain(api: Api) -> None:
    headers = {"Origin": f"http://127.0.0.1:{api.port}", "Sec-Fetch-Site": "same-origin"}
    assert (await api.ask("POST", "/api/v1/drains", json=WISH, headers=headers)).status == 201


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_what_a_form_can_send_is_refused(api: Api, control: FakeControlPlane, kind: str) -> None:
    answer = await api.ask("POST", "/api/v1/drains", data=b'{"cluster": "x"}', headers={"Content-Type": kind})
    assert answer.status == 415
    assert control.overrides.drains == {}


async def test_a_foreign_page_cannot_undrain_by_preflight(api: Api) -> None:
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "DELETE"}
    answer = await api.ask("OPTIONS", "/api/v1/drains/cloud-eu-west", headers=headers)
    assert answer.status >= 400
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("host", ["rebound.example", "rebound.example:80", "127.0.0.1.rebound.example", "[bad", ""])
async def test_a_rebound_host_name_reads_nothing_on_a_loopback_port(api: Api, host: str) -> None:
    answer = await api.get("/api/v1/status", headers={"Host": host})
    assert answer.status == 421


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:18080", "127.0.0.1:9", "[::1]:18080", "localhost."])
async def test_loopback_host_names_are_served(api: Api, host: str) -> None:
    assert (await api.get("/healthz", headers={"Host": host})).status == 200


async def test_a_port_open_to_the_network_serves_any_host_name_and_warns(
    control: FakeControlPlane, caplog: pytest.LogCaptureFixture
) -> None:
    server = AdminServer(control, Metrics())
    _, port = await server.start("0.0.0.0:0")
    try:
        async with aiohttp.ClientSession() as http:
            asked = http.get(f"http://127.0.0.1:{port}/healthz", headers={"Host": "penstock.prod.example"})
            async with asked as response:
                assert response.status == 200
    finally:
        await server.stop()
    assert any("no login" in record.message for record in caplog.records)


async def test_an_unknown_address_and_method_are_problems_too(api: Api) -> None:
    missing = await api.get("/api/v1/nothing")
    assert (missing.status, missing.json["status"], missing.json["title"]) == (404, 404, "Not Found")
    assert missing.headers["Content-Type"].startswith("application/problem+json")
    wrong = await api.ask("PUT", "/api/v1/drains", json={})
    assert (wrong.status, wrong.json["allowed"]) == (405, ["GET", "HEAD", "POST"])
    assert "POST" in wrong.headers["Allow"]


async def test_a_body_past_the_limit_is_413(api: Api) -> None:
    answer = await api.ask("POST", "/api/v1/drains", json={**WISH, "reason": "x" * 70_000})
    assert answer.status == 413
    assert answer.json["detail"] == "the request body is too large"


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limti=5", "limit=1&limit=2", "before=nan"])
async def test_a_wrong_query_is_refused(api: Api, query: str) -> None:
    assert (await api.get(f"/api/v1/decisions?{query}")).status == 422


async def test_a_defect_shows_an_id_that_is_in_the_log_and_nothing_else(
    api: Api, control: FakeControlPlane, caplog: pytest.LogCaptureFixture
) -> None:
    control.bug = RuntimeError("password is hunter2")
    with caplog.at_level(logging.ERROR):
        answer = await api.get("/api/v1/nodes")
    assert answer.status == 500
    assert "hunter2" not in answer.text
    logged = [record for record in caplog.records if getattr(record, "error_id", None) == answer.json["errorId"]]
    assert len(logged) == 1


async def test_every_answer_carries_the_security_headers(api: Api) -> None:
    for path in ("/", "/api/v1/status", "/nothing"):
        headers = (await api.get(path)).headers
        assert "script-src 'self'" in headers["Content-Security-Policy"]
        assert "unsafe-eval" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Server"] == "penstock"
        assert headers["Cache-Control"] in ("no-store", "no-cache")


@pytest.mark.parametrize(
    ("address", "expected"),
    [("127.0.0.1:18080", ("127.0.0.1", 18080)), ("[::1]:0", ("::1", 0)), ("host.example:1", ("host.example", 1))],
)
def test_addresses_are_host_and_port(address: str, expected: tuple[str, int]) -> None:
    assert parse_address(address) == expected


@pytest.mark.parametrize("address", ["", "18080", ":18080", "host:", "host:x", "host:70000", "::1:80", "host:-1"])
def test_anything_else_is_no_address(address: str) -> None:
    with pytest.raises(AddressError):
        parse_address(address)


def test_loopback_is_known_by_name_and_by_address() -> None:
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.8.8.8", "::1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "localhost.example", "")))  # noqa: S104
