"""Strict reading of protobuf messages: a field that is not expected is a breach."""

from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from penstock_envoy.protos import Message, MessageType
from penstock_envoy.residency.breach import ResidencyBreach


def parse(message_type: MessageType, body: bytes, what: str) -> Message:
    """A message read from bytes.

    Raises:
        ResidencyBreach: the bytes are not such a message.
    """
    message = message_type()
    try:
        message.ParseFromString(body)
    except DecodeError as error:
        raise ResidencyBreach((what,), f"not a readable {message.DESCRIPTOR.full_name}: {error}") from error
    return message


def only(message: Message, what: str, *fields: str) -> None:
    """Check that a message has no fields set but ``fields``.

    Raises:
        ResidencyBreach: it has others, or fields that this version of the protocol does not define.
    """
    strangers = [field.name for field, _ in message.ListFields() if field.name not in fields]
    if strangers:
        raise ResidencyBreach((what,), f"sets {', '.join(sorted(strangers))}, which the proof does not know")
    unknown = UnknownFieldSet(message)
    if len(unknown) > 0:
        numbers = sorted({unknown[index].field_number for index in range(len(unknown))})
        raise ResidencyBreach((what,), f"has undefined fields {numbers} of {message.DESCRIPTOR.full_name}")


def packed(holder: Message, message_type: MessageType, what: str) -> Message:
    """The message in an ``Any``.

    Raises:
        ResidencyBreach: it holds a message of another type.
    """
    expected = message_type.DESCRIPTOR.full_name
    if holder.type_url != f"type.googleapis.com/{expected}":
        raise ResidencyBreach((what,), f"is of type {holder.type_url or 'none'}, not {expected}")
    return parse(message_type, holder.value, what)


def require(fact: object, what: str, reason: str) -> None:
    """Check a fact.

    Raises:
        ResidencyBreach: it does not hold.
    """
    if not fact:
        raise ResidencyBreach((what,), reason)
