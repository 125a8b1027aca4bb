"""Logistic regression with more coefficients than rows: generated data, and what a fit knows of it.

The prior is the regularised horseshoe, coefficients not centred: ``beta_j = tau l_j z_j`` with
``l_j = lambda_j / sqrt(1 + tau^2 lambda_j^2 / c^2)`` and z_j standard Normal, lambda_j half-Cauchy,
tau half-Cauchy of the scale that the number of signals asks for, c^2 inverse-Gamma.

References:
    Piironen, Vehtari, "Sparsity information and regularization in the horseshoe and other shrinkage
    priors", 2017, sections 2.3 and 3.
"""

from dataclasses import dataclass

import numpy as np

SLAB_SCALE = 2.0
SLAB_FREEDOM = 4.0
HELD_OUT = 4000


@dataclass(frozen=True)
class Sparse:
    """Rows of Normal features, labels, and the coefficients that made them.

    Args:
        x: features that the model sees, (rows, dim), float32.
        y: their labels, (rows,), float32.
        x_held_out: features that it does not see.
        logits_held_out: the true logits there.
        beta: true coefficients, most of them zero.
    """

    x: np.ndarray
    y: np.ndarray
    x_held_out: np.ndarray
    logits_held_out: np.ndarray
    beta: np.ndarray

    @property
    def signals(self):
        """Which coefficients are not zero."""
        return self.beta != 0

    @property
    def tau_scale(self):
        """Scale of tau that expects as many signals as there are; a label is worth a sd of 2."""
        count = int(self.signals.sum())
        return float(count / (len(self.beta) - count) * 2 / np.sqrt(len(self.y)))


def sparse(dim, rows, signals, seed=0):
    """Data with ``signals`` coefficients of size 1 to 3, of either sign, among ``dim``."""
    rng = np.random.default_rng(seed)
    beta = np.zeros(dim)
    where = rng.choice(dim, signals, replace=False)
    beta[where] = np.linspace(1, 3, signals) * rng.choice((-1, 1), signals)
    x = rng.normal(size=(rows + HELD_OUT, dim))
    logits = x @ beta
    y = rng.uniform(size=rows) < _probability(logits[:rows])
    x = x.astype(np.float32)
    return Sparse(x[:rows], y.astype(np.float32), x[rows:], logits[rows:], beta)


def log_loss(data, probability):
    """Expected negative log-likelihood of a held-out label under the true coefficients, nats."""
    true = _probability(data.logits_held_out)
    bounded = np.clip(probability, 1e-12, 1 - 1e-12)
    return float(-(true * np.log(bounded) + (1 - true) * np.log1p(-bounded)).mean())


def learnt(data, beta):
    """What draws of the coefficients (n, dim) know.

    Returns:
        dict with: log_loss, of the posterior predictive; found, signals whose 90 % interval leaves
        out zero; false, other coefficients of which the same is true; coverage, share of the
        signals that lie in their intervals.
    """
    predictive = _probability(data.x_held_out @ beta.T).mean(1)
    low, high = np.quantile(beta, [0.05, 0.95], axis=0)
    apart = (low > 0) | (high < 0)
    inside = (low <= data.beta) & (data.beta <= high)
    return {
        "log_loss": log_loss(data, predictive),
        "found": int(apart[data.signals].sum()),
        "false": int(apart[~data.signals].sum()),
        "coverage": float(inside[data.signals].mean()),
    }


def rivals(data):
    """Held-out log-loss of the truth, of knowing nothing, of ridge and of lasso.

    Their penalties are the best of a grid *on the held-out rows*, which favours them.
    """

    def best(penalties, *, absolute):
        fits = (_penalised(data, penalty, absolute=absolute) for penalty in penalties)
        return min(log_loss(data, _probability(data.x_held_out @ beta)) for beta in fits)

    return {
        "truth": log_loss(data, _probability(data.logits_held_out)),
        "nothing": log_loss(data, np.full(len(data.x_held_out), data.y.mean())),
        "ridge": best(np.geomspace(10, 1000, 5), absolute=False),
        "lasso": best(np.geomspace(1, 30, 7), absolute=True),
    }


def _penalised(data, penalty, *, absolute, steps=1000):
    """Coefficients that minimise the summed loss and ``penalty`` times |beta| or beta^2 / 2.

    Proximal gradient steps with momentum (Beck, Teboulle, 2009), which need no other library.
    """
    x, y = data.x.astype(np.float64), data.y
    step = 4 / np.linalg.norm(x, 2) ** 2  # one over the largest curvature of the loss
    beta = ahead = np.zeros(x.shape[1])
    for k in range(steps):
        moved = ahead - step * x.T @ (_probability(x @ ahead) - y)
        if absolute:
            moved = np.sign(moved) * np.maximum(np.abs(moved) - step * penalty, 0)
        else:
            moved /= 1 + step * penalty
        ahead = moved + k / (k + 3) * (moved - beta)
        beta = moved
    return beta


def _probability(logits):
    return 0.5 * (1 + np.tanh(np.asarray(logits, np.float64) / 2))
