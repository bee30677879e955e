import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_policies.scalars import AmbiguousScalarError, Scalar, resolve
from tests.policies.writing import UNHURRIED


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("False", False),
        ("0", 0),
        ("-12", -12),
        ("0x1F", 31),
        ("0.90", 0.9),
        (".5", 0.5),
        ("1.5e+3", 1500.0),
        (".inf", math.inf),
        ("eu-west", "eu-west"),
        ("10.0.1.11", "10.0.1.11"),
        ("5s", "5s"),
        ("10%", "10%"),
        ("llama-3:8b", "llama-3:8b"),
        ("::1", "::1"),
        ("y", "y"),
        ("2024-01-01", "2024-01-01"),
    ],
)
def test_a_plain_word_is_read_as_the_core_schema_says(word: str, value: Scalar) -> None:
    resolved = resolve(word)
    assert resolved == value
    assert type(resolved) is type(value)


@pytest.mark.parametrize(
    ("word", "remedy"),
    [
        ("no", 'no means false to some YAML readers; write "no" in quotes'),
        ("On", 'On means true to some YAML readers; write "On" in quotes'),
        ("10:30", 'base-60 number to some YAML readers; write "10:30" in quotes'),
        ("010", "write it in plain decimal digits"),
        ("0o17", "write it in plain decimal digits"),
        ("0b101", "write it in plain decimal digits"),
        ("1_000", "write the number without underscores"),
        ("1e3", "write the number without an exponent"),
        ("1234567890123456789", "not exact to all YAML readers"),
    ],
)
def test_a_word_that_yaml_readers_disagree_about_is_refused_with_a_remedy(word: str, remedy: str) -> None:
    with pytest.raises(AmbiguousScalarError) as refusal:
        resolve(word)
    assert remedy in str(refusal.value)


@UNHURRIED
@given(st.text(alphabet="0123456789_:.eE+-xob", max_size=200))
def test_any_number_like_word_is_read_or_refused(word: str) -> None:
    with suppress(AmbiguousScalarError):
        resolve(word)
