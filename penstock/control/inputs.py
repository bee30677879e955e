"""What a decision was made of, packed to be stored and unpacked again.

Packing a large fleet's inputs takes tens of milliseconds: :class:`~penstock.control.recorder.Recorder` does it in a
thread of its own.
"""

import hashlib
import json
import zlib
from typing import Final

from penstock.state.records import PackedInputs, StoredInputs
from penstock_policies.inputs import DecisionInputs, inputs_from_json, inputs_to_json

_LEVEL: Final = 6
"""zlib's own default: a fleet's inputs shrink about tenfold in a few milliseconds."""
_GREATEST: Final = 256 * 1024 * 1024
"""Bytes of a text worth unpacking: a thousand rows on twenty clusters make about ten million."""


class InputsError(Exception):
    """What is stored as a decision's inputs cannot be read, or is not what was written."""


class OtherVersionError(InputsError):
    """What is stored is what was written, and another version of Penstock wrote it.

    Attributes:
        engine: which versions decided; empty where even that cannot be read.

    """

    def __init__(self, message: str, engine: str) -> None:
        super().__init__(message)
        self.engine = engine


def pack(inputs: DecisionInputs) -> PackedInputs:
    """Return inputs as they are stored."""
    text = inputs_to_json(inputs).encode()
    return PackedInputs(digest=hashlib.sha256(text).hexdigest(), data=zlib.compress(text, _LEVEL))


def unpack(stored: StoredInputs) -> DecisionInputs:
    """Return stored inputs.

    Raises:
        OtherVersionError: they are of a version that this one cannot read.
        InputsError: they are damaged, or not what their digest says.

    """
    try:
        expander = zlib.decompressobj()
        text = expander.decompress(stored.data, _GREATEST)
    except zlib.error as error:
        raise InputsError(f"damaged: {error}") from error
    if not expander.eof:
        raise InputsError("damaged: the end is missing")
    if hashlib.sha256(text).hexdigest() != stored.digest:
        raise InputsError("not what its digest says")
    try:
        return inputs_from_json(text.decode())
    except ValueError as error:
        raise OtherVersionError(f"of another version of Penstock: {error}", _engine(text)) from error


def _engine(text: bytes) -> str:
    try:
        document = json.loads(text)
    except ValueError:
        return ""
    return str(document.get("engine", "")) if isinstance(document, dict) else ""
