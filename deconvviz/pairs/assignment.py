"""The best one-to-one matching of rows and columns, by shortest augmenting paths (Jonker and Volgenant 1987)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def assignment(scores: Tensor) -> tuple[Tensor, Tensor]:
    """The one-to-one matching with the largest sum of scores.

    Args:
        scores: (rows, columns), finite.

    Returns:
        The matched rows in ascending order, and the column of each; as many as the shorter side has.

    Example:
        >>> assignment(torch.tensor([[0.9, 0.8], [0.8, 0.1]]))
        (tensor([0, 1]), tensor([1, 0]))
    """
    if scores.shape[0] > scores.shape[1]:
        columns, rows = assignment(scores.T)
        order = rows.argsort()
        return rows[order], columns[order]
    if not scores.numel():
        none = torch.zeros(0, dtype=torch.long)
        return none, none
    found = _columns_of(-np.asarray(scores.cpu().double().numpy()))
    return torch.arange(len(scores)), torch.from_numpy(found)


def _columns_of(costs: NDArray[np.float64]) -> NDArray[np.int64]:
    """The column of each row with the smallest sum of costs (rows, columns), where rows are no more than columns."""
    rows, columns = costs.shape
    of_row, of_column = np.zeros(rows), np.zeros(columns)  # the prices, by which every cost becomes at least zero
    owner = np.full(columns, -1)  # the row to which a column belongs
    for new in range(rows):
        lengths, before = np.full(columns, np.inf), np.full(columns, -1)
        reached = np.zeros(columns, dtype=bool)
        row, length, column = new, 0.0, -1
        while row >= 0:
            through = length + costs[row] - of_row[row] - of_column
            better = ~reached & (through < lengths)
            lengths[better], before[better] = through[better], column
            column = int(np.where(reached, np.inf, lengths).argmin())
            length, row = float(lengths[column]), int(owner[column])
            reached[column] = True
        of_row[new] += length
        inside = reached.copy()
        inside[column] = False
        of_row[owner[inside]] += length - lengths[inside]
        of_column[inside] -= length - lengths[inside]
        while column >= 0:  # each column of the path goes to the row before it
            previous = int(before[column])
            owner[column] = new if previous < 0 else owner[previous]
            column = previous
    found = np.full(rows, -1)
    taken = owner >= 0
    found[owner[taken]] = np.flatnonzero(taken)
    return found
