"""How near a guide comes to a target of known evidence, step by step."""

import numpy as np

from benchmarks.steps import loops
from flowkit_core.fitting import Window


def curve(library, case, *, steps, every, rate, seed):
    """KL divergence from the guide to `twisted`, the negative ELBO.

    Args:
        library: whose guide.
        case: a `StepCase`; the gradient is its.
        steps: to take, at a constant rate.
        every: steps between two evaluations (4096 draws each).
        rate: of Adam.
        seed: of all draws, and in JAX of the first weights.

    Returns:
        dict with ``kl``, a number before the first step and one after every so many, and
        ``stderr``, the last one's standard error.
    """
    module = loops(library)
    trainer = module.trainer_of(case, module.twisted, every, seed=seed)
    window = Window(np.full(every, rate), case.gradient == "path", False)
    elbo, stderr = trainer.evaluate(trainer.weights())
    found = [-elbo]
    for number in range(steps // every):
        trainer.run(window, seed=(seed, number + 1))
        elbo, stderr = trainer.evaluate(trainer.weights())
        found.append(-elbo)
    return {"kl": found, "stderr": stderr}
