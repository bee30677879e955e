"""Where handlers find what the application was built with."""

from typing import Final

from aiohttp import web

from penstock.admin.decision_summary import DecisionSummaries
from penstock.admin.metrics import Metrics
from penstock.admin.ports import ControlPlane

CONTROL: Final[web.AppKey[ControlPlane]] = web.AppKey("control")
METRICS: Final[web.AppKey[Metrics]] = web.AppKey("metrics")
SUMMARIES: Final[web.AppKey[DecisionSummaries]] = web.AppKey("summaries")
