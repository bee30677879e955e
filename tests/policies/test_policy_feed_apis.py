"""What the loader says of feeds that ask price APIs."""

import pytest

from penstock_policies.feed_apis import Reach
from penstock_policies.feeds import Basis
from penstock_policies.loader import load
from tests.policies.writing import SOUND

HEAD = "apiVersion: penstock/v1\nkind: CostFeed\nmetadata: {name: market}\nspec:\n"
CAPACITY = "{concurrency: 500, tokensPerSecond: 20000, promptTokensPerSecond: 90000, gpus: 8}"
PRICED = (
    SOUND.replace("cost: {usdPerMillionTokens: 0.9}", "cost: {feed: market, key: k}")
    .replace("capacity: {concurrency: 500}", f"capacity: {CAPACITY}")
    .replace("  engine: openai\n", "  engine: openai\n  power: {idleKw: 3, loadedKw: 9}\n")
)

OPENCOST = "  type: opencost\n  url: http://opencost:9003\n  opencost: [{key: k, aggregate: namespace, name: vllm}]\n"
AZURE = "  type: azure\n  azure: [{key: k, region: westeurope, sku: Standard_ND96isr_H100_v5}]\n"
SPOT = "  type: awsSpot\n  awsSpot: [{key: k, region: eu-west-1, instanceType: p5.48xlarge}]\n"
LIST = "  type: awsPriceList\n  awsPriceList: [{key: k, region: eu-west-1, instanceType: p5.48xlarge}]\n"
ENTSOE = (
    "  type: entsoe\n  entsoe: [{key: k, zone: 10Y1001A1001A82H}]\n  credentials: {env: PENSTOCK_SECRET_ENTSOE}\n"
    "  currency: EUR\n  rates: {EUR: 1.08}\n"
)


def problems_of(spec: str) -> list[str]:
    return [str(problem) for problem in load({"sound.yaml": PRICED, "a.yaml": HEAD + spec}).problems]


@pytest.mark.parametrize(
    ("spec", "basis", "reach"),
    [
        (OPENCOST, Basis.GPU_HOUR, Reach.PRIVATE),
        (OPENCOST.replace("name: vllm", "name: vllm, unit: perHour"), Basis.HOUR, Reach.PRIVATE),
        (OPENCOST + "  credentials: {file: token}\n", Basis.GPU_HOUR, Reach.PRIVATE),
        (
            OPENCOST.replace("aggregate: namespace, name: vllm", "path: /assets, label: gpu=H100"),
            Basis.GPU_HOUR,
            Reach.PRIVATE,
        ),
        (AZURE, Basis.HOUR, Reach.PUBLIC),
        (AZURE + "  currency: EUR\n  rates: {EUR: 1.08}\n", Basis.HOUR, Reach.PUBLIC),
        (AZURE.replace("H100_v5", "H100_v5, unit: perMillionTokens"), Basis.TOKENS, Reach.PUBLIC),
        (SPOT, Basis.HOUR, Reach.PUBLIC),
        (SPOT + "  url: https://vpce.example.com/\n  addresses: private\n", Basis.HOUR, Reach.PRIVATE),
        (SPOT + "  credentials: {file: aws, profile: prices}\n", Basis.HOUR, Reach.PUBLIC),
        (LIST, Basis.HOUR, Reach.PUBLIC),
        (ENTSOE, Basis.KWH, Reach.PUBLIC),
    ],
)
def test_a_sound_feed_is_taken_without_a_word(spec: str, basis: Basis, reach: Reach) -> None:
    assert problems_of(spec) == []
    feed = load({"sound.yaml": PRICED, "a.yaml": HEAD + spec}).require().feeds["market"].spec
    assert (feed.basis_of("k"), feed.keys, feed.reach) == (basis, ("k",), reach)


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        (
            "  type: azure\n",
            "a.yaml:5:9: spec.type: a feed of type azure without figures; expected spec.azure with at least one",
        ),
        (
            OPENCOST.replace("  url: http://opencost:9003\n", ""),
            "a.yaml:5:9: spec.type: a feed of type opencost without url; expected spec.url",
        ),
        (AZURE + "  path: x\n", "a.yaml:7:9: spec.path: a feed of type azure has no path; expected spec.url alone"),
        (
            "  type: http\n  url: http://x\n" + AZURE.splitlines()[1] + "\n",
            "a.yaml:7:10: spec.azure: a feed of type http has no azure; expected spec.type azure, or no azure",
        ),
        (
            AZURE + "  format: litellm\n",
            "a.yaml:7:11: spec.format: a feed of type azure has a shape of its own; expected no format",
        ),
        (
            AZURE + "  measures: carbon\n",
            "a.yaml:7:13: spec.measures: a feed of type azure tells prices alone; expected price",
        ),
        (
            AZURE + "  credentials: {env: PENSTOCK_SECRET_A}\n",
            (
                "a.yaml:7:16: spec.credentials: a feed of type azure has no credentials; "
                "expected none, or a type of awsPriceList, awsSpot, entsoe, http, opencost"
            ),
        ),
        (
            AZURE.replace(", sku: Standard_ND96isr_H100_v5", ""),
            "a.yaml:6:11: spec.azure[0]: a price without sku and meter; expected sku (armSkuName), meter, or both",
        ),
        (
            AZURE.replace("}]", "}, {key: k, region: westeurope, meter: m}]"),
            'a.yaml:6:72: spec.azure[1]: "k" is listed twice; expected it once (line 6)',
        ),
        (
            OPENCOST.replace("aggregate: namespace, ", ""),
            "a.yaml:7:14: spec.opencost[0]: an allocation without aggregate; expected aggregate and name",
        ),
        (
            OPENCOST.replace("aggregate: namespace", "path: /assets, aggregate: node"),
            "a.yaml:7:49: spec.opencost[0].aggregate: assets are taken node by node; expected name or label",
        ),
        (
            OPENCOST.replace("aggregate: namespace, name: vllm", "path: /assets"),
            "a.yaml:7:14: spec.opencost[0]: assets are picked by name or by label; expected one of name and label",
        ),
        (
            SPOT + "  credentials: {env: PENSTOCK_SECRET_A}\n",
            (
                "a.yaml:7:16: spec.credentials: AWS's credentials are a key and its secret; expected file, a shared "
                "credentials file; or no credentials for the variables AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and "
                "AWS_SESSION_TOKEN"
            ),
        ),
        (
            SPOT + "  currency: EUR\n  rates: {EUR: 1.08}\n",
            "a.yaml:7:13: spec.currency: AWS's prices are in USD; expected no currency",
        ),
        (
            ENTSOE.replace("  credentials: {env: PENSTOCK_SECRET_ENTSOE}\n", ""),
            "a.yaml:5:9: spec.type: ENTSO-E is asked with a token; expected spec.credentials with env or file",
        ),
        (
            ENTSOE.replace("{env: PENSTOCK_SECRET_ENTSOE}", "{}"),
            "a.yaml:7:16: spec.credentials: credentials are in one place; expected env or file, and not both",
        ),
        (
            ENTSOE.replace("ENTSOE}", "ENTSOE, profile: x}"),
            "a.yaml:7:55: spec.credentials.profile: only AWS's files have profiles; expected no profile",
        ),
        (
            "  type: file\n  path: x.json\n  addresses: any\n",
            "a.yaml:7:14: spec.addresses: a file has no address; expected no addresses",
        ),
    ],
)
def test_a_mistake_in_a_feed_is_told_with_its_place(spec: str, error: str) -> None:
    assert [told for told in problems_of(spec) if told.startswith("a.yaml")] == [error]


