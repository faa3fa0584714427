"""How the bilinear model of `affinity` is fitted: full softmax by L-BFGS. Apart, since only training needs torch.

Letters: E labels, P products, D the customers' width, K the products'.
"""

import numpy as np
import torch

_HISTORY_SIZE = 8


def fit_softmax(
    inputs: np.ndarray, basis: np.ndarray, target: np.ndarray, l2: float, iterations: int
) -> tuple[np.ndarray, np.ndarray]:
    """The weights, [D, K] float32, and the bias, [P] float32.

    Args:
        inputs: [E, D] float32: what the customers are.
        basis: [P, K] float32: what the products are.
        target: [E] int64: the labels.
        l2: weight of the squares beside the mean loss of a label.
        iterations: at most.
    """
    labels = torch.from_numpy(target)
    asked = Softmax(torch.from_numpy(inputs), torch.from_numpy(basis), labels, l2)
    often = torch.bincount(labels, minlength=len(basis)).float()
    weights = torch.zeros(inputs.shape[1], basis.shape[1], requires_grad=True)
    bias = torch.log(often + 0.5).requires_grad_()
    optimiser = torch.optim.LBFGS(
        [weights, bias], max_iter=iterations, history_size=_HISTORY_SIZE, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        value, weights.grad, bias.grad = asked.loss(weights, bias)
        return value

    optimiser.step(loss)
    return weights.detach().numpy(), bias.detach().numpy()


class Softmax:
    """The mean loss of E labels, with squares as a penalty, and its gradients, all in one [E, P] table.

    Autograd would make half a dozen of them at each step, and the kernel as many pages: half of the time went there.
    """

    def __init__(self, inputs: torch.Tensor, basis: torch.Tensor, target: torch.Tensor, l2: float) -> None:
        """`inputs` are [E, D] what the customers are, `basis` [P, K] what the products are, `target` [E] the labels."""
        self._inputs = inputs
        self._basis = basis
        self._target = target[:, None]
        self._l2 = l2
        self._table = torch.empty(len(target), len(basis))

    @torch.no_grad()
    def loss(self, weights: torch.Tensor, bias: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The loss, and its gradients by `weights`, [D, K], and by `bias`, [P]."""
        table, each = self._table, 1 / len(self._target)
        torch.addmm(bias, self._inputs @ weights, self._basis.T, out=table)
        right, top = table.gather(1, self._target), table.amax(dim=1, keepdim=True)
        total = table.sub_(top).exp_().sum(dim=1, keepdim=True)
        value = (top + total.log() - right).mean() + self._l2 * (weights**2).sum()
        table.mul_(each / total)
        table.scatter_add_(1, self._target, torch.full_like(total, -each))
        return value, self._inputs.T @ (table @ self._basis) + 2 * self._l2 * weights, table.sum(dim=0)
