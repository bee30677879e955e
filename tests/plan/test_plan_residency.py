from penstock.plan.residency import Permission, Reach
from penstock_policies.words import DataClass
from tests.plan.planning import DEAR, plan_of

RULE = "spec: {dataClass: restricted, allow: {sites: [on_prem]}}"
RECORDS = "spec: {match: {path: /v1/}, dataClass: restricted, clusters: [onprem]}"
CLOUD = "  site: cloud\n  region: eu-west"


def test_a_wider_rule_is_a_loosening_even_before_a_policy_makes_use_of_it() -> None:
    effect = plan_of((RULE, RULE.replace("[on_prem]", "[on_prem, cloud]"))).residency
    why = "until now rule at-home allows restricted data only at on_prem"
    assert effect.loosened == (Permission(DataClass.RESTRICTED, "cloud", why),)
    assert (effect.gained, effect.tightened) == ((), ())


def test_a_rule_that_is_gone_is_a_loosening() -> None:
    document = f"---\napiVersion: penstock/v1\nkind: ResidencyRule\nmetadata: {{name: at-home}}\n{RULE}\n"
    assert [each.subject for each in plan_of((document, "")).residency.loosened] == ["cloud"]


def test_a_cluster_declared_to_be_elsewhere_is_a_loosening() -> None:
    effect = plan_of((CLOUD, CLOUD.replace("site: cloud", "site: on_prem"))).residency
    (loosened,) = effect.loosened
    assert (loosened.data_class, loosened.subject) == (DataClass.RESTRICTED, "cloud")
    assert loosened.why.startswith("the cluster is now declared elsewhere")


def test_a_listener_that_takes_requests_for_less_sensitive_is_a_loosening() -> None:
    text = DEAR.replace("port: 10000, dataClass: public", "port: 10000, dataClass: restricted")
    effect = plan_of(("port: 10000, dataClass: restricted", "port: 10000, dataClass: public"), text=text).residency
    (loosened,) = effect.loosened
    assert loosened.subject == "0.0.0.0:10000"
    assert "were taken for restricted, now for public" in loosened.why


def test_a_stricter_rule_is_no_loosening() -> None:
    text = DEAR.replace(RULE, RULE.replace("[on_prem]", "[on_prem, cloud]"))
    effect = plan_of(("sites: [on_prem, cloud]}", "sites: [on_prem]}"), text=text).residency
    assert effect.loosened == ()
    assert [(each.data_class, each.subject) for each in effect.tightened] == [(DataClass.RESTRICTED, "cloud")]


def test_what_restricted_requests_newly_come_to_is_named_by_cluster() -> None:
    effect = plan_of(
        (RULE, RULE.replace("[on_prem]", "[on_prem, cloud]")),
        (RECORDS, RECORDS.replace("[onprem]", "[onprem, cloud]")),
    ).residency
    assert effect.gained == (Reach(DataClass.RESTRICTED, "cloud", ""),)
    assert effect.sensitive_gained == effect.gained


def test_a_new_address_of_a_cluster_is_named_for_every_class_that_comes_to_it() -> None:
    effect = plan_of(("address: 10.0.0.1", "address: 10.9.9.9")).residency
    assert [(each.data_class, each.endpoint) for each in effect.gained] == [
        (DataClass.PUBLIC, "10.9.9.9:8000"),
        (DataClass.RESTRICTED, "10.9.9.9:8000"),
    ]
    assert [each.endpoint for each in effect.sensitive_gained] == ["10.9.9.9:8000"]
    assert {each.endpoint for each in effect.lost} == {"10.0.0.1:8000"}


def test_what_is_no_longer_reached_is_named() -> None:
    effect = plan_of(("clusters: [onprem, cloud]}", "clusters: [onprem]}")).residency
    assert effect.lost == (Reach(DataClass.PUBLIC, "cloud", ""),)
    assert effect.gained == ()
