"""A report of the ledger to show: on-prem clusters paid by the hour, one of them idle, a cloud one, and odd names."""

from penstock.state.costs import PARTS, Found, Idle, Line
from penstock.state.ledger import Amounts

HOUR = 1_799_996_400
"""The hour in which the fake control plane's now is not; it is the one before."""


def line(
    policy: str, cluster: str, amounts: Amounts, amortized_usd: float, *, hour: int | None = HOUR, **of: str
) -> Line:
    site = {"onprem-fra": "on_prem", "": ""}.get(cluster, "cloud")
    known = {
        "policy": policy,
        "data_class": "public",
        "model": "llama-3-70b",
        "cluster": cluster,
        "site": site,
        "region": "eu-central" if cluster else "",
        "edge_region": "eu-west",
        **of,
    }
    return Line(hour, {name: known[name] for name in PARTS}, amounts, amortized_usd)


ON_PREM = Amounts(
    requests=100,
    failed=2,
    unmetered=1,
    prompt_tokens=90_000,
    cached_prompt_tokens=30_000,
    output_tokens=10_000,
    usd=0.002,
    work=70_000,
    estimated_tokens=1_000,
    estimated_usd=0.00002,
    on_prem_usd=0.002,
    cloud_usd=0.09,
)
CLOUD = Amounts(
    requests=50,
    prompt_tokens=40_000,
    output_tokens=10_000,
    usd=0.045,
    work=50_000,
    estimated_requests=50,
    estimated_tokens=50_000,
    estimated_usd=0.045,
    on_prem_usd=0.001,
    cloud_usd=0.045,
)
REPORT = Found(
    lines=(
        line("chat", "cloud-eu-west", CLOUD, 0.045),
        line("chat", "onprem-fra", ON_PREM, 8.56),
        line("=cmd()", "", Amounts(requests=3, failed=3), 0.0, model="@SUM(A1)"),
    ),
    idle=(Idle(HOUR, "onprem-ams", "on_prem", "eu-west", 1800.0, 4.28),),
)
