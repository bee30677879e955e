"""The proof's own definition of a composite cluster's configuration.

``xds-protos`` does not have it, and the compiler's definition is not used here on purpose. In a descriptor pool of its
own, so that a later ``xds-protos`` that has it does not collide.
"""

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from penstock_envoy.protos import MessageType


def _define() -> MessageType:
    file = descriptor_pb2.FileDescriptorProto(
        name="penstock/composite.proto", package="envoy.extensions.clusters.composite.v3", syntax="proto3"
    )
    field = descriptor_pb2.FieldDescriptorProto
    config = file.message_type.add(name="ClusterConfig")
    entry = config.nested_type.add(name="ClusterEntry")
    entry.field.add(name="name", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    config.field.add(
        name="clusters",
        number=1,
        type=field.TYPE_MESSAGE,
        label=field.LABEL_REPEATED,
        type_name=".envoy.extensions.clusters.composite.v3.ClusterConfig.ClusterEntry",
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(
        pool.FindMessageTypeByName("envoy.extensions.clusters.composite.v3.ClusterConfig")
    )


CompositeConfig: MessageType = _define()
