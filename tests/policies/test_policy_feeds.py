"""What the loader says of cost feeds: sources, shapes, pointers, currencies, ages."""

import pytest

from penstock_policies.loader import load
from penstock_policies.problems import Problem
from tests.policies.writing import SOUND, joined_by

HEAD = "apiVersion: penstock/v1\nkind: CostFeed\nmetadata: {name: market}\nspec:\n  type: file\n  path: x.json\n"
CLOUD_PRICE = "cost: {usdPerMillionTokens: 0.9}"


def problems_of(spec: str, key: str = "cloud") -> list[str]:
    """What is said when the sound directory's cloud cluster takes its price from a feed that goes on with ``spec``."""
    sound = SOUND.replace(CLOUD_PRICE, f"cost: {{feed: market, key: {key}}}")
    return [str(problem) for problem in load({"sound.yaml": sound, "a.yaml": HEAD + spec}).problems]


def mapped(pointer: str = "/price", unit: str = "usdPerToken", more: str = "") -> str:
    return f"  map: [{{pointer: {pointer}, key: cloud, unit: {unit}}}{more}]\n"


@pytest.mark.parametrize(
    "spec",
    [
        mapped(),
        mapped("/offers/0/a~1b~0c/"),
        mapped('""'),
        mapped(unit="perToken") + "  currency: EUR\n  rates: {EUR: 1.08}\n",
        mapped(unit="perThousandTokens"),
        "  format: litellm\n",
        "  maxAge: 10m\n  maxUnchanged: 10m\n",
    ],
)
def test_a_sound_feed_is_taken_without_a_word(spec: str) -> None:
    assert problems_of(spec) == []


@pytest.mark.parametrize(
    ("pointer", "meant"),
    [
        ("$.offers[0].price", "/offers/0/price"),
        ("'.offers[\"eu west\"].usd'", "/offers/eu west/usd"),
        ("offers/0/price", "/offers/0/price"),
        ("/a~b", "/a~0b"),
    ],
)
def test_a_pointer_in_another_notation_is_refused_with_the_one_that_was_meant(pointer: str, meant: str) -> None:
    (error,) = problems_of(f"  map:\n    - pointer: {pointer}\n      key: cloud\n      unit: usdPerToken\n")
    assert error.startswith("a.yaml:8:16: spec.map[0].pointer: malformed value ")
    assert error.endswith(f'in a name; did you mean "{meant}"?')


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        (
            mapped(unit="usdPerMilionTokens"),
            (
                'a.yaml:7:45: spec.map[0].unit: unknown value "usdPerMilionTokens"; expected one of '
                "usdPerMillionTokens, usdPerThousandTokens, usdPerToken, usdPerGpuHour, usdPerHour, usdPerKwh, "
                "usdPerMwh, perMillionTokens, perThousandTokens, perToken, perGpuHour, perHour, perKwh, perMwh; "
                'did you mean "usdPerMillionTokens"?'
            ),
        ),
        (
            "  map: [{pionter: /price, key: cloud, unit: usdPerToken, pointer: /price}]\n",
            (
                "a.yaml:7:10: spec.map[0].pionter: unknown field; expected one of pointer, key, unit; "
                'did you mean "pointer"?'
            ),
        ),
        ("  map: []\n", "a.yaml:7:8: spec.map: the map is empty; expected a pointer, key and unit, or no map"),
        (
            mapped(more=", {pointer: /other, key: cloud, unit: usdPerToken}"),
            'a.yaml:7:59: spec.map[1]: "cloud" is listed twice; expected it once (line 7)',
        ),
        (
            mapped() + "  format: litellm\n",
            "a.yaml:8:11: spec.format: a feed with both map and format; expected one of them",
        ),
        (
            "  format: litelm\n",
            (
                'a.yaml:7:11: spec.format: unknown value "litelm"; expected one of penstock, litellm; '
                'did you mean "litellm"?'
            ),
        ),
        (
            mapped(unit="perToken") + "  currency: EUR\n",
            (
                'a.yaml:8:13: spec.currency: no rate is given for the currency "EUR"; '
                "expected one of USD, or its USD a unit in spec.rates"
            ),
        ),
        (
            mapped(unit="perToken") + "  currency: EURO\n  rates: {EUR: 1.08}\n",
            (
                'a.yaml:8:13: spec.currency: no rate is given for the currency "EURO"; '
                'expected one of USD, EUR, or its USD a unit in spec.rates; did you mean "EUR"?'
            ),
        ),
        (
            mapped() + "  currency: EUR\n  rates: {EUR: 1.08}\n",
            (
                "a.yaml:7:45: spec.map[0].unit: a figure in USD in a feed in EUR; "
                'expected a unit without a currency, or spec.currency USD; did you mean "perToken"?'
            ),
        ),
        (
            "  format: litellm\n  currency: EUR\n  rates: {EUR: 1.08}\n",
            (
                "a.yaml:8:13: spec.currency: the document says itself that it is in USD; "
                "expected a currency only with map"
            ),
        ),
        (
            mapped() + "  rates: {USD: 1}\n",
            "a.yaml:8:16: spec.rates.USD: rates are in USD; expected other currencies alone",
        ),
        (
            mapped(unit="perToken") + "  currency: EUR\n  rates: {EUR: 0}\n",
            "a.yaml:9:16: spec.rates.EUR: 0 is out of range; expected a number greater than 0",
        ),
        (
            "  maxAge: 1h\n  maxUnchanged: 5m\n",
            (
                "a.yaml:8:17: spec.maxUnchanged: a price that is still believed for a maxAge of 1h "
                "would be frozen already; expected at least spec.maxAge"
            ),
        ),
    ],
)
def test_a_mistake_in_a_feed_is_told_with_its_place(spec: str, error: str) -> None:
    # A feed that fails the schema is unknown to the cluster; that is told of no other test here.
    assert [told for told in problems_of(spec) if told.startswith("a.yaml")] == [error]


