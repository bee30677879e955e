from penstock.plan.documents import Change, DocumentChange, documents_changed
from tests.plan.planning import DEAR, edited, policies


def changes(*edits: tuple[str, str], text: str = DEAR) -> list[DocumentChange]:
    return list(documents_changed(policies(text), policies(edited(text, *edits))))


def fields(*edits: tuple[str, str], text: str = DEAR) -> list[tuple[str, str, str]]:
    return [(field.path, field.before, field.after) for change in changes(*edits, text=text) for field in change.fields]


def test_the_same_policies_in_another_layout_are_no_change() -> None:
    turned = "---\n".join(reversed(DEAR.split("---\n")))
    spelled_out = edited(turned, ("capacity: {concurrency: 500}", "capacity: {concurrency: 500, headroom: 15%}"))
    assert documents_changed(policies(DEAR), policies(spelled_out)) == ()


def test_a_changed_field_is_told_as_people_write_it_with_the_documents_place() -> None:
    (change,) = changes(("concurrency: 500", "concurrency: 500, headroom: 30%"))
    assert (change.change, change.kind, change.name) == (Change.CHANGED, "Cluster", "cloud")
    assert change.origin == "policy.yaml:13:1"
    (field,) = change.fields
    assert (field.path, field.before, field.after) == ("spec.capacity.headroom", "15%", "30%")


def test_durations_figures_lists_and_what_was_not_there_are_told_in_their_own_terms() -> None:
    chat = "spec: {match: {path: /v1/}, dataClass: public, clusters: [onprem, cloud]}"
    limits = "limits: {minDwell: 90s}, slo: {ttftP95: 1s}"
    found = fields((chat, f"spec: {{match: {{path: /v2/}}, dataClass: public, clusters: [onprem], {limits}}}"))
    assert found == [
        ("spec.match.path", "/v1/", "/v2/"),
        ("spec.clusters", "[onprem, cloud]", "[onprem]"),
        ("spec.slo.ttftP95", "(none)", "1s"),
        ("spec.limits.minDwell", "30s", "90s"),
    ]


def test_endpoints_are_told_by_their_address_not_by_their_place_in_the_list() -> None:
    found = fields(
        (
            "endpoints: [{address: 10.0.0.1, port: 8000}]",
            "endpoints: [{address: 10.0.0.9, port: 8000}, {address: 10.0.0.1, port: 8000}]",
        )
    )
    assert found == [("spec.endpoints[10.0.0.9:8000]", "(none)", "{address: 10.0.0.9, port: 8000}")]


def test_an_order_that_decides_is_a_change() -> None:
    two = DEAR + (
        "---\napiVersion: penstock/v1\nkind: TrafficPolicy\nmetadata: {name: other}\n"
        "spec: {match: {path: /v3/}, dataClass: public, clusters: [onprem, cloud], prefer: [{sites: [on_prem]}, "
        "{sites: [cloud]}]}\n"
    )
    found = fields(
        ("prefer: [{sites: [on_prem]}, {sites: [cloud]}]", "prefer: [{sites: [cloud]}, {sites: [on_prem]}]"), text=two
    )
    assert found == [
        ("spec.prefer[0].sites", "[on_prem]", "[cloud]"),
        ("spec.prefer[1].sites", "[cloud]", "[on_prem]"),
    ]


def test_a_new_and_a_gone_document_name_where_they_stand_or_stood() -> None:
    rule = "---\napiVersion: penstock/v1\nkind: ResidencyRule\nmetadata: {name: at-home}\n"
    rule += "spec: {dataClass: restricted, allow: {sites: [on_prem]}}\n"
    gone, new = changes((rule, rule.replace("at-home", "our-house")))
    assert (gone.change, gone.name, gone.origin) == (Change.REMOVED, "at-home", "policy.yaml:35:1")
    assert (new.change, new.name, new.fields) == (Change.ADDED, "our-house", ())


def test_credentials_of_a_feed_are_not_repeated() -> None:
    feed = "---\napiVersion: penstock/v1\nkind: CostFeed\nmetadata: {name: prices}\n"
    feed += "spec: {type: http, url: 'https://reader:secret@prices.example.com/v1'}\n"
    priced = edited(DEAR, ("cost: {usdPerMillionTokens: 0.9}", "cost: {feed: prices, key: a}")) + feed
    found = fields(("reader:secret@", "reader:sesame@"), text=priced)
    url = '"https://***@prices.example.com/v1"'
    assert found == [("spec.url", url, f"{url} (what differs is not shown)")]
