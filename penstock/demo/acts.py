"""The acts of the story: what happens in each, and the promise it must keep.

An act waits for its promise with a bound, never for luck: it first brings something about, then watches real traffic
until what was promised is seen (or the bound is over), and answers in one sentence what was seen.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from penstock.demo.admin_client import AdminClient, AdminError
from penstock.demo.clusters import SimulatedClusters
from penstock.demo.faults import FaultMode
from penstock.demo.fleet import CLOUD_EU, CLOUD_US, LIST_PRICES, ON_PREM, PRICE_DROP, write_prices
from penstock.demo.gauge import Gauge
from penstock.demo.load import LoadGenerator
from penstock.demo.stage import Stage

EU: Final = "eu/public"
US: Final = "us/public"
EU_RESTRICTED: Final = "eu/restricted"
US_RESTRICTED: Final = "us/restricted"

STEADY_RATES: Final = {EU: 24.0, US: 10.0, EU_RESTRICTED: 4.0, US_RESTRICTED: 3.0}
"""Requests per second: about half of what on-prem can carry (32 tokens a request, half a second each)."""

PEAK_EU_RATE: Final = 95.0
"""More than on-prem can carry alone, and within what this machine can simulate beside everything else."""

BOUND_SECONDS: Final = 45.0
"""How long an act may wait for what it promised. Most take a few seconds; slow machines take longer."""

SETTLED_SECONDS: Final = 3.0
"""How long a new balance must last to count: passing through it on the way elsewhere is not keeping a promise."""

POLL_SECONDS: Final = 0.1

SPILL: Final = 0.08
"""The least share of an edge's traffic that counts as a spill."""

FILLED: Final = 0.3
"""The least share of the EU edge's peak that on-prem serves when it is used as it should be: it can carry 70 %."""

STRAY: Final = 0.02
"""The most that may still be on its way from before."""


@dataclass(slots=True)
class Scene:
    """What the acts play with."""

    load: LoadGenerator
    gauge: Gauge
    clusters: SimulatedClusters
    admin: AdminClient
    stage: Stage
    policies: Path
    prices: dict[str, float]
    """Present price of each cluster, USD per million tokens: what the load generator bills by."""

    def publish_prices(self, prices: dict[str, float]) -> None:
        """Change what the clouds charge."""
        write_prices(self.policies, prices)
        self.prices.update(prices)

    def share(self, traffic: str, cluster: str) -> float:
        """The fraction of a traffic that a cluster served in the window."""
        return self.gauge.window.share(traffic).get(cluster, 0.0)

    async def until(self, seen: Callable[[], bool], *, lasting: float = 0.0, seconds: float = BOUND_SECONDS) -> bool:
        """Watch traffic until a whole window shows something, for ``lasting`` seconds; whether it did in time."""
        self.gauge.forget()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        since: float | None = None
        while loop.time() < deadline:
            if not (self.gauge.filled and seen()):
                since = None
            elif since is None:
                since = loop.time()
            if since is not None and loop.time() - since >= lasting:
                return True
            await self.watch(POLL_SECONDS)
        return False

    async def watch(self, seconds: float) -> None:
        """Let time pass with the figures in view."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while (left := end - loop.time()) > 0:
            self.stage.show(self.gauge, self.load.tally.failed)
            await asyncio.sleep(min(left, POLL_SECONDS))


@dataclass(frozen=True, slots=True)
class Act:
    """One act."""

    name: str
    title: str
    promise: str
    play: Callable[[Scene], Awaitable[tuple[bool, str]]]
    weight: float
    """Its part of the story's time."""
    restricted_may_fail: bool = False
    """Whether restricted traffic may be told 503 in it."""


async def steady(scene: Scene) -> tuple[bool, str]:
    """Everything fits on-prem."""
    for name, rate in STEADY_RATES.items():
        scene.load.set_rate(name, rate)
    scene.publish_prices(dict(LIST_PRICES))
    held = await scene.until(
        lambda: all(scene.share(name, ON_PREM) >= 1 - STRAY for name in (EU, US, EU_RESTRICTED, US_RESTRICTED)),
        lasting=SETTLED_SECONDS,
    )
    return held, f"{scene.share(EU, ON_PREM):.0%} of EU and {scene.share(US, ON_PREM):.0%} of US traffic on-prem"


async def peak(scene: Scene) -> tuple[bool, str]:
    """More than on-prem can carry comes in at the EU edge."""
    scene.load.set_rate(EU, PEAK_EU_RATE)
    held = await scene.until(
        lambda: (
            scene.share(EU, CLOUD_EU) >= SPILL
            and scene.share(EU, CLOUD_US) <= STRAY
            and scene.share(EU, ON_PREM) >= FILLED
        ),
        lasting=SETTLED_SECONDS,
    )
    return held, (
        f"EU edge: {scene.share(EU, ON_PREM):.0%} on-prem, {scene.share(EU, CLOUD_EU):.0%} in {CLOUD_EU}, "
        f"{scene.share(EU, CLOUD_US):.0%} in {CLOUD_US}"
    )


