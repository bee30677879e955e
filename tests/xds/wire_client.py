"""A model client whose messages take their time: what it says and what it hears is in flight until it is delivered.

Each stream has two queues, in order, as gRPC streams are. Since the client goes on changing its mind while messages are
under way, its requests carry nonces the server has moved on from. It keeps what it accepts, as Envoy does, and comes in
every kind: State of the World and Delta, on one stream, on one per type, and on one per resource.
"""

from collections import Counter, deque
from dataclasses import dataclass, field
from enum import StrEnum

from penstock_xds import Resource, Snapshot, Variant
from penstock_xds.core.family import Family
from penstock_xds.core.messages import DeltaRequest, Response, SotwRequest
from penstock_xds.core.order import rule_for
from penstock_xds.core.stream import StreamCore
from penstock_xds.types import ENDPOINT, ROUTE

PHASE_TIMEOUT = 20.0


class Streams(StrEnum):
    """How a client spreads what it asks for over streams."""

    ONE = "ads"
    PER_TYPE = "per-type"
    PER_RESOURCE = "per-resource"


@dataclass
class Sub:
    """What the client asks for and holds of one type."""

    wildcard: bool = False
    names: set[str] = field(default_factory=set)
    held: dict[str, Resource] = field(default_factory=dict)
    """Accepted, and not given up since."""
    answered: set[str] = field(default_factory=set)
    """Names that ever got an answer of any kind."""


@dataclass
class Stream:
    """One stream, both ends."""

    core: StreamCore
    requests: deque[SotwRequest | DeltaRequest] = field(default_factory=deque)
    responses: deque[Response] = field(default_factory=deque)
    nonces: dict[str, str] = field(default_factory=dict)
    """The last one heard, by type."""
    versions: dict[str, str] = field(default_factory=dict)
    """State of the World: the last version accepted, by type; survives a reconnection."""


StreamKey = tuple[str, str]