@pytest.mark.parametrize("name", ["HOME", "DATABASE_URL", "AWS_SECRET_ACCESS_KEY", "PENSTOCK_STATE"])
def test_a_policy_names_no_other_variable_than_those_that_are_for_feeds(name: str) -> None:
    told = [one for one in problems_of(ENTSOE.replace("PENSTOCK_SECRET_ENTSOE", name)) if one.startswith("a.yaml")]
    assert len(told) == 1
    assert "spec.credentials.env: malformed value" in told[0]


@pytest.mark.parametrize("name", ["/run/secrets/aws", "../token", "keys/token", "..", ".hidden", "~", "a\\\\b", ""])
@pytest.mark.parametrize(
    "spec", [ENTSOE.replace("env: PENSTOCK_SECRET_ENTSOE", "file: F"), SPOT + "  credentials: {file: F}\n"]
)
def test_a_policy_names_no_other_file_than_those_of_the_operators_directory(spec: str, name: str) -> None:
    told = [one for one in problems_of(spec.replace("file: F", f'file: "{name}"')) if one.startswith("a.yaml")]
    assert len(told) == 1
    assert told[0].startswith("a.yaml:7:23: spec.credentials.file: malformed value ")
    assert told[0].endswith("expected the name of a file of the credentials directory, without a path")


@pytest.mark.parametrize(
    ("spec", "warning"),
    [
        (
            OPENCOST.replace("http://opencost", "http://me:pw@opencost"),
            "spec.url: a policy is no place for a password; expected spec.credentials with env or file",
        ),
        (
            "  type: http\n  url: http://x\n  addresses: public\n  credentials: {env: PENSTOCK_SECRET_A}\n",
            "spec.url: the credentials travel unencrypted; expected https, or spec.addresses private",
        ),
        (
            AZURE + "  refresh: 1m\n",
            "spec.refresh: asks a public service more often than its prices change; expected at least 5m",
        ),
    ],
)
def test_what_is_unwise_is_a_warning(spec: str, warning: str) -> None:
    told = problems_of(spec)
    assert any("warning" in one and one.endswith(warning) for one in told), told