async def price_drop(scene: Scene) -> tuple[bool, str]:
    """The far cloud becomes the cheaper one in spite of the distance."""
    dropped = LIST_PRICES[CLOUD_US] * PRICE_DROP
    scene.publish_prices({**LIST_PRICES, CLOUD_US: dropped})
    held = await scene.until(
        lambda: (
            scene.share(EU, CLOUD_US) >= SPILL
            and scene.share(EU, CLOUD_EU) <= STRAY
            and scene.share(EU, ON_PREM) >= FILLED
        ),
        lasting=SETTLED_SECONDS,
    )
    return held, (
        f"{CLOUD_US} at {dropped:.2f} USD/Mtok: EU edge: {scene.share(EU, ON_PREM):.0%} on-prem, "
        f"{scene.share(EU, CLOUD_EU):.0%} in {CLOUD_EU}, {scene.share(EU, CLOUD_US):.0%} in {CLOUD_US}"
    )


async def cloud_outage(scene: Scene) -> tuple[bool, str]:
    """The cloud that carries the spill goes away."""
    before = scene.load.tally.copy()
    await scene.clusters.set_fault(CLOUD_US, FaultMode.REFUSE)
    try:
        held = await scene.until(
            lambda: scene.share(EU, CLOUD_US) + scene.share(US, CLOUD_US) == 0 and scene.share(EU, CLOUD_EU) >= SPILL
        )
        moved = f"{scene.share(EU, CLOUD_EU):.0%} of EU traffic moved to {CLOUD_EU}"
    finally:
        await scene.clusters.set_fault(CLOUD_US, FaultMode.NONE)
    passed = scene.load.tally.minus(before)
    return held and passed.failed == 0, f"{moved}; {passed.failed} of {passed.requests} requests failed"


async def on_prem_outage(scene: Scene) -> tuple[bool, str]:
    """The only place restricted data may be goes away, and comes back."""
    before = scene.load.tally.copy()
    await scene.clusters.set_fault(ON_PREM, FaultMode.REFUSE)
    try:
        moved = await scene.until(
            lambda: (
                scene.share(EU, ON_PREM) + scene.share(US, ON_PREM) == 0
                and scene.gauge.window.restricted_503 > 0
                and not scene.gauge.window.share(EU_RESTRICTED)
            )
        )
    finally:
        await scene.clusters.set_fault(ON_PREM, FaultMode.NONE)
    during = scene.load.tally.minus(before)
    leaked, leaked_bytes = await scene.clusters.restricted_at_clouds()
    back = await scene.until(
        lambda: (
            scene.gauge.window.restricted_503 == 0
            and scene.share(EU, ON_PREM) >= FILLED
            and bool(scene.gauge.window.share(EU_RESTRICTED))
        )
    )
    passed = scene.load.tally.minus(before)
    held = moved and back and passed.failed == 0 and leaked == 0 and leaked_bytes == 0
    return held, (
        f"{passed.failed} of {passed.requests} requests failed, {during.retried} found another cluster by themselves; "
        f"restricted: {during.restricted_503} told 503, {leaked} requests and {leaked_bytes} bytes at any cloud; "
        f"{'back' if back else 'NOT back'} on-prem"
    )


async def drain(scene: Scene) -> tuple[bool, str]:
    """An operator takes the cloud that carries the spill out of service and puts it back."""
    before = scene.load.tally.copy()
    spilling = await scene.until(lambda: scene.share(EU, CLOUD_US) >= SPILL)
    refusal = await _refused_drain(scene)
    await scene.admin.drain(CLOUD_US, seconds=600, reason="maintenance window")
    try:
        drained = await scene.until(lambda: scene.share(EU, CLOUD_US) + scene.share(US, CLOUD_US) == 0)
        scene.stage.say(f"  drained: {scene.share(EU, CLOUD_EU):.0%} of EU traffic in {CLOUD_EU} meanwhile")
    finally:
        await scene.admin.undrain(CLOUD_US)
    undrained = await scene.until(lambda: scene.share(EU, CLOUD_US) >= SPILL)
    passed = scene.load.tally.minus(before)
    held = spilling and refusal and drained and undrained and passed.failed == 0
    return held, (
        f"drained {'and back' if drained and undrained else 'INCOMPLETELY'}; "
        f"{passed.failed} of {passed.requests} requests failed; "
        f"draining {ON_PREM} {'refused' if refusal else 'NOT refused'} (restricted data has no other place)"
    )


async def _refused_drain(scene: Scene) -> bool:
    try:
        await scene.admin.drain(ON_PREM, seconds=600, reason="would leave restricted traffic nowhere")
    except AdminError as error:
        return error.status == 409
    await scene.admin.undrain(ON_PREM)
    return False


ACTS: Final = (
    Act("steady", "an ordinary day", "everything is served on-prem, where it is cheapest", steady, 1.0),
    Act(
        "peak",
        "a peak at the EU edge",
        f"on-prem stays in use; the overflow goes to the nearest cloud, {CLOUD_EU}, and no further",
        peak,
        2.0,
    ),
    Act(
        "price_drop",
        f"{CLOUD_US} drops its price by 40 %",
        "the overflow follows the price across the ocean, and nothing else moves",
        price_drop,
        2.0,
    ),
    Act("cloud_outage", f"{CLOUD_US} is gone", "not one request fails", cloud_outage, 2.0),
    Act(
        "on_prem_outage",
        f"{ON_PREM} is gone",
        "public requests fail over within the request; restricted ones get 503 and never reach a cloud",
        on_prem_outage,
        2.5,
        restricted_may_fail=True,
    ),
    Act("drain", f"an operator drains {CLOUD_US}, and undrains it", "not one request fails", drain, 2.5),
    Act("steady_again", "the day ends", "everything is back on-prem", steady, 1.5),
)
