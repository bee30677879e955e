"""The optimum: all rows placed on all clusters at once by a linear program, solved exactly.

Pure and deterministic. :func:`~penstock_policies.engine.optimum.solver.solve` is a
:data:`~penstock_policies.engine.plan.Solver`. Its parts: ``groups`` gathers rows that no coefficient tells apart,
``columns`` and ``formulate`` write the program, ``survival`` and ``refuge`` tell what surviving a loss adds to it,
``simplex`` has HiGHS (``highs``) solve it level by level, ``answer`` reads shares, prices and gaps off the result.
"""

from penstock_policies.engine.optimum.solver import solve

__all__ = ["solve"]
