"""OpenCost's API, in the shape of its documentation."""

from typing import Any

import pytest

from penstock.signals.price_document import PriceDocumentError
from penstock.signals.price_opencost import ask_opencost
from penstock.signals.readings import Reading
from penstock_policies.feed_apis import OpenCostFigure
from tests.signals.price_answers import allocation, node
from tests.signals.talking import talk

BASE = "http://opencost.opencost:9003"


def read(*figures: OpenCostFigure, data: Any, rate: float = 1.0) -> Reading:
    reading, _ = talk(ask_opencost(BASE, figures, rate, {}, ""), lambda _: {"code": 200, "data": data})
    return reading


def figure(**more: Any) -> OpenCostFigure:
    return OpenCostFigure.model_validate({"key": "home", "aggregate": "namespace", "name": "vllm", **more})


@pytest.mark.parametrize(
    ("more", "price"),
    [
        ({}, 2.5),
        ({"cost": "gpu"}, 2.0),
        ({"unit": "perHour"}, 20.0),
        ({"unit": "perHour", "cost": "gpu"}, 16.0),
        ({"path": "/allocation/compute"}, 2.5),
    ],
)
def test_what_a_workload_cost_is_told_by_the_hour(more: dict[str, Any], price: float) -> None:
    reading = read(figure(**more), data=[{"vllm": allocation("vllm"), "other": allocation("other", totalCost=9.0)}])
    assert reading.figures == {"home": price}


def test_sets_that_were_not_accumulated_are_summed_and_empty_ones_left_out() -> None:
    data = [{"vllm": allocation("vllm")}, None, {}, {"vllm": allocation("vllm", gpuHours=96.0, totalCost=480.0)}]
    assert read(figure(), data=data).figures == {"home": pytest.approx(960 / 288)}


def test_figures_of_one_question_are_asked_together_in_the_apis_words() -> None:
    figures = (
        figure(),
        figure(key="router", name="router"),
        figure(key="app", aggregate="label:app", name="vllm", window="12h"),
        OpenCostFigure.model_validate({"key": "node", "path": "/assets", "name": "gpu-1", "window": "90m"}),
    )

    def answers(ask: Any) -> Any:
        entries = {"vllm": allocation("vllm"), "router": allocation("router"), "k": node("gpu-1", {})}
        return {"code": 200, "status": "success", "data": [entries]}

    reading, asked = talk(ask_opencost(f"{BASE}/", figures, 1.0, {"authorization": "Bearer t"}, "t"), answers)
    assert [ask.url.removeprefix(BASE) for ask in asked] == [
        "/allocation?window=1d&accumulate=true&aggregate=namespace",
        "/allocation?window=12h&accumulate=true&aggregate=label%3Aapp",
        "/assets?window=90m&accumulate=true",
    ]
    assert asked[0].headers == {"authorization": "Bearer t"}
    assert set(reading.figures) == {"home", "router", "app", "node"}


def test_nodes_are_picked_by_name_or_label_and_summed() -> None:
    data = {
        "a": node("gpu-1", {"nvidia.com/gpu.product": "H100"}),
        "b": node("gpu-2", {"label_nvidia_com_gpu_product": "H100"}, totalCost=960.0),
        "c": node("gpu-3", {"nvidia_com_gpu_product": "L4"}, totalCost=1.0),
        "d": {**node("disk", {"nvidia_com_gpu_product": "H100"}), "type": "Disk"},
    }
    by_label = OpenCostFigure(key="h100", path="/assets", label="nvidia.com/gpu.product=H100")
    by_name = OpenCostFigure(key="one", path="/assets", name="gpu-1")
    assert read(by_label, by_name, data=data).figures == {"h100": 1440 / 384, "one": 2.5}


def test_the_currency_of_opencost_is_the_feeds() -> None:
    assert read(figure(), data=[{"vllm": allocation("vllm")}], rate=1.08).figures == {"home": pytest.approx(2.7)}


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (allocation("vllm", gpuHours=0.0), "namespace vllm in its last 1d had no GPU-hours"),
        (allocation("vllm", totalCost=None), "totalCost is null, not a number"),
        ({"name": "vllm"}, "totalCost is null, not a number"),
    ],
)
def test_a_workload_without_a_price_leaves_the_others(entry: dict[str, Any], why: str) -> None:
    reading = read(figure(), figure(key="other", name="other"), data=[{"vllm": entry, "other": allocation("other")}])
    assert reading.refused == {"home": why}
    assert reading.figures == {"other": 2.5}


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({"code": 200, "data": [{}]}, "OpenCost has no namespace vllm in its last 1d"),
        ({"code": 200, "data": None}, "OpenCost has no namespace vllm"),
        ({"code": 400, "data": None, "message": "bad"}, "OpenCost answers with code 400"),
        ({"error": "x"}, "not an answer of OpenCost"),
        ("<html>login</html>", "Invalid JSON"),
    ],
)
def test_an_answer_without_any_is_refused_whole(document: Any, why: str) -> None:
    with pytest.raises(PriceDocumentError, match=why):
        talk(ask_opencost(BASE, [figure()], 1.0, {}, ""), [document])
