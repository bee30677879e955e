"""Model Envoys in one group of a cache, with the time in the test's hands.

Each is a `transcript.Client` whose snapshots come from the cache. Like a session, it takes the latest one out of its
mailbox when it gets round to it, and tells the group what was answered.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from penstock_xds import Membership, Refusal, Resource, Snapshot, SnapshotCache, Variant
from penstock_xds.core.messages import Acked, Nacked, Response
from penstock_xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from tests.xds.transcript import Client

GROUP = "edge"
UNIX_MINUS_MONOTONIC = 1_700_000_000.0


@dataclass
class Timer:
    at: float
    callback: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class Clock:
    now: float = 1000.0
    timers: list[Timer] = field(default_factory=list)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(self.now + seconds, callback)
        self.timers.append(timer)
        return timer

    def pending(self) -> list[Timer]:
        return sorted((t for t in self.timers if not t.cancelled), key=lambda t: t.at)

    def advance(self, seconds: float) -> None:
        until = self.now + seconds
        while (pending := self.pending()) and pending[0].at <= until:
            self.now = max(self.now, pending[0].at)
            self.timers.remove(pending[0])
            pending[0].callback()
        self.now = until


@dataclass
class Told:
    """A cache listener that writes down."""

    quarantined: list[Refusal] = field(default_factory=list)
    released: list[Refusal] = field(default_factory=list)

    def on_quarantine(self, refusal: Refusal) -> None:
        self.quarantined.append(refusal)

    def on_release(self, refusal: Refusal) -> None:
        self.released.append(refusal)


class Fleet:
    """A cache, its clock and its Envoys."""

    def __init__(self, listener: Told | None = None, **options: Any) -> None:
        self.clock = Clock()
        self.told = Told()
        self.cache = SnapshotCache(
            listener=listener if listener is not None else self.told,
            clock=lambda: self.clock.now,
            wall_clock=lambda: self.clock.now + UNIX_MINUS_MONOTONIC,
            call_later=self.clock.call_later,
            **options,
        )
        self.envoys: list[Envoy] = []

    def envoy(self, variant: Variant = Variant.DELTA, *, subscribed: bool = True) -> "Envoy":
        envoy = Envoy(self, f"n{len(self.envoys)}", variant)
        self.envoys.append(envoy)
        if subscribed:
            envoy.asks()
        return envoy

    def publish(self, *resources: Resource, **options: Any) -> Snapshot:
        snapshot = Snapshot.of(resources)
        self.cache.publish(GROUP, snapshot, **options)
        return snapshot

    def served(self) -> Snapshot:
        served = self.cache.get(GROUP)
        assert served is not None
        return served

    def settle(self) -> None:
        """Let all take and answer everything there is for them now."""
        for _ in range(1000):
            self.deliver()
            busy = [envoy for envoy in self.envoys if envoy.has_work()]
            if not busy:
                return
            for envoy in busy:
                envoy.works()
        raise AssertionError("the fleet never comes to rest")

    def deliver(self) -> None:
        """Let all take their mail, so that they are sent what it brings; nobody answers yet."""
        for envoy in self.envoys:
            envoy.takes_mail()

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        for envoy in self.envoys:
            envoy.now = max(envoy.now, self.clock.now)


class Envoy(Client):
    """Subscribes as Envoy does, and refuses what contains its own name behind `!`, or `!all`."""

    def __init__(self, fleet: Fleet, node_id: str, variant: Variant) -> None:
        super().__init__(variant)
        self.fleet = fleet
        self.node_id = node_id
        self.now = fleet.clock.now
        self.mail: Snapshot | None = None
        self.watch_targets: Callable[[Envoy, Snapshot], None] | None = None
        self.deaf = False
        """Takes responses and answers none."""
        self.watch_sends: Callable[[Envoy, Response], None] | None = None
        self.membership: Membership | None = None
        self.streams = 0
        self.connects()

    def connects(self) -> None:
        self.streams += 1
        self.asked_for: set[str] = set()
        self.membership = self.fleet.cache.join(
            GROUP,
            f"{self.node_id}.{self.streams}",
            self._take_mail,
            node_id=self.node_id,
            client=self.core,
            retry=lambda type_url, name, version: self.core.forgive(type_url, name, version, self.fleet.clock.now),
        )

    def asks(self) -> None:
        self.subscribes(CLUSTER)
        self.subscribes(LISTENER)
        self.subscribes(ROUTE, "r1", "r2")

    def leaves(self) -> None:
        assert self.membership is not None
        self.membership.leave()
        self.membership = self.mail = None
        self.inbox.clear()

    def comes_back(self) -> None:
        """Connect again, holding what it holds."""
        if self.membership is not None:
            self.leaves()
        self.snapshot = None
        self.reconnects()
        self.connects()
        self.resubscribes(*(t for t in (CLUSTER, ENDPOINT, LISTENER, ROUTE) if t in self.types))

    def takes_mail(self) -> None:
        if self.mail is not None:
            self._poll()

    def has_work(self) -> bool:
        return self.membership is not None and (bool(self.inbox) or self.mail is not None or self._due())

    def works(self) -> None:
        """Take the mail and answer one response, if there is one."""
        if self._due():
            self.time_comes()
            self.fleet.clock.now = max(self.fleet.clock.now, self.now)
        self._poll()
        if self.inbox:
            self.answers()

    def answers(self) -> None:
        response = self.takes_next()
        if self.deaf:
            return
        type_url = response.type_url
        bad = [r for r in response.resources if self.refuses(r) and self.has(type_url).get(r.name) != r]
        before = set(self.has(CLUSTER))
        if bad:
            # Envoy applies the good ones of a response it refuses.
            refused = {r.name for r in bad}
            self.has(type_url).update({r.name: r for r in response.resources if r.name not in refused})
            self.nacks(type_url, f"bad: {', '.join(r.name for r in bad)}")
        else:
            self.acks(type_url)
        if type_url == CLUSTER:
            self._follow_clusters(before)

    def refuses(self, resource: Resource) -> bool:
        return f"!{self.node_id}".encode() in resource.body or b"!all" in resource.body

    def holds(self, type_url: str) -> dict[str, str]:
        """Name to version."""
        return {name: resource.version for name, resource in self.has(type_url).items()}

    def _follow_clusters(self, before: Iterable[str]) -> None:
        after = set(self.has(CLUSTER))
        if after - set(before):
            self.subscribes(ENDPOINT, *sorted(after - set(before)))
        if set(before) - after:
            self.unsubscribes(ENDPOINT, *sorted(set(before) - after))

    def _due(self) -> bool:
        deadline = self.core.next_deadline()
        return deadline is not None and deadline > self.now and not self.inbox and self.mail is None

    def _take_mail(self, snapshot: Snapshot) -> None:
        self.mail = snapshot
        if self.watch_targets is not None:
            self.watch_targets(self, snapshot)

    def _say(self, *args: Any, **kwargs: Any) -> None:
        # As a session does: first what the answer means to the group, then what to send.
        self.events.clear()
        self._polls = False
        super()._say(*args, **kwargs)
        self._polls = True
        if self.membership is not None and args[0] not in self.asked_for:
            self.asked_for.add(args[0])
            self.membership.asked()
        for event in self.events:
            if self.membership is not None:
                if isinstance(event, Acked):
                    self.membership.acked(event)
                elif isinstance(event, Nacked):
                    self.membership.nacked(event)
        self._poll()

    _polls = True

    def _poll(self) -> None:
        if not self._polls or self.membership is None:
            return
        if self.mail is not None:
            self.snapshot, self.mail = self.mail, None
            self.core.want(self.snapshot, self.now)
        sent = self.core.poll(self.now)
        for response in sent:
            if self.watch_sends is not None:
                self.watch_sends(self, response)
        self.inbox += sent
