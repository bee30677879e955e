import pytest

from tests.policies.writing import errors_in, warnings_in

CLUSTER = """\
apiVersion: penstock/v1
kind: Cluster
metadata: {name: spare}
spec:
  site: cloud
  region: eu-west
  engine: vllm
  models: [llama]
  endpoints: ENDPOINTS
  capacity: {concurrency: 100}
  cost: COST
"""


def cluster(endpoints: str = "[{address: 10.0.0.2, port: 80}]", cost: str = "{usdPerMillionTokens: 1.0}") -> str:
    return CLUSTER.replace("ENDPOINTS", endpoints).replace("COST", cost)


@pytest.mark.parametrize(
    ("cost", "error"),
    [
        (
            "{amortizedUsdPerHour: 3.5}",
            "a.yaml:11:9: spec.cost: the cluster has no price; expected usdPerMillionTokens, or feed and key",
        ),
        (
            "{usdPerMillionTokens: 1.0, key: x}",
            "a.yaml:11:41: spec.cost.key: a key without a feed; expected feed: the name of a CostFeed",
        ),
    ],
)
def test_a_cluster_needs_a_whole_price(cost: str, error: str) -> None:
    assert errors_in(cluster(cost=cost)) == [error]


def test_a_feed_without_a_key_is_an_error() -> None:
    assert "a.yaml:11:16: spec.cost.feed: a feed without a key; expected key: the price's key in the feed" in errors_in(
        cluster(cost="{feed: prices}")
    )


@pytest.mark.parametrize(
    ("endpoints", "error"),
    [
        (
            "[{address: 10.0.0.1, port: 80}, {address: a.example.com, port: 80}]",
            (
                "a.yaml:9:56: spec.endpoints[1].address: IP addresses and DNS names in one cluster; "
                "expected an IP address like the first endpoint's, or two clusters"
            ),
        ),
        (
            "[{address: 10.0.0.1, port: 80}, {address: 10.0.0.2, port: 443, tls: {sni: a}}]",
            (
                "a.yaml:9:82: spec.endpoints[1].tls: TLS and plain endpoints in one cluster; "
                "expected no tls, like the first endpoint, or two clusters"
            ),
        ),
        (
            "[{address: 10.0.0.1, port: 443, tls: {sni: a}}, {address: 10.0.0.2, port: 80}]",
            (
                "a.yaml:9:62: spec.endpoints[1]: TLS and plain endpoints in one cluster; "
                "expected tls, like the first endpoint, or two clusters"
            ),
        ),
        (
            "[{address: 10.0.0.1, port: 443, tls: {sni: a}}, {address: 10.0.0.2, port: 443, tls: {sni: b}}]",
            (
                "a.yaml:9:104: spec.endpoints[1].tls.sni: endpoints of one cluster with different SNI; "
                "expected a as in the first endpoint, or two clusters"
            ),
        ),
        (
            "[{address: 10.0.0.1, port: 80}, {address: 10.0.0.1, port: 80}]",
            'a.yaml:9:46: spec.endpoints[1]: "10.0.0.1:80" is listed twice; expected it once (line 9)',
        ),
        (
            "[{address: 10.0.0.256, port: 80}]",
            (
                'a.yaml:9:25: spec.endpoints[0].address: malformed value "10.0.0.256"; '
                "expected an IP address or a DNS name"
            ),
        ),
        (
            "[{address: a..example.com, port: 80}]",
            (
                'a.yaml:9:25: spec.endpoints[0].address: malformed value "a..example.com"; '
                "expected an IP address or a DNS name"
            ),
        ),
    ],
)
def test_endpoints_of_a_cluster_must_be_of_one_kind(endpoints: str, error: str) -> None:
    assert errors_in(cluster(endpoints)) == [error]


@pytest.mark.parametrize(
    "endpoints", ["[{address: '::1', port: 8}, {address: 10.0.0.1, port: 8}]", "[{address: llm, port: 1}]"]
)
def test_addresses_of_every_family_and_short_names_are_fine(endpoints: str) -> None:
    assert errors_in(cluster(endpoints)) == []


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ("{type: file}", "a.yaml:4:14: spec.type: a feed of type file without path; expected spec.path"),
        ("{type: http}", "a.yaml:4:14: spec.type: a feed of type http without url; expected spec.url"),
        (
            "{type: file, path: x.json, url: 'http://x/'}",
            "a.yaml:4:39: spec.url: a feed of type file has no url; expected spec.path alone",
        ),
    ],
)
def test_a_feed_needs_what_its_type_reads_and_nothing_else(spec: str, error: str) -> None:
    text = f"apiVersion: penstock/v1\nkind: CostFeed\nmetadata: {{name: x}}\nspec: {spec}\n"
    assert errors_in(text) == [error]


def test_a_feed_that_is_stale_before_its_next_refresh_is_a_warning() -> None:
    text = (
        "apiVersion: penstock/v1\nkind: CostFeed\nmetadata: {name: x}\n"
        "spec: {type: file, path: x.json, refresh: 10m, maxAge: 1m}\n"
    )
    assert (
        "a.yaml:4:56: warning: spec.maxAge: every price is stale before the next refresh; "
        "expected a maxAge of at least spec.refresh"
    ) in warnings_in(text)


def test_a_listener_needs_an_ip_address() -> None:
    text = (
        "apiVersion: penstock/v1\nkind: Listener\nmetadata: {name: x}\n"
        "spec: {address: localhost, port: 1, dataClass: public}\n"
    )
    assert errors_in(text) == [
        (
            'a.yaml:4:17: spec.address: malformed value "localhost"; '
            "expected an IP address, such as 0.0.0.0 for every interface"
        )
    ]


def test_the_star_is_no_model() -> None:
    assert errors_in(cluster().replace("[llama]", "[llama, '*']")) == [
        (
            'a.yaml:8:19: spec.models[1]: "*" is no model; '
            "expected the name of a model; a policy without match.models is for every model"
        )
    ]


def test_the_edge_probes_addresses_and_no_names() -> None:
    probed = "  health: {from: edge, checkers: 5}\n"
    assert errors_in(cluster() + probed) == []
    assert errors_in(cluster("[{address: llm.example.com, port: 443}]") + probed) == [
        (
            "a.yaml:12:18: spec.health.from: the edge cannot probe endpoints by DNS name: Envoy resolves none for "
            "health discovery; expected from: control-plane, or endpoints with IP addresses"
        )
    ]
    assert errors_in(cluster("[{address: llm.example.com, port: 443}]") + "  health: {from: control-plane}\n") == []
    [no_such_place] = errors_in(cluster() + "  health: {from: edges}\n")
    assert "edge" in no_such_place.partition("expected")[2]
