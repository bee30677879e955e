"""The xDS server: a thin gRPC shell that lets clients in and has a Session serve each.

Everything runs on the event loop that called `start`. It serves State of the World and Delta, aggregated (ADS) and one
stream per type, client status (CSDS), health and reflection, all on one port.
"""

import asyncio
import logging
import random
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import grpc
from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from penstock_xds import transport
from penstock_xds.admission import Admission
from penstock_xds.ageing import Ageing
from penstock_xds.cache import SnapshotCache
from penstock_xds.core.features import Features
from penstock_xds.core.messages import ResourceView
from penstock_xds.core.stream import StreamCore
from penstock_xds.csds import ClientStatus
from penstock_xds.discovery import DiscoveryHandler, GenericHandler
from penstock_xds.doorkeeper import Doorkeeper
from penstock_xds.draining import drain, farewell
from penstock_xds.entrance import Entrance, Newcomer
from penstock_xds.errors import BindError
from penstock_xds.households import Households
from penstock_xds.node import Node
from penstock_xds.patrol import Patrol
from penstock_xds.reflection import add_reflection
from penstock_xds.security import Authenticator
from penstock_xds.services import METHODS, Method
from penstock_xds.session import Context, Ending, Session, Surroundings
from penstock_xds.views import Client, Listener, StreamView, tell
from penstock_xds.wire import ResponseEncoder

logger = logging.getLogger(__name__)

# Envoy gives a warming cluster 15 s for its endpoints and then goes on without; a longer wait would tell no more.
PHASE_TIMEOUT_SECONDS: Final = 20.0

# Enough to keep the connections busy; few enough that an urgent push never waits for more than so many first answers.
CONCURRENT_BUILDS: Final = 32


