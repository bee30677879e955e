"""The decision engine: from what was observed to weights with reasons. :func:`decide` is its whole surface."""

from penstock_policies.engine.pipeline import decide

__all__ = ["decide"]
