"""Trainers in numpy, for tests of the loop that knows no framework."""

import numpy as np

from flowkit_core.fitting import FitSettings, run_fit


class MeanTrainer:
    """Gradient descent with momentum towards the mean of some rows."""

    def __init__(self, settings, num_rows=30):
        rows = np.random.default_rng(5).normal(size=(num_rows, 3)) + 2
        train, held_out = settings.split(num_rows)
        self.rows, self.held_out = rows[train], rows[held_out]
        self.weight, self.momentum = np.zeros(3), np.zeros(3)
        self.skipped = 0

    def _loss(self, rows):
        return float(((rows - self.weight) ** 2).sum(-1).mean())

    def train_epoch(self, batches, rates):
        losses = []
        for batch, rate in zip(batches, rates, strict=True):
            rows = self.rows[batch]
            losses.append(self._loss(rows))
            self.momentum = 0.9 * self.momentum + 2 * (self.weight - rows.mean(0))
            self.weight = self.weight - rate * self.momentum
        return float(np.mean(losses)), 1

    def held_out_loss(self):
        return self._loss(self.held_out)

    def weights(self):
        return {"weight": self.weight.copy()}

    def set_weights(self, arrays):
        self.weight = arrays["weight"].copy()

    def state(self):
        return {"weight": self.weight.copy(), "momentum/of.weight": self.momentum.copy()}

    def set_state(self, arrays):
        self.weight = arrays["weight"].copy()
        self.momentum = arrays["momentum/of.weight"].copy()

    def fit(self, settings, checkpoint=None, **kwargs):
        return run_fit(
            self, settings, architecture=None,
            num_train=len(self.rows), num_held_out=len(self.held_out),
            **{"progress": False, "checkpoint": checkpoint, **kwargs},
        )  # fmt: skip


class ScriptedTrainer:
    """Losses read from a list; the weight is the number of epochs trained."""

    def __init__(self, train, held_out=None):
        self.train, self.held_out = train, held_out
        self.epoch = 0

    def train_epoch(self, batches, rates):
        self.epoch += 1
        return self.train[self.epoch - 1], 0

    def held_out_loss(self):
        return self.held_out[self.epoch - 1]

    def weights(self):
        return {"epoch": np.array([self.epoch])}

    def set_weights(self, arrays):
        self.epoch = int(arrays["epoch"][0])

    state, set_state = weights, set_weights

    def fit(self, settings, checkpoint=None, **kwargs):
        return run_fit(
            self, settings, architecture=None,
            num_train=20, num_held_out=0 if self.held_out is None else 5,
            **{"progress": False, "checkpoint": checkpoint, **kwargs},
        )  # fmt: skip


def fit_settings(**changes):
    """Settings of a short fit."""
    defaults = {
        "validation": 0.2, "batch_size": 4, "num_epochs": 8, "learning_rate": 0.02,
        "schedule": "cosine", "max_grad_norm": 5.0, "patience": 100, "seed": 0,
    }  # fmt: skip
    return FitSettings(**{**defaults, **changes})
