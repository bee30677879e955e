"""A client and a stream core talking, written down as a transcript.

    client.subscribes(CLUSTER)
    client.publishes(cluster("a"))
    client.receives(CLUSTER, "a")
    client.acks(CLUSTER)
    client.receives_nothing()

The same transcript runs over State of the World and Delta: it speaks of what a client asks for and what is news to it,
and leaves to the variant how that is put in messages. The client keeps what it is sent, as Envoy would.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from penstock_xds import Resource, Snapshot, SyncStatus, TypeView, Variant
from penstock_xds.core.features import BASE_PROTOCOL, Features
from penstock_xds.core.life_cycle import STEPS
from penstock_xds.core.messages import DeltaRequest, Event, ResourceError, Response, SotwRequest
from penstock_xds.core.order import rule_for
from penstock_xds.core.stream import StreamCore
from penstock_xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE

PHASE_TIMEOUT = 20.0

LEGAL_STEPS = {(step.start, step.end) for step in STEPS}


def cluster(name: str, content: str = "") -> Resource:
    return Resource(CLUSTER, name, f"\x00cluster {name} {content}".encode())


def endpoints(name: str, content: str = "") -> Resource:
    return Resource(ENDPOINT, name, f"\x00endpoints {name} {content}".encode())


def route(name: str, *clusters: str, content: str = "") -> Resource:
    return Resource(ROUTE, name, f"\x00route {name} {content} to <{'> <'.join(clusters)}>".encode())


def listener(name: str, *routes: str, content: str = "") -> Resource:
    return Resource(LISTENER, name, f"\x00listener {name} {content} by <{'> <'.join(routes)}>".encode())


@dataclass
class Held:
    """What the client knows of one type."""

    asked: bool = False
    wildcard: bool = False
    names: set[str] = field(default_factory=set)
    resources: dict[str, Resource] = field(default_factory=dict)
    """Accepted ones only: a refused response leaves them as they were."""
    versions: dict[str, str] = field(default_factory=dict)
    version: str = ""
    nonce: str = ""


class Client:
    def __init__(
        self,
        variant: Variant,
        *,
        aggregated: bool = True,
        phase_timeout: float = PHASE_TIMEOUT,
        features: Features = BASE_PROTOCOL,
    ) -> None:
        self.variant = variant
        self.now = 1000.0
        self.types: dict[str, Held] = {}
        self.inbox: list[Response] = []
        self.unanswered: dict[str, Response] = {}
        self.events: list[Event] = []
        self.snapshot: Snapshot | None = None
        self._streams = 0
        self._aggregated = aggregated
        self._phase_timeout = phase_timeout
        self._features = features
        self.statuses: dict[str, SyncStatus] = {}
        self.core = self._new_core()

    def _new_core(self) -> StreamCore:
        self._streams += 1
        self.statuses.clear()
        return StreamCore(
            self.variant,
            nonce_prefix=f"{self._streams}-",
            opened_at=self.now,
            phase_timeout=self._phase_timeout,
            aggregated=self._aggregated,
            features=self._features,
        )

    def _held(self, type_url: str) -> Held:
        return self.types.setdefault(type_url, Held())

    # What the operator of the server does

    def publishes(
        self,
        *resources: Resource,
        tolerated: Mapping[tuple[str, str], str] = MappingProxyType({}),
        errors: Iterable[ResourceError] = (),
    ) -> None:
        self.snapshot = Snapshot.of(resources, tolerated=tolerated, errors=errors)
        self.core.want(self.snapshot, self.now)
        self._poll()

    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self._poll()

    def time_comes(self) -> None:
        """Let time pass up to the next deadline of the core."""
        deadline = self.core.next_deadline()
        assert deadline is not None, "the core waits for nothing"
        assert deadline > self.now, "the core's deadline has passed"
        self.now = deadline
        self._poll()

    # What the client says

    def subscribes(self, type_url: str, *names: str) -> None:
        """Ask for more names; without any, for everything by the legacy wildcard."""
        held = self._held(type_url)
        if not names:
            assert not held.asked
            held.wildcard = True
        held.wildcard = held.wildcard or "*" in names
        held.names |= set(names)
        self._say(type_url, subscribe=names)

    def unsubscribes(self, type_url: str, *names: str) -> None:
        held = self._held(type_url)
        held.names -= set(names)
        if "*" in names:
            held.wildcard = False
        for name in names:
            if not held.wildcard:
                held.resources.pop(name, None)
        self._say(type_url, unsubscribe=names)

    def acks(self, type_url: str, *, subscribing: Iterable[str] = ()) -> None:
        response = self.unanswered.pop(type_url)
        self._apply(response)
        self._held(type_url).version = response.version
        self._held(type_url).nonce = response.nonce
        self._held(type_url).names |= set(subscribing)
        self._say(type_url, subscribe=tuple(subscribing), nonce=response.nonce)

    def nacks(self, type_url: str, message: str = "bad resource", *, subscribing: Iterable[str] = ()) -> None:
        response = self.unanswered.pop(type_url)
        self._held(type_url).nonce = response.nonce
        self._held(type_url).names |= set(subscribing)
        self._say(type_url, subscribe=tuple(subscribing), nonce=response.nonce, error=message)

    def says_with_nonce(self, type_url: str, nonce: str, *, subscribing: Iterable[str] = ()) -> None:
        self._held(type_url).names |= set(subscribing)
        self._say(type_url, subscribe=tuple(subscribing), nonce=nonce)

    def reconnects(self, *, to_another_server: bool = False) -> None:
        """Lose the stream; keep subscriptions and resources. Ask again with `resubscribes`."""
        self.core = self._new_core()
        self.unanswered.clear()
        self.inbox.clear()
        if self.snapshot is not None and not to_another_server:
            self.core.want(self.snapshot, self.now)
        for held in self.types.values():
            held.nonce = ""
            held.asked = False

    def resubscribes(self, *types: str) -> None:
        for type_url in types or tuple(self.types):
            held = self._held(type_url)
            names = tuple(sorted(held.names))
            self._say(type_url, subscribe=names, initial={n: r.version for n, r in held.resources.items()})

    # What the client hears

    def receives(
        self,
        type_url: str,
        *names: str,
        gone: Iterable[str] = (),
        errors: Iterable[str] = (),
        beats: Iterable[str] = (),
    ) -> Response:
        """Expect the next response to be of this type, with these names as news.

        And with those that are gone, those told to be in error, and those to be kept for longer.
        """
        assert self.inbox, f"nothing was sent; expected {type_url} {names}"
        response = self.inbox.pop(0)
        assert response.type_url == type_url, f"got {response}"
        assert sorted(self._news(response)) == sorted(names), f"got {response}"
        assert sorted(self._losses(response)) == sorted(gone), f"got {response}"
        assert sorted(e.name for e in response.errors) == sorted(errors), f"got {response}"
        assert sorted(r.name for r in response.heartbeats) == sorted(beats), f"got {response}"
        self.unanswered[type_url] = response
        return response

    def takes_next(self) -> Response:
        """Take the next response, whatever it is."""
        response = self.inbox.pop(0)
        self.unanswered[response.type_url] = response
        return response

    def loses(self, response: Response) -> list[str]:
        """What the client has to drop when it accepts the response."""
        return self._losses(response)

    def receives_nothing(self) -> None:
        assert self.inbox == []

    def view(self, type_url: str) -> TypeView:
        return next(v for v in self.core.views() if v.type_url == type_url)

    def has(self, type_url: str) -> dict[str, Resource]:
        return self._held(type_url).resources

    def _news(self, response: Response) -> list[str]:
        if not self._is_full(response):
            return [r.name for r in response.resources]
        # In a full-state response, what the client holds already is no news.
        held = self._held(response.type_url).resources
        pending = self.unanswered.get(response.type_url)
        seen = {**held, **({r.name: r for r in pending.resources} if pending else {})}
        return [r.name for r in response.resources if seen.get(r.name) != r]

    def _losses(self, response: Response) -> list[str]:
        if not self._is_full(response):
            return list(response.removed)
        present = {r.name for r in response.resources}
        return [n for n in self._held(response.type_url).resources if n not in present]

    def _is_full(self, response: Response) -> bool:
        return self.variant is Variant.SOTW and rule_for(response.type_url).full_state

    def _apply(self, response: Response) -> None:
        held = self._held(response.type_url)
        for name in self._losses(response):
            held.resources.pop(name, None)
        held.resources.update({r.name: r for r in response.resources})

    def _say(
        self,
        type_url: str,
        *,
        subscribe: Iterable[str] = (),
        unsubscribe: Iterable[str] = (),
        nonce: str | None = None,
        initial: dict[str, str] | None = None,
        error: str | None = None,
    ) -> None:
        held = self._held(type_url)
        held.asked = True
        request: SotwRequest | DeltaRequest
        if self.variant is Variant.SOTW:
            request = SotwRequest(
                type_url,
                version=held.version,
                nonce=held.nonce if nonce is None else nonce,
                names=tuple(sorted(held.names)),
                error=error,
            )
        else:
            request = DeltaRequest(
                type_url,
                nonce=nonce or "",
                subscribe=tuple(subscribe),
                unsubscribe=tuple(unsubscribe),
                initial_versions=initial or {},
                error=error,
            )
        self.events += self.core.receive(request, self.now)
        self._poll()

    def _poll(self) -> None:
        self.inbox += self.core.poll(self.now)
        for view in self.core.views():
            before = self.statuses.get(view.type_url, SyncStatus.NOT_SENT)
            assert before is view.status or (before, view.status) in LEGAL_STEPS, f"{before} to {view.status}"
            self.statuses[view.type_url] = view.status
        assert self.core.poll(self.now) == [], "a second look at the same state found more to send"