class XdsServer:
    """Serves the snapshots of a cache over gRPC."""

    def __init__(
        self,
        cache: SnapshotCache,
        *,
        group_of: Callable[[Node], str | None],
        identifier: str,
        listener: Listener | None = None,
        credentials: grpc.ServerCredentials | None = None,
        authenticator: Authenticator | None = None,
        csds: bool = True,
        csds_authenticator: Authenticator | None = None,
        reflection: bool = True,
        reuse_port: bool = False,
        max_streams: int | None = None,
        max_concurrent_builds: int = CONCURRENT_BUILDS,
        max_age: float | None = None,
        age_jitter: float = 0.2,
        write_timeout: float = 30.0,
        first_request_timeout: float = 30.0,
        phase_timeout: float = PHASE_TIMEOUT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Prepare a server; `start` opens it.

        Args:
            cache: what each group is served. A client whose group has no snapshot yet is held unanswered until it has.
            group_of: the group of a client; None refuses it.
            identifier: names this control plane in every response, for whoever debugs a client.
            listener: is told of connections, pushes and answers; without one, refusals are logged.
            credentials: TLS (see `penstock_xds.mutual_tls`); without them the port speaks plain text.
            authenticator: is asked, before anything is served, which node to believe; without one every claim is.
            csds: whether to serve client status (CSDS). With an `authenticator`, those who ask must pass it as well
                and are told of their own group alone.
            csds_authenticator: is asked for CSDS instead, and who passes it is told of all clients: for operators.
            reflection: whether to serve gRPC reflection, for tools that know no protobuf files.
            reuse_port: let several processes listen on the port; the kernel spreads connections over them.
            max_streams: turn streams beyond so many away at once (RESOURCE_EXHAUSTED), so that they try another
                server. A soft cap for overload, not a licence count: None takes all that come.
            max_concurrent_builds: so many streams are sent their first answers at a time, at least 1. Pushes to
                clients that are connected already never wait for them.
            max_age: seconds after which a stream is ended in good order, to be opened again, maybe on another server;
                None: never.
            age_jitter: the share of `max_age` by which streams may end earlier, 0 to 1.
            write_timeout: seconds a client has to take a response before its stream is ended.
            first_request_timeout: seconds a new stream has to say who it is, authentication included.
            phase_timeout: seconds to wait for an acknowledgement before a make-before-break phase goes on without it.
            clock: monotonic seconds, for waits and durations.
            wall_clock: Unix seconds, for what people are shown.
            chance: draws from 0 to 1, for the ages.

        """
        self._cache = cache
        self._group_of = group_of
        self._listener = listener
        self._credentials = credentials
        self._wall_clock = wall_clock
        self._phase_timeout = phase_timeout
        self._chance = chance
        self._reflects = reflection
        self._ageing = None if max_age is None else Ageing(max_age, age_jitter, patience=phase_timeout)
        self._options = transport.options(reuse_port=reuse_port, ageing=self._ageing)
        self._surroundings = Surroundings(
            encoder=ResponseEncoder(identifier),
            listener=listener,
            clock=clock,
            write_timeout=write_timeout,
            admission=Admission(max_concurrent_builds),
            closed=self._close,
        )
        self._sessions: dict[str, Session] = {}
        self._households = Households()
        doorkeeper = Doorkeeper(authenticator, clock)
        self._entrance = Entrance(
            group_of=group_of,
            doorkeeper=doorkeeper,
            first_request_timeout=first_request_timeout,
            max_streams=max_streams,
            streams=lambda: len(self._sessions),
        )
        self._csds: ClientStatus | None = None
        if csds:
            self._csds = ClientStatus(
                self._sessions,
                doorkeeper=doorkeeper if csds_authenticator is None else Doorkeeper(csds_authenticator, clock),
                own_group_of=group_of if authenticator is not None and csds_authenticator is None else None,
                unix_time=lambda at: wall_clock() - (clock() - at),
            )
        self._patrol = Patrol(self._sessions, clock=clock, write_timeout=write_timeout, ageing=self._ageing)
        self._streams_seen = 0
        # Makes nonces of this server unlike those of one before it.
        self._nonce_prefix = secrets.token_hex(2)
        self._server: aio.Server | None = None
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]  # the stubs leave aio out

    async def start(self, address: str, *, extra_handlers: Sequence[GenericHandler] = ()) -> int:
        """Listen on `host:port` (port 0: any free one) and return the port.

        Args:
            address: where to listen.
            extra_handlers: other gRPC services to serve on the same port.

        Raises:
            BindError: the address cannot be listened on.

        """
        server = aio.server(options=self._options)
        server.add_generic_rpc_handlers((DiscoveryHandler(self._serve), *extra_handlers))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        served = {path.split("/")[1] for path in METHODS}
        if self._csds is not None:
            served.add(self._csds.service_name)
            self._csds.add_to(server)
        if self._reflects:
            add_reflection(server, {*served, health.SERVICE_NAME})
        try:
            if self._credentials is None:
                port = server.add_insecure_port(address)
            else:
                port = server.add_secure_port(address, self._credentials)
        except RuntimeError as error:
            await server.stop(None)
            raise BindError(address, str(error)) from error
        await server.start()
        for name in ("", *served):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        self._server = server
        self._patrol.start()
        logger.info("xds server listens", extra={"address": address, "port": port})
        return port

    async def stop(self, grace: float, *, drain_window: float = 0.0) -> None:
        """End all streams in good order and close the port.

        The health service says NOT_SERVING first. From then on new streams are refused (UNAVAILABLE); those there are
        end evenly over the window, so that their clients do not all reach the other replicas at once. Whoever gets
        impatient cancels this and calls it again, with a shorter window or none.

        Args:
            grace: seconds the streams have, once told to end, before they are cut.
            drain_window: seconds over which to spread their ends; 0 ends all at once.

        """
        if self._server is None:
            return
        await self._health.enter_graceful_shutdown()
        self._entrance.close()
        if drain_window > 0:
            sessions = tuple(self._sessions.values())
            logger.info("xds server drains", extra={"streams": len(sessions), "seconds": drain_window})
            await drain(sessions, drain_window, clock=self._surroundings.clock, sleep=asyncio.sleep)
        server, self._server = self._server, None
        if server is None:
            return
        # No new calls from here on; those there are are ended while this waits for them.
        closing = asyncio.create_task(server.stop(grace), name="xds-stop")
        for session in tuple(self._sessions.values()):
            session.end(farewell(session))
        await closing
        self._patrol.stop()
        logger.info("xds server stopped")

    def streams(self) -> list[StreamView]:
        """Return the streams now open, in the order they were opened."""
        return [session.view() for session in self._sessions.values()]

    @property
    def first_answers(self) -> tuple[int, int]:
        """How many streams are being sent their first answers, and how many wait for their turn."""
        admission = self._surroundings.admission
        return admission.holding, admission.queued

    def resource_views(self, stream_id: str) -> Mapping[str, tuple[ResourceView, ...]]:
        """Return each resource a stream subscribes to, by type URL; empty if there is no such stream any more."""
        session = self._sessions.get(stream_id)
        return {} if session is None else session.resource_views()

    def regroup(self) -> None:
        """Ask `group_of` again for every open stream and end those whose group is another now; they reconnect to it."""
        for session in tuple(self._sessions.values()):
            if self._group_of(session.client.node) != session.client.group:
                session.end(Ending("the node's group has changed", grpc.StatusCode.UNAVAILABLE))

    async def _serve(self, context: Context, method: Method) -> None:
        newcomer = await self._entrance.admit(context, method)
        if newcomer is None:
            return
        session = self._open(newcomer, context, method)
        ending = Ending("the connection broke")
        session.join(self._cache)
        try:
            ending = await session.run(newcomer.first_request)
        finally:
            self._close(session, ending.reason)
        if ending.code is not grpc.StatusCode.OK:
            await context.abort(ending.code, ending.reason)

    def _open(self, newcomer: Newcomer, context: Context, method: Method) -> Session:
        self._streams_seen += 1
        client = Client(
            stream_id=str(self._streams_seen),
            node=newcomer.node,
            group=newcomer.group,
            peer=newcomer.peer,
            method=method,
            connected_at=self._wall_clock(),
        )
        household = self._households.of(client)
        opened_at = self._surroundings.clock()
        core = StreamCore(
            method.variant,
            nonce_prefix=f"{self._nonce_prefix}-{client.stream_id}-",
            opened_at=opened_at,
            phase_timeout=self._phase_timeout,
            aggregated=not method.type_url,
            features=Features.of(client.node.client_features, client.node.user_agent_name),
            family=None if household is None else household.family,
        )
        session = Session(client, core, context, self._surroundings, household)
        if self._ageing is not None:
            session.retire_at = self._ageing.retire_at(opened_at, self._chance)
        self._sessions[client.stream_id] = session
        logger.info("client connected", extra=_facts(client))
        if self._listener is not None:
            tell(self._listener.on_connect, client)
        return session

    def _close(self, session: Session, reason: str) -> None:
        if self._sessions.pop(session.client.stream_id, None) is None:
            return
        session.leave()
        self._households.leave(session.client)
        logger.info("client disconnected", extra={**_facts(session.client), "reason": reason})
        if self._listener is not None:
            tell(self._listener.on_disconnect, session.client, reason)


def _facts(client: Client) -> dict[str, str]:
    return {
        "stream": client.stream_id,
        "node": client.node.id,
        "group": client.group,
        "peer": client.peer,
        "variant": client.variant.value,
    }
