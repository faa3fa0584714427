"""The options and limits as arrays: R options, K shared constraints, each `sum of coefficients <= limit`."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from scipy import sparse

from recsys.campaigns.allocation.limits import AllocationLimits
from recsys.errors import InfeasibleError
from recsys.schema import CUSTOMER_ID, PRODUCT_ID

KEYS = (CUSTOMER_ID, PRODUCT_ID, "content_id", "channel", "slot")
REQUIRED = (*KEYS, "category", "segment", "value", "cost")


@dataclass(frozen=True)
class Problem:
    """Options in the order of customer, then their other keys."""

    options: pl.DataFrame
    customer: np.ndarray
    """[R] int64, rising."""
    group: np.ndarray
    """[R] int64: customer and category together."""
    value: np.ndarray
    """[R] float64."""
    cost: np.ndarray
    """[R] float64."""
    shared: sparse.csr_matrix
    """[K, R]"""
    limit: np.ndarray
    """[K] float64."""
    names: tuple[str, ...]
    """[K]"""
    minimum: np.ndarray
    """[K] bool: the row says `at least`, as `-sum <= -minimum`."""
    limits: AllocationLimits

    @classmethod
    def of(cls, options: pl.DataFrame, limits: AllocationLimits) -> "Problem":
        """Sorts the options and writes the limits as rows.

        Raises:
            ValueError: a column is missing, an option is there twice, a value or cost is no finite number, or a cost is
                below zero.
        """
        missing = [name for name in REQUIRED if name not in options.columns]
        if missing:
            raise ValueError(f"options lack the columns {', '.join(missing)}")
        options = options.sort(KEYS)
        if options.select(pl.struct(KEYS).is_duplicated().any()).item():
            raise ValueError("an option (customer, product, content, channel, slot) is there twice")
        value, cost = (options[name].cast(pl.Float64).to_numpy() for name in ("value", "cost"))
        if not (np.isfinite(value).all() and np.isfinite(cost).all() and (cost >= 0).all()):
            raise ValueError("values and costs must be finite numbers, costs at least 0")
        customer = options[CUSTOMER_ID].rle_id().to_numpy().astype(np.int64)
        group = options.select(pl.struct(CUSTOMER_ID, "category").rank("dense")).to_series().to_numpy().astype(np.int64)
        rows = _shared_rows(options, cost, limits)
        matrix = sparse.vstack([sparse.csr_matrix((0, len(value))), *(row[1] for row in rows)]).tocsr()
        return cls(
            options=options,
            customer=customer,
            group=group,
            value=value,
            cost=cost,
            shared=matrix,
            limit=np.array([row[2] for row in rows], np.float64),
            names=tuple(row[0] for row in rows),
            minimum=np.array([row[2] < 0 for row in rows], bool),
            limits=limits,
        )

    def __len__(self) -> int:
        return len(self.value)

    @cached_property
    def by_option(self) -> sparse.csc_matrix:
        """The shared rows, quick to read by option."""
        return self.shared.tocsc()

    def take(self, customers: np.ndarray, share: float) -> "Problem":
        """The same of some customers ([n] of their numbers), with every shared limit scaled by `share`."""
        rows = np.flatnonzero(np.isin(self.customer, customers))
        return Problem(
            options=self.options[rows],
            customer=np.unique(self.customer[rows], return_inverse=True)[1],
            group=self.group[rows],
            value=self.value[rows],
            cost=self.cost[rows],
            shared=self.shared[:, rows],
            limit=self.limit * share,
            names=self.names,
            minimum=self.minimum,
            limits=self.limits,
        )

    def own_rows(self) -> tuple[sparse.csr_matrix, np.ndarray]:
        """[J, R] rows of the customers' own caps, and their limits [J]."""
        ones, columns = np.ones(len(self)), np.arange(len(self))
        matrices, limits = [sparse.csr_matrix((ones, (self.customer, columns)))], []
        limits.append(np.full(matrices[0].shape[0], float(self.limits.per_customer)))
        cap = self.limits.per_category
        if cap is not None and cap < self.limits.per_customer:
            _, group = np.unique(self.group, return_inverse=True)
            matrices.append(sparse.csr_matrix((ones, (group, columns))))
            limits.append(np.full(matrices[1].shape[0], float(cap)))
        return sparse.vstack(matrices).tocsr(), np.concatenate(limits)

    def explain_minima(self) -> None:
        """Refuses minima that can be seen to be out of reach.

        Raises:
            InfeasibleError: with each reason in words.
        """
        reasons = []
        for row in np.flatnonzero(self.minimum):
            wanted = -self.limit[row]
            columns = self.shared[row].indices
            per_customer = np.bincount(self.customer[columns]) if len(columns) else np.zeros(0)
            reachable = np.minimum(per_customer, self.limits.per_customer).sum()
            if reachable < wanted:
                reasons.append(
                    f"{self.names[row]}: {wanted:.0f} wanted, {reachable:.0f} possible: lower the minimum by "
                    f"{wanted - reachable:.0f} or widen the audience"
                )
        for channel, capacity in self.limits.channels.items():
            wanted = sum(cell.minimum for cell in self.limits.cells if cell.channel == channel)
            if wanted > capacity:
                reasons.append(f"channel {channel}: its cells want {wanted} contacts, it carries {capacity}")
        reasons += self._dear_minima()
        if reasons:
            raise InfeasibleError(reasons)

    def _dear_minima(self) -> list[str]:
        if self.limits.budget is None:
            return []
        least = 0.0
        for row in np.flatnonzero(self.minimum):
            cheapest = np.sort(self.cost[self.shared[row].indices])[: int(-self.limit[row])]
            least += float(cheapest.sum())
        if least <= self.limits.budget + 1e-9:
            return []
        return [f"budget: the minima of the cells cost at least {least:,.2f}, the budget is {self.limits.budget:,.2f}"]


def _shared_rows(
    options: pl.DataFrame, cost: np.ndarray, limits: AllocationLimits
) -> list[tuple[str, sparse.csr_matrix, float]]:
    """Name, coefficients [1, R] and limit."""
    ones = np.ones(len(cost))

    def row(mask: pl.Expr, values: np.ndarray) -> sparse.csr_matrix:
        columns = np.flatnonzero(options.select(mask.alias("m"))["m"].to_numpy())
        shape = (1, len(cost))
        return sparse.csr_matrix((values[columns], (np.zeros(len(columns), np.int64), columns)), shape=shape)

    rows = []
    if limits.budget is not None:
        rows.append(("budget", sparse.csr_matrix(cost[None, :]), float(limits.budget)))
    for channel, capacity in sorted(limits.channels.items()):
        rows.append((f"channel {channel}", row(pl.col("channel") == channel, ones), float(capacity)))
    for product, capacity in sorted(limits.products.items()):
        rows.append((f"product {product}", row(pl.col(PRODUCT_ID) == product, ones), float(capacity)))
    for cell in limits.cells:
        inside = (pl.col("segment") == cell.segment) & (pl.col("channel") == cell.channel)
        if cell.maximum is not None:
            rows.append((f"cell {cell.name}, at most", row(inside, ones), float(cell.maximum)))
        if cell.minimum:
            rows.append((f"cell {cell.name}, at least", row(inside, -ones), -float(cell.minimum)))
    return rows