def test_a_rate_in_small_letters_is_an_error_with_the_capitals() -> None:
    assert (
        'a.yaml:8:16: spec.rates.eur: malformed key "eur"; expected a currency of three capital letters, such as EUR; '
        'did you mean "EUR"?'
    ) in problems_of(mapped() + "  rates: {eur: 1.08}\n")


def test_a_carbon_feed_has_penstocks_own_shape_alone() -> None:
    text = HEAD + mapped() + "  measures: carbon\n"
    told = [str(error) for error in joined_by(text).errors]
    assert told == ["a.yaml:7:8: spec.map: a feed that measures carbon has no map; expected no map"]
    text = HEAD + "  measures: carbon\n  format: litellm\n"
    assert ["spec.format" in error.path for error in _errors(text)] == [True]


def test_a_key_that_the_map_never_gives_is_an_error_of_the_cluster() -> None:
    told = problems_of(mapped(), key="clowd")
    assert [one for one in told if one.startswith("sound.yaml")] == [
        (
            'sound.yaml:22:29: spec.cost.key: the CostFeed "market" gives no price for "clowd"; '
            'expected one of cloud; did you mean "cloud"?'
        )
    ]


def test_what_nobody_uses_of_a_feed_is_a_warning() -> None:
    spec = mapped(more=", {pointer: /other, key: spare, unit: usdPerToken}") + "  rates: {EUR: 1.08}\n"
    assert problems_of(spec) == [
        (
            'a.yaml:7:82: warning: spec.map[1].key: no cluster takes its price from "spare"; '
            "expected a Cluster with cost.feed market and this cost.key"
        ),
        "a.yaml:8:16: warning: spec.rates.EUR: no figure of the feed is in EUR; expected spec.currency EUR",
    ]


def _errors(text: str) -> tuple[Problem, ...]:
    return joined_by(text).errors


CAPACITY = "capacity: {concurrency: 500}"
HOURLY = mapped(unit="usdPerGpuHour")


def priced_by(unit: str, capacity: str, more: str = "") -> list[str]:
    """What is said of the cloud cluster when its price is one of something else than tokens."""
    sound = SOUND.replace(CLOUD_PRICE, "cost: {feed: market, key: cloud}").replace(
        CAPACITY, f"capacity: {{concurrency: 500{capacity}}}{more}"
    )
    return [str(problem) for problem in load({"sound.yaml": sound, "a.yaml": HEAD + mapped(unit=unit)}).problems]


@pytest.mark.parametrize(
    ("unit", "capacity", "more", "expected"),
    [
        ("usdPerGpuHour", "", "", "spec.capacity.tokensPerSecond and spec.capacity.gpus"),
        ("usdPerGpuHour", ", tokensPerSecond: 9000", "", "spec.capacity.gpus"),
        ("usdPerHour", "", "", "spec.capacity.tokensPerSecond"),
        ("usdPerKwh", ", tokensPerSecond: 9000", "", "spec.power"),
    ],
)
def test_a_price_that_never_becomes_one_of_tokens_is_an_error(
    unit: str, capacity: str, more: str, expected: str
) -> None:
    (error,) = priced_by(unit, capacity, more)
    assert error.startswith("sound.yaml:22:29: spec.cost.key: the feed's figure is a price of a")
    assert error.endswith(f"; expected {expected}")


def test_a_price_by_time_without_a_word_on_prompts_is_a_warning() -> None:
    (warning,) = priced_by("usdPerHour", ", tokensPerSecond: 9000")
    assert "warning" in warning
    assert warning.endswith("spec.capacity.promptTokensPerSecond, or spec.cost.promptPriceRatio")
    assert priced_by("usdPerHour", ", tokensPerSecond: 9000, promptTokensPerSecond: 90000") == []


def test_a_cluster_that_draws_less_when_full_is_an_error() -> None:
    rates = ", tokensPerSecond: 9000, promptTokensPerSecond: 90000"
    assert priced_by("usdPerKwh", rates, "\n  power: {idleKw: 3, loadedKw: 8, pue: 1.2}") == []
    (error,) = priced_by("usdPerKwh", rates, "\n  power: {idleKw: 3, loadedKw: 3}")
    assert error.endswith(
        "spec.power.loadedKw: a full cluster draws no more than an idle one; expected more than idleKw, 3"
    )
