"""A row that has fallen below the others: in explanations, summaries of decisions and findings."""

from dataclasses import replace

from penstock_policies.decision import Decision, Note, Row, Rung, Stage
from tests.admin.conftest import Api
from tests.admin.fake_control import CHAT_US, FakeControlPlane, example_decision, stored


def _fallen(rung: Rung, **changes: object) -> Decision:
    """One row of the example on a lower rung, the others planned by the optimum."""
    decision = example_decision()
    note = Note(Stage.SOLVE, f"fell back to {rung}", {"from": Rung.WATERFALL, "why": "weights sum to 3"})
    row: Row = replace(decision.rows[CHAT_US], rung=rung, notes=(note,), **changes)  # type: ignore[arg-type] # shorthand
    return replace(decision, rung=rung, rows={**decision.rows, CHAT_US: row})


async def _findings(api: Api, kind: str) -> list[tuple[str, str]]:
    found = (await api.get("/api/v1/status")).json["findings"]
    return [(each["severity"], each["message"]) for each in found if each["kind"] == kind]


async def test_an_explanation_says_which_row_fell_and_why(api: Api, control: FakeControlPlane) -> None:
    control.decision = _fallen(Rung.STATIC)
    text = (await api.get("/api/v1/explain/chat")).json["text"]
    assert "solved by optimum (3 rows) and static (1 row)." in text
    assert text.count("fell to the rung") == 1
    assert "  fell to the rung static: weights sum to 3\n" in text


async def test_where_no_row_fell_by_itself_the_rung_of_the_decision_is_told(api: Api) -> None:
    text = (await api.get("/api/v1/explain/chat")).json["text"]
    assert "solved by waterfall." in text
    assert "fell to the rung" not in text


async def test_a_summary_counts_the_rungs_and_names_that_of_every_row_that_changed(
    api: Api, control: FakeControlPlane
) -> None:
    fallen = _fallen(Rung.STATIC, weights={"onprem-fra": 0, "cloud-eu-west": 10_000, "cloud-us-east": 0})
    control.decisions = [stored(replace(fallen, id="dec3")), *control.decisions]
    (newest, *_) = (await api.get("/api/v1/decisions")).json["items"]
    assert (newest["rung"], newest["rungs"]) == ("static", {"optimum": 3, "static": 1})
    assert [(row["policy"], row["region"], row["rung"]) for row in newest["rows"]] == [("chat", "us-east", "static")]


async def test_rows_without_a_sound_plan_are_a_finding(api: Api, control: FakeControlPlane) -> None:
    assert await _findings(api, "row-unplanned") == []
    control.decision = _fallen(Rung.STATIC)
    ((severity, message),) = await _findings(api, "row-unplanned")
    assert severity == "warning"
    assert message == (
        "1 row has no sound plan. First: chat in us-east for llama-3-70b, served by static; "
        "`penstock explain chat` says why"
    )


async def test_a_row_that_the_ladder_refuses_is_not_said_to_lack_clusters(api: Api, control: FakeControlPlane) -> None:
    control.decision = _fallen(Rung.REFUSED, weights={}, legs={}, refusal="no_cluster_available")
    ((severity, message),) = await _findings(api, "row-refused")
    assert severity == "error"
    assert message == "No sound plan was found for chat in us-east for llama-3-70b: its requests get 503"
