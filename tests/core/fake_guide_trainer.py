"""A trainer of a guide in numpy, and settings of a short fit, for tests of the loop."""

import math

import numpy as np

from flowkit_core.fitting import GuideFitSettings, GuideFitState, GuidePlan, run_guide_fit

TARGET = np.array([3.0, -1.0])


class QuadraticTrainer:
    """Noisy gradient descent with momentum; the ELBO is minus a squared distance.

    Args:
        noise: standard deviation of a step's loss about the true one.
        nan_every: every so many steps the loss is NaN.
        script: called with the trainer and the step before every window.
    """

    def __init__(self, *, noise=0.1, nan_every=0, script=None):
        self.noise, self.nan_every, self.script = noise, nan_every, script
        self.weight, self.momentum = np.zeros(2), np.zeros(2)
        self.mean, self.count = np.zeros(2), 0
        self.windows = []

    def _loss(self, weight):
        return float(((weight - TARGET) ** 2).sum())

    def run(self, window, *, seed):
        self.windows.append(window)
        if self.script is not None:
            self.script(self, seed[1])
        rng = np.random.default_rng(seed)
        losses, skipped = np.empty(len(window.rates)), 0
        for i, rate in enumerate(window.rates):
            losses[i] = self._loss(self.weight) + self.noise * rng.normal()
            noise = self.noise * rng.normal(size=2)
            if self.nan_every and (seed[1] + i) % self.nan_every == 0:
                losses[i], skipped = math.nan, skipped + 1
            else:
                self.momentum = 0.5 * self.momentum + 2 * (self.weight - TARGET) + noise
                self.weight = self.weight - rate * self.momentum
            if window.average:
                self.count += 1
                self.mean = self.mean + (self.weight - self.mean) / self.count
        return losses, skipped

    def evaluate(self, weights):
        return -self._loss(weights["weight"]), 0.01

    def weights(self):
        return {"weight": self.weight.copy()}

    def average(self):
        return {"weight": self.mean.copy()} if self.count else {}

    def set_weights(self, arrays):
        self.weight, self.momentum = arrays["weight"].copy(), np.zeros(2)
        self.mean, self.count = np.zeros(2), 0

    def state(self):
        return {
            "weight": self.weight.copy(), "momentum": self.momentum.copy(),
            "mean": self.mean.copy(), "count": np.array(self.count),
        }  # fmt: skip

    def set_state(self, arrays):
        self.weight, self.momentum = arrays["weight"].copy(), arrays["momentum"].copy()
        self.mean, self.count = arrays["mean"].copy(), int(arrays["count"])

    def fit(self, *, checkpoint=None, max_seconds=math.inf, progress=False, paths=True, **changes):
        plan = GuidePlan(guide_settings(**changes), has_path_gradient=paths)
        return run_guide_fit(
            self, plan, progress=progress, max_seconds=max_seconds, checkpoint=checkpoint
        )


def guide_settings(**changes):
    """Settings of a short fit: windows of 10 steps."""
    defaults = {
        "num_steps": 500, "num_particles": 4, "learning_rate": 0.02, "max_grad_norm": 10.0,
        "gradient": "auto", "warm_start": None, "num_starts": 1, "seed": 0,
    }  # fmt: skip
    return GuideFitSettings(**{**defaults, **changes})


def new_state(plan):
    """The state that a fit by this plan starts from."""
    return GuideFitState(phase=plan.first_phase, rate=plan.settings.learning_rate)


def play(plan, losses, *, state=None, until=10_000):
    """Windows whose losses are ``losses(state, count)``, until the plan ends it.

    Returns:
        The final state and the list of windows.
    """
    state = new_state(plan) if state is None else state
    windows = []
    while not state.stopped and len(windows) < until:
        window = plan.next_window(state)
        windows.append(window)
        plan.advance(state, losses(state, len(window.rates)), 0)
    return state, windows
