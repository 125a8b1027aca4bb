"""Steps in torch: `fit_guide`'s, Pyro's SVI's, and those of a bare loop."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro.infer import SVI, Trace_ELBO
from pyro.infer.autoguide import AutoIAFNormal

from benchmarks.steps.case import DIM, HIDDEN, LEARNING_RATE, MAX_NORM
from flowkit_core.fitting import GuideFitSettings, Window
from pyro_flowkit import AutoIAF, AutoRealNVP
from pyro_flowkit.guides.guide_trainer import GuideTrainer
from pyro_flowkit.guides.objectives import FlowObjective

LOC, SCALE = torch.linspace(-1, 1, DIM), torch.linspace(0.5, 1.5, DIM)


def gaussian():
    """The target of the timed steps."""
    pyro.sample("x", dist.Normal(LOC, SCALE).to_event(1))


def twisted():
    """A normalised density without data, so that its evidence is 1 and ELBO = -KL."""
    a = pyro.sample("a", dist.Normal(0.0, 1.0).expand([8]).to_event(1))
    pyro.sample("b", dist.Normal(0.5 * (a.square() - 1), 0.5).to_event(1))


def guide_of(case, model):
    """The wing's guide, which has met its model."""
    pyro.clear_param_store()  # or a new guide goes on from the weights of the last
    kind = {"iaf": AutoIAF, "realnvp": AutoRealNVP}[case.family]
    guide = kind(model, **case.guide_arguments)
    guide()
    return guide


def trainer_of(case, model, steps, *, seed=0):
    """What takes `fit_guide`'s steps, a window of that many at a time."""
    settings = GuideFitSettings(
        50 * steps, case.particles, LEARNING_RATE, MAX_NORM, case.gradient, None, 1, seed
    )
    objective = FlowObjective(model, guide_of(case, model), (), {})
    return GuideTrainer(objective, settings, None)


def fit_guide(case):
    steps = case.steps("torch")
    trainer = trainer_of(case, gaussian, steps)
    window = Window(np.full(steps, LEARNING_RATE), case.gradient == "path", False)
    return lambda call: trainer.run(window, seed=(0, call))


def svi(case):
    guide = guide_of(case, gaussian)
    guide.path_gradient = case.gradient == "path"
    return _svi_loop(case, guide)


def auto_iaf_normal(case):
    pyro.clear_param_store()
    return _svi_loop(case, AutoIAFNormal(gaussian, hidden_dim=[HIDDEN, HIDDEN], num_transforms=3))


def _svi_loop(case, guide):
    elbo = Trace_ELBO(
        num_particles=case.particles, max_plate_nesting=0, vectorize_particles=case.particles > 1
    )
    stepper = SVI(gaussian, guide, pyro.optim.Adam({"lr": LEARNING_RATE}), elbo)

    def call(_):
        for _ in range(case.steps("torch")):
            stepper.step()

    return call


def bare(case):
    flow = guide_of(case, gaussian).get_transform()
    weights = list(flow.parameters())
    adam = torch.optim.Adam(weights, lr=LEARNING_RATE, fused=True)
    base_constant = 0.5 * DIM * math.log(2 * math.pi)
    constant = base_constant + float(SCALE.log().sum())

    def call(_):
        for _ in range(case.steps("torch")):
            adam.zero_grad(set_to_none=True)
            z = torch.randn(case.particles, DIM)
            x, log_det = flow.forward_and_log_det(z)
            log_q = -0.5 * z.square().sum(-1) - base_constant - log_det
            log_p = -0.5 * ((x - LOC) / SCALE).square().sum(-1) - constant
            loss = (log_q - log_p).mean()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, MAX_NORM)
            loss.item()
            adam.step()

    return call


LOOPS = {"fit_guide": fit_guide, "svi": svi, "auto_iaf_normal": auto_iaf_normal, "bare": bare}
