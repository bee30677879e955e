"""CSDS, the client status discovery service: what each connected client was sent, has accepted and has refused.

One `ClientConfig` a stream, told apart by its `client_scope`, as several streams may come from one node. Of several
servers that share a cache, each tells of its own streams. Secrets are never shown: of their type, the bodies are left
out.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

import grpc
from grpc import aio

from penstock_xds.csds_status import client_config
from penstock_xds.doorkeeper import Doorkeeper
from penstock_xds.errors import InvalidMatcherError
from penstock_xds.node import Node
from penstock_xds.node_matcher import node_test
from penstock_xds.protos import ClientStatusRequest, ClientStatusResponse
from penstock_xds.session import Session

SERVICE: Final = "envoy.service.status.v3.ClientStatusDiscoveryService"

Context = aio.ServicerContext[Any, Any]

_NOBODY: Final = Node(id="")


class ClientStatus:
    """Answers from the sessions of one server."""

    service_name = SERVICE

    def __init__(
        self,
        sessions: Mapping[str, Session],
        *,
        doorkeeper: Doorkeeper,
        own_group_of: Callable[[Node], str | None] | None,
        unix_time: Callable[[float], float],
    ) -> None:
        """Prepare to answer.

        Args:
            sessions: the sessions there are, as they come and go.
            doorkeeper: is asked whether to believe the node of a request.
            own_group_of: whoever asks is told of the clients of its own group alone; None: of all.
            unix_time: makes a Unix time of one on the sessions' clock.

        """
        self._sessions = sessions
        self._doorkeeper = doorkeeper
        self._own_group_of = own_group_of
        self._unix_time = unix_time

    def add_to(self, server: aio.Server) -> None:
        """Serve on this server."""
        coding = {
            "request_deserializer": ClientStatusRequest.FromString,
            "response_serializer": ClientStatusResponse.SerializeToString,
        }
        methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "StreamClientStatus": grpc.stream_stream_rpc_method_handler(self._stream, **coding),
            "FetchClientStatus": grpc.unary_unary_rpc_method_handler(self._fetch, **coding),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))

    async def _fetch(self, request: ClientStatusRequest, context: Context) -> ClientStatusResponse:
        asking = Node.of(request.node) if request.HasField("node") else _NOBODY
        return await self._answer(request, await self._doorkeeper.believe(context, asking), context)

    async def _stream(
        self, requests: AsyncIterator[ClientStatusRequest], context: Context
    ) -> AsyncIterator[ClientStatusResponse]:
        asking: Node | None = None
        async for request in requests:
            # As with discovery, only the first request of a stream needs to say who asks.
            if asking is None:
                claimed = Node.of(request.node) if request.HasField("node") else _NOBODY
                asking = await self._doorkeeper.believe(context, claimed)
            yield await self._answer(request, asking, context)

    async def _answer(self, request: ClientStatusRequest, asking: Node, context: Context) -> ClientStatusResponse:
        try:
            wanted = node_test(request.node_matchers)
        except InvalidMatcherError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        response = ClientStatusResponse()
        for session in self._visible_to(asking):
            if wanted(session.client.node):
                client_config(
                    response.config.add(),
                    session.client,
                    session.resource_views(),
                    with_contents=not request.exclude_resource_contents,
                    unix_time=self._unix_time,
                )
                # Thousands of streams take a while to write down; pushes go in between.
                await asyncio.sleep(0)
        return response

    def _visible_to(self, asking: Node) -> list[Session]:
        sessions = list(self._sessions.values())
        if self._own_group_of is None:
            return sessions
        group = self._own_group_of(asking)
        return [session for session in sessions if session.client.group == group]
