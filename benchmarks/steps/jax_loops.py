"""Steps in JAX: `fit_guide`'s, NumPyro's SVI's, and those of a bare loop; each compiled whole."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import optax
from jax import lax, random
from jax.example_libraries import stax
from numpyro.infer import SVI, Trace_ELBO
from numpyro.infer.autoguide import AutoIAFNormal

from benchmarks.steps.case import DIM, HIDDEN, LEARNING_RATE, MAX_NORM
from flowkit_core.fitting import GuideFitSettings, Window
from numpyro_flowkit import AutoIAF, AutoRealNVP
from numpyro_flowkit.guides.guide_trainer import GuideTrainer
from numpyro_flowkit.guides.objectives import FlowObjective
from numpyro_flowkit.guides.start import started_params

LOC, SCALE = np.linspace(-1, 1, DIM, dtype=np.float32), np.linspace(0.5, 1.5, DIM, dtype=np.float32)


def gaussian():
    """The target of the timed steps."""
    numpyro.sample("x", dist.Normal(LOC, SCALE).to_event(1))


def twisted():
    """A normalised density without data, so that its evidence is 1 and ELBO = -KL."""
    a = numpyro.sample("a", dist.Normal(0.0, 1.0).expand([8]).to_event(1))
    numpyro.sample("b", dist.Normal(0.5 * (a**2 - 1), 0.5).to_event(1))


def guide_of(case, model, seed=0):
    """The wing's guide and its parameters."""
    kind = {"iaf": AutoIAF, "realnvp": AutoRealNVP}[case.family]
    guide = kind(model, **case.guide_arguments)
    return guide, started_params(model, guide, (), {}, random.key(seed), None)


def trainer_of(case, model, steps, *, seed=0):
    """What takes `fit_guide`'s steps, a window of that many at a time."""
    settings = GuideFitSettings(
        50 * steps, case.particles, LEARNING_RATE, MAX_NORM, case.gradient, None, 1, seed
    )
    guide, params = guide_of(case, model, seed)
    objective = FlowObjective(model, guide, params, (), {})
    return GuideTrainer(objective, params, settings, None)


def fit_guide(case):
    steps = case.steps("jax")
    trainer = trainer_of(case, gaussian, steps)
    window = Window(np.full(steps, LEARNING_RATE), case.gradient == "path", False)
    return lambda call: trainer.run(window, seed=(0, call))


def svi(case):
    guide, _ = guide_of(case, gaussian)
    guide.path_gradient = case.gradient == "path"
    return _svi_loop(case, guide)


def auto_iaf_normal(case):
    guide = AutoIAFNormal(
        gaussian, num_flows=3, hidden_dims=[HIDDEN, HIDDEN], nonlinearity=stax.Relu
    )
    return _svi_loop(case, guide)


def _svi_loop(case, guide):
    stepper = SVI(gaussian, guide, numpyro.optim.Adam(LEARNING_RATE), Trace_ELBO(case.particles))
    state = stepper.init(random.key(0))

    @jax.jit
    def run(state):
        return lax.scan(lambda s, _: stepper.update(s), state, length=case.steps("jax"))

    return _carried(run, state)


def bare(case):
    guide, params = guide_of(case, gaussian)
    adam = optax.chain(optax.clip_by_global_norm(MAX_NORM), optax.adam(LEARNING_RATE))

    def loss(params, key):
        z = random.normal(key, (case.particles, DIM))
        x, log_det = guide.get_transform(params).forward_and_log_det(z)
        log_q = -0.5 * jnp.square(z).sum(-1) - log_det
        log_p = -0.5 * jnp.square((x - LOC) / SCALE).sum(-1) - np.log(SCALE).sum()
        return (log_q - log_p).mean()

    def step(carry, key):
        params, moments = carry
        value, gradient = jax.value_and_grad(loss)(params, key)
        update, moments = adam.update(gradient, moments)
        return (optax.apply_updates(params, update), moments), value

    @jax.jit
    def run(state):
        carry, key = state
        key, own = random.split(key)
        carry, values = lax.scan(step, carry, random.split(own, case.steps("jax")))
        return (carry, key), values

    return _carried(run, ((params, adam.init(params)), random.key(0)))


def _carried(run, state):
    """Calls that go on from one another."""

    def call(_):
        nonlocal state
        state, values = run(state)
        np.asarray(values)

    return call


LOOPS = {"fit_guide": fit_guide, "svi": svi, "auto_iaf_normal": auto_iaf_normal, "bare": bare}
