"""The policy language and the decision engine. Pure: no I/O, no clock, no event loop, no logging.

Text comes in through :mod:`penstock_policies.loader`; :mod:`penstock_policies.engine` turns a
:class:`~penstock_policies.policyset.PolicySet` and what was observed into a
:class:`~penstock_policies.decision.Decision`.
"""
