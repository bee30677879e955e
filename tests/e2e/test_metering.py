"""What requests came to arrives through access logs, nothing of what they said does, and no log holds a request up."""

import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from penstock.demo.faults import Fault, FaultMode
from tests.e2e.edge import MODEL, Edge, running_edge
from tests.e2e.traffic import served, traffic

pytestmark = pytest.mark.e2e

SECRETS = {
    "prompt": "kingfisher-under-the-weir",
    "query": "heron-on-the-sluice",
    "credential": "otter-in-the-millpond",
    "agent": "eel-in-the-tailrace",
    "user": "dipper-at-the-ford",
}
PROMPT = 400
"""Characters of the prompt, a hundred tokens by the simulator's measure."""

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scraped(edge: Edge) -> tuple[str, Samples]:
    """The metrics page, as text and by name and labels."""
    async with edge.http.get(f"{edge.admin}/metrics") as answer:
        text = await answer.text()
    families = text_string_to_metric_families(text)
    return text, {(one.name, frozenset(one.labels.items())): one.value for of in families for one in of.samples}


async def counted(edge: Edge, name: str, **labels: str) -> float:
    """One sample of the metrics page; 0 when it is not there yet."""
    return (await scraped(edge))[1].get((f"penstock_{name}", frozenset(labels.items())), 0.0)


async def until(edge: Edge, value: float, name: str, **labels: str) -> None:
    """Wait for a sample's value."""

    async def reached() -> bool:
        return await counted(edge, name, **labels) == value

    await edge.until(reached, f"{name} {labels} is {await counted(edge, name, **labels)}, not {value}")


async def say(edge: Edge, *, port: int | None = None, stream: bool = False, usage: bool = True) -> None:
    """A request for ten tokens with secrets in every place that has any."""
    body: dict[str, Any] = {
        "model": MODEL,
        "max_tokens": 10,
        "user": SECRETS["user"],
        "messages": [{"role": "user", "content": SECRETS["prompt"].ljust(PROMPT, ".")}],
    }
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": usage}}
    url = f"http://127.0.0.1:{port or edge.public_port}/v1/chat/completions?q={SECRETS['query']}"
    headers = {
        "content-type": "application/json",
        "authorization": f"Bearer {SECRETS['credential']}",
        "user-agent": SECRETS["agent"],
        "referer": f"https://example.com/{SECRETS['query']}",
        # What clients' SDKs send; providers compress for it.
        "accept-encoding": "gzip, deflate",
    }
    async with edge.http.post(url, data=json.dumps(body), headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        await answer.read()


def measured_in_ledger(database: Path) -> dict[tuple[str, ...], tuple[float, ...]]:
    """Requests, and tokens of both kinds together, by policy, class, cluster and site; estimates left out."""
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(
            "SELECT policy, data_class, cluster, site, SUM(requests - estimated_requests),"
            " SUM(prompt_tokens + output_tokens - estimated_tokens) FROM ledger GROUP BY 1, 2, 3, 4"
        )
        return {tuple(names): (round(requests, 6), round(tokens, 6)) for *names, requests, tokens in rows}


def kept_files(home: Path) -> dict[str, bytes]:
    """The server's log and all of its store."""
    kept = {each.name: each.read_bytes() for each in home.iterdir() if each.is_file()}
    assert {"penstock.log", "state.db"} <= set(kept)
    return kept


def assert_no_secret(kept: dict[str, bytes]) -> None:
    for what, text in kept.items():
        for kind, secret in SECRETS.items():
            assert secret.encode() not in text, f"{kind} in {what}"


async def test_tokens_arrive_under_who_asked_and_who_answered_and_nothing_else_does(tmp_path: Path) -> None:
    async with running_edge(tmp_path) as edge:
        chat = {"policy": "chat", "cluster": "onprem-fra"}
        await say(edge)
        await say(edge, stream=True)
        await until(edge, 200, "metered_tokens_total", **chat, kind="prompt")
        await until(edge, 20, "metered_tokens_total", **chat, kind="output")
        await until(edge, 1, "ttft_seconds_count", cluster="onprem-fra")
        await until(edge, 2, "request_seconds_count", cluster="onprem-fra")
        await until(edge, 1, "region_metered", region="eu-west")

        # Another policy, class and listener, where the model is not the policy's to name.
        await say(edge, port=edge.internal_port)
        await until(edge, 10, "metered_tokens_total", policy="records", cluster="onprem-fra", kind="output")

        # A client that does not ask for usage: vLLM says none.
        await say(edge, stream=True, usage=False)
        await until(edge, 1, "requests_unmetered_total", **chat)
        await until(edge, 3, "requests_total", **chat)

        # One that leaves in the middle: nobody failed, and what was seen of its answer had no usage in it.
        body = {"model": MODEL, "max_tokens": 4000, "stream": True, "messages": [{"role": "user", "content": "hello"}]}
        async with edge.http.post(f"http://127.0.0.1:{edge.public_port}/v1/chat/completions", json=body) as answer:
            await answer.content.readany()
        await until(edge, 2, "requests_unmetered_total", **chat)
        assert await counted(edge, "requests_failed_total", **chat) == 0
        assert await counted(edge, "ttft_seconds_count", cluster="onprem-fra") == 3

        # The first cluster fails, the leg goes on to the next: the answer is the next one's.
        await edge.clusters["onprem-fra"].set_fault(Fault(FaultMode.ERROR_503))
        await say(edge)
        await until(edge, 10, "metered_tokens_total", policy="chat", cluster="cloud-eu-west", kind="output")
        await until(edge, 4, "requests_total", **chat)

        # The edge's own answers are not logged at all, so that no name a client makes up goes anywhere.
        status, _, _ = await edge.chat(model=SECRETS["prompt"])
        assert status == 404
        await say(edge, stream=True)
        await until(edge, 20, "metered_tokens_total", policy="chat", cluster="cloud-eu-west", kind="output")
        assert await counted(edge, "access_log_entries_total", outcome="counted") == 7
        for outcome in ("shed", "unplaced", "unknown"):
            assert await counted(edge, "access_log_entries_total", outcome=outcome) == 0
        assert await counted(edge, "access_log_refused_figures_total") == 0

        page, _ = await scraped(edge)
        await edge.stop_serving()
        assert_no_secret({"metrics": page.encode(), **kept_files(tmp_path)})
    # What was counted, beside what was estimated before the first log arrived, is in the ledger once.
    assert measured_in_ledger(tmp_path / "state.db") == {
        ("chat", "public", "onprem-fra", "on_prem"): (4, 220),
        ("chat", "public", "cloud-eu-west", "cloud"): (2, 220),
        ("records", "restricted", "onprem-fra", "on_prem"): (1, 110),
    }


async def test_no_request_waits_for_a_control_plane_that_is_gone_or_hangs(tmp_path: Path) -> None:
    async with running_edge(tmp_path) as edge, traffic(edge) as tally:
        await served(edge, tally, 100)
        server = edge.server
        assert server is not None
        server.send_signal(signal.SIGSTOP)  # connections stay open and nobody reads
        try:
            await served(edge, tally, 500)
        finally:
            server.send_signal(signal.SIGCONT)
        await edge.stop_serving(signal.SIGKILL)
        await served(edge, tally, 500)
        await edge.serve()

        async def heard() -> bool:
            return await counted(edge, "access_log_entries_total", outcome="counted") > 0

        await edge.until(heard, "access logs did not come back")
    assert not tally.failed
