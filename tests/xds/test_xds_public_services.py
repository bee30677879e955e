"""The services beside discovery: health and reflection."""

from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from tests.xds.shell_setting import Setting, Start


async def health(setting: Setting, service: str) -> Any:
    check: Any = setting.channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    return (await check(health_pb2.HealthCheckRequest(service=service))).status


@pytest.mark.parametrize(
    "service",
    [
        "",
        "envoy.service.discovery.v3.AggregatedDiscoveryService",
        "envoy.service.route.v3.RouteDiscoveryService",
        "envoy.service.status.v3.ClientStatusDiscoveryService",
    ],
)
async def test_the_health_service_says_serving_of_the_server_and_each_service(start: Start, service: str) -> None:
    assert await health(await start(), service) == health_pb2.HealthCheckResponse.SERVING


async def test_the_health_service_knows_no_service_that_is_not_served(start: Start) -> None:
    setting = await start(csds=False)
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await health(setting, "envoy.service.status.v3.ClientStatusDiscoveryService")
    assert failure.value.code() is grpc.StatusCode.NOT_FOUND


def reflection(setting: Setting) -> Any:
    return setting.channel.stream_stream(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )()


async def reflect(setting: Setting, **question: str) -> Any:
    call = reflection(setting)
    await call.write(reflection_pb2.ServerReflectionRequest(**question))
    answer = await call.read()
    await call.done_writing()
    return answer


async def test_reflection_lists_what_is_served_and_describes_it(start: Start) -> None:
    setting = await start()
    listed = await reflect(setting, list_services="*")
    names = {service.name for service in listed.list_services_response.service}
    assert "envoy.service.discovery.v3.AggregatedDiscoveryService" in names
    assert "envoy.service.status.v3.ClientStatusDiscoveryService" in names
    assert {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"} <= names
    for name in names:
        described = await reflect(setting, file_containing_symbol=name)
        assert described.file_descriptor_response.file_descriptor_proto, name


async def test_reflection_can_be_left_out(start: Start) -> None:
    setting = await start(reflection=False)
    assert await reflection(setting).code() is grpc.StatusCode.UNIMPLEMENTED