class WireClient:
    def __init__(self, variant: Variant, streams: Streams) -> None:
        self.variant = variant
        self.now = 1000.0
        self.subs: dict[str, Sub] = {}
        self.streams: dict[StreamKey, Stream] = {}
        self.snapshot: Snapshot | None = None
        self.causes: Counter[tuple[str, str]] = Counter()
        """How often each resource may come unchanged."""
        self._spread = streams
        self._family: Family | None = None if streams is Streams.ONE else Family()
        self._opened = 0

    # The server's operator

    def publish(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        for stream in self.streams.values():
            stream.core.want(snapshot, self.now)
        self._look()

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self._look()

    def next_deadline(self) -> float | None:
        return min((d for s in self.streams.values() if (d := s.core.next_deadline()) is not None), default=None)

    def _look(self) -> None:
        """Let every stream say what it has to say, again while one has moved another."""
        moved = True
        while moved:
            moved = False
            for stream in self.streams.values():
                responses = stream.core.poll(self.now)
                stream.responses.extend(responses)
                moved = moved or (bool(responses) and self._family is not None)

    # What the client asks for

    def sub(self, type_url: str) -> Sub:
        return self.subs.setdefault(type_url, Sub())

    def ask_all(self, type_url: str) -> None:
        self.sub(type_url).wildcard = True
        self._say(self._key(type_url, ""), type_url)

    def ask(self, type_url: str, *names: str) -> None:
        sub = self.sub(type_url)
        sub.names.update(names)
        for name in names:
            self.causes[type_url, name] += 1
        for key, some in self._by_stream(type_url, names).items():
            self._say(key, type_url, subscribe=some)

    def give_up(self, type_url: str, *names: str) -> None:
        sub = self.sub(type_url)
        sub.names.difference_update(names)
        for name in names:
            sub.held.pop(name, None)
        for key, some in self._by_stream(type_url, names).items():
            if key[1]:
                self._close(key)
            else:
                self._say(key, type_url, unsubscribe=some)

    def reconnect(self, only: StreamKey | None = None) -> None:
        """Lose all streams, or one of several, with what is in flight; come back with what is held."""
        lost = list(self.streams) if only is None else [only]
        versions = {key: self._close(key).versions for key in lost}
        if only is None and self._family is not None:
            self._family = Family()
        for key in lost:
            self._open(key).versions = versions[key]
        for type_url, sub in self.subs.items():
            by_stream = {self._key(type_url, ""): set[str]()} if sub.wildcard else self._by_stream(type_url, sub.names)
            for key, names in by_stream.items():
                if key in lost:
                    if self.variant is Variant.SOTW:
                        self.causes.update((type_url, n) for n in names)
                    initial = {n: r.version for n, r in sub.held.items() if sub.wildcard or n in names}
                    self._say(key, type_url, subscribe=names, initial=initial)

    def _key(self, type_url: str, name: str) -> StreamKey:
        if self._spread is Streams.ONE:
            return ("", "")
        per_resource = self._spread is Streams.PER_RESOURCE and type_url in (ENDPOINT, ROUTE)
        return (type_url, name if per_resource else "")

    def _by_stream(self, type_url: str, names: "set[str] | tuple[str, ...]") -> dict[StreamKey, set[str]]:
        found: dict[StreamKey, set[str]] = {}
        for name in sorted(names):
            found.setdefault(self._key(type_url, name), set()).add(name)
        return found

    def _open(self, key: StreamKey) -> Stream:
        self._opened += 1
        core = StreamCore(
            self.variant,
            nonce_prefix=f"{self._opened}-",
            opened_at=self.now,
            phase_timeout=PHASE_TIMEOUT,
            aggregated=self._spread is Streams.ONE,
            family=self._family,
        )
        if self.snapshot is not None:
            core.want(self.snapshot, self.now)
        self.streams[key] = Stream(core)
        return self.streams[key]

    def _close(self, key: StreamKey) -> Stream:
        stream = self.streams.pop(key)
        stream.core.leave()
        self._look()
        return stream

    def _say(
        self,
        key: StreamKey,
        type_url: str,
        *,
        subscribe: "set[str] | None" = None,
        unsubscribe: "set[str] | None" = None,
        initial: dict[str, str] | None = None,
        answering: str = "",
        error: str | None = None,
    ) -> None:
        stream = self.streams.get(key) or self._open(key)
        sub = self.sub(type_url)
        if self.variant is Variant.SOTW:
            names = () if sub.wildcard else tuple(sorted(n for n in sub.names if self._key(type_url, n) == key))
            version = stream.versions.get(type_url, "")
            stream.requests.append(SotwRequest(type_url, version, stream.nonces.get(type_url, ""), names, error))
        else:
            stream.requests.append(
                DeltaRequest(
                    type_url,
                    answering,
                    tuple(sorted(subscribe or ())),
                    tuple(sorted(unsubscribe or ())),
                    initial or {},
                    error,
                )
            )

    # What is in flight

    def with_requests(self) -> list[StreamKey]:
        return sorted(k for k, s in self.streams.items() if s.requests)

    def with_responses(self) -> list[StreamKey]:
        return sorted(k for k, s in self.streams.items() if s.responses)

    def deliver_request(self, key: StreamKey) -> None:
        stream = self.streams[key]
        stream.core.receive(stream.requests.popleft(), self.now)
        self._look()

    def hear(self, key: StreamKey) -> Response:
        """Take the next response of a stream, for `accept` or `refuse`."""
        response = self.streams[key].responses.popleft()
        self.streams[key].nonces[response.type_url] = response.nonce
        return response

    def settle(self) -> None:
        """Deliver all there is and accept it, and let time pass as the server asks for, until all is quiet."""
        while True:
            if self.with_requests():
                self.deliver_request(self.with_requests()[0])
            elif self.with_responses():
                key = self.with_responses()[0]
                self.accept(key, self.hear(key))
            elif (deadline := self.next_deadline()) is not None:
                assert deadline > self.now, "the core's deadline has passed"
                self.pass_time(deadline - self.now)
            else:
                return

    def is_full(self, type_url: str) -> bool:
        return self.variant is Variant.SOTW and rule_for(type_url).full_state

    def losses(self, response: Response) -> set[str]:
        """What the client has to drop when it accepts the response."""
        held = self.sub(response.type_url).held
        if self.is_full(response.type_url):
            return held.keys() - {r.name for r in response.resources}
        return held.keys() & set(response.removed)

    def accept(self, key: StreamKey, response: Response) -> None:
        sub = self.sub(response.type_url)
        for name in self.losses(response):
            del sub.held[name]
        self._take(sub, response, {r.name for r in response.resources})
        self.streams[key].versions[response.type_url] = response.version
        self._say(key, response.type_url, answering=response.nonce)

    def refuse(self, key: StreamKey, response: Response, bad: set[str]) -> None:
        """Refuse the bad ones and take the others, as Envoy does."""
        sub = self.sub(response.type_url)
        self._take(sub, response, {r.name for r in response.resources} - bad)
        self._say(key, response.type_url, answering=response.nonce, error=f"bad: {', '.join(sorted(bad))}")

    def _take(self, sub: Sub, response: Response, names: set[str]) -> None:
        sub.answered |= {r.name for r in response.resources} | set(response.removed)
        for resource in response.resources:
            # What the client has given up meanwhile is nothing to it.
            if resource.name in names and (sub.wildcard or resource.name in sub.names):
                sub.held[resource.name] = resource
