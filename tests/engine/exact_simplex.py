"""A second solver for tests: the simplex method in exact fractions with Bland's rule (1977), which cannot cycle.

Slow, short, and shares nothing with HiGHS.
"""

from collections.abc import Sequence
from fractions import Fraction

Matrix = list[list[Fraction]]


def least(costs: Sequence[float], rows: Sequence[Sequence[float]], right: Sequence[float]) -> Fraction | None:
    """Give the least ``costs @ x`` over ``rows @ x = right``, ``x >= 0``; None where there is no such x."""
    width, height = len(costs), len(rows)
    table: Matrix = []
    for number, (row, value) in enumerate(zip(rows, right, strict=True)):
        sign = -1 if value < 0 else 1
        own = [Fraction(int(other == number)) for other in range(height)]
        table.append([*(sign * Fraction(one) for one in row), *own, sign * Fraction(value)])
    basis = list(range(width, width + height))
    first = _minimise([Fraction(0)] * width + [Fraction(1)] * height, table, basis, width + height)
    if first > 0:
        return None
    return _minimise([*map(Fraction, costs)] + [Fraction(0)] * height, table, basis, width)


def _minimise(costs: Sequence[Fraction], table: Matrix, basis: list[int], usable: int) -> Fraction:
    while True:
        prices = [costs[column] for column in basis]
        entering = next(
            (
                column
                for column in range(usable)
                if costs[column] < sum(price * row[column] for price, row in zip(prices, table, strict=True) if price)
            ),
            None,
        )
        if entering is None:
            return sum((price * row[-1] for price, row in zip(prices, table, strict=True)), Fraction(0))
        steps = [(row[-1] / row[entering], basis[at], at) for at, row in enumerate(table) if row[entering] > 0]
        _, _, leaving = min(steps)
        _pivot(table, leaving, entering)
        basis[leaving] = entering


def _pivot(table: Matrix, at: int, column: int) -> None:
    pivot = table[at][column]
    table[at] = [value / pivot for value in table[at]]
    for other, row in enumerate(table):
        if other != at and row[column]:
            factor = row[column]
            table[other] = [value - factor * base for value, base in zip(row, table[at], strict=True)]
