"""What a decision was made of, packed to be stored and unpacked again; and which engine made it.

Packing a large fleet's inputs takes tens of milliseconds: :class:`~penstock.control.recorder.Recorder` does it in a
thread of its own.
"""

import hashlib
import zlib
from functools import cache
from importlib.metadata import version
from typing import Final

from penstock.state.records import PackedInputs, StoredInputs
from penstock_policies.inputs import DecisionInputs, inputs_from_json, inputs_to_json

_LEVEL: Final = 6
"""zlib's own default: a fleet's inputs shrink about tenfold in a few milliseconds."""
_GREATEST: Final = 256 * 1024 * 1024
"""Bytes of a text worth unpacking: a thousand rows on twenty clusters make about ten million."""


class InputsError(Exception):
    """What is stored as a decision's inputs cannot be read, or is not what was written."""


@cache
def engine_version() -> str:
    """Return the versions that a decision's bytes depend on, for people."""
    return f"penstock {version('penstock')}, highspy {version('highspy')}"


def pack(inputs: DecisionInputs) -> PackedInputs:
    """Return inputs as they are stored."""
    text = inputs_to_json(inputs).encode()
    return PackedInputs(digest=hashlib.sha256(text).hexdigest(), data=zlib.compress(text, _LEVEL))


def unpack(stored: StoredInputs) -> DecisionInputs:
    """Return stored inputs.

    Raises:
        InputsError: they are damaged, not what their digest says, or of a version this one cannot read.

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
        raise InputsError(f"of another version of Penstock: {error}") from error
