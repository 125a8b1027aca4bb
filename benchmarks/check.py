"""Do all adapters compute the same kind of thing? Round trip, log-determinant, live gradients."""

import numpy as np

from benchmarks.case import Case
from benchmarks.libraries import LIBRARIES
from benchmarks.peers import adapter

TOLERANCE = 2e-4  # float32, small flows
CASES = {
    "maf": Case("maf", 6, hidden=16, layers=3, batch=5),
    "realnvp": Case("realnvp", 6, hidden=16, layers=4, batch=5),
    "lu": Case("lu", 6, batch=5),
    "planar": Case("planar", 6, layers=3, batch=5),
    "sylvester": Case("sylvester", 6, layers=2, batch=5),
    "image_coupling": Case("image_coupling", 16, hidden=6, batch=5),
    "conv1x1": Case("conv1x1", 16, batch=5),
}
# What upstream has wrong, and no adapter can set right.
KNOWN = {("pyro", "sylvester"): "its log-determinant is not that of its Jacobian"}


def check_adapter(library, family):
    """Errors of one adapter, each of which should be below `TOLERANCE`, and its weights' count.

    Returns:
        dict with: round_trip, |sample(score(x)) - x|; sample, sample against sample_and_log_det;
        log_det and inverse_log_det, against the Jacobian by autodiff; count, number of weights;
        identity, the distance of the map from the identity (not to be small). Without the first
        and the fourth for a flow that has no inverse.
    """
    case = CASES[family]
    backend = _torch_functions if LIBRARIES[library].backend == "torch" else _jax_functions
    flow = adapter(library).build(case)
    score, sample, both, jacobian, count = backend(flow, case)
    x = np.random.default_rng(0).standard_normal((case.batch, case.dim)).astype(np.float32)
    if flow.score is None:  # what there is: one direction, checked against its own Jacobian
        values, log_det = both(x)
        return {
            "sample": _distance(sample(x), values),
            "log_det": _distance(log_det, np.linalg.slogdet(jacobian(x))[1]),
            "identity": _distance(values, x),
            "count": count,
        }
    z, inverse_log_det = score(x)
    back, log_det = both(z)
    expected = np.linalg.slogdet(jacobian(x))[1]
    return {
        "round_trip": _distance(back, x),
        "sample": _distance(sample(z), back),
        "log_det": _distance(log_det, -expected),
        "inverse_log_det": _distance(inverse_log_det, expected),
        "identity": _distance(z, x),
        "count": count,
    }


def _distance(a, b):
    return float(np.max(np.abs(np.asarray(a) - np.asarray(b))))


def _torch_functions(flow, case):
    import torch

    def run(function):
        def call(values):
            points = torch.tensor(values).reshape(case.batch, *case.event_shape)
            result = function(flow.point(points))
            if isinstance(result, tuple):
                values, log_det = result
                log_det = log_det.detach().expand(case.batch)
                return values.detach().reshape(case.batch, case.dim).numpy(), log_det.numpy()
            return result.detach().reshape(case.batch, case.dim).numpy()

        return call

    def jacobian(values):
        def total(v):
            function = flow.score or flow.sample_and_log_det
            points = v.reshape(case.batch, *case.event_shape)
            return function(flow.point(points))[0].reshape(case.batch, case.dim).sum(0)

        # Points are independent, so the sum over the batch keeps their Jacobians apart.
        return torch.autograd.functional.jacobian(total, torch.tensor(values)).transpose(0, 1)

    count = sum(p.numel() for p in flow.parameters)
    return run(flow.score), run(flow.sample), run(flow.sample_and_log_det), jacobian, count


def _jax_functions(flow, case):
    import jax

    def run(function):
        def call(values):
            points = values.reshape(case.batch, *case.event_shape)
            found, log_det = function(flow.params, flow.fixed, points)
            return np.asarray(found).reshape(case.batch, case.dim), np.asarray(log_det)

        return call

    def jacobian(values):
        def one(v):
            points = v.reshape(1, *case.event_shape)
            return flow.score(flow.params, flow.fixed, points)[0].reshape(case.dim)

        return np.asarray(jax.vmap(jax.jacobian(one))(values))

    both = run(flow.sample_and_log_det)
    count = sum(leaf.size for leaf in jax.tree.leaves(flow.params))
    return run(flow.score), lambda z: both(z)[0], both, jacobian, count


def main():
    """Print a table of all adapters; the number of those that fail."""
    failures = 0
    for name, library in LIBRARIES.items():
        for family in library.families:
            found = check_adapter(name, family)
            errors = [v for k, v in found.items() if k not in ("identity", "count")]
            good = max(errors) < TOLERANCE and found["identity"] > 0.01
            known = KNOWN.get((name, family))
            failures += not good and known is None
            figures = "  ".join(f"{k} {v:.1e}" for k, v in found.items() if k != "count")
            print(f"{'ok ' if good else 'BAD'} {name:16}{family:15} {figures}  {found['count']}")
            if known and not good:
                print(f"    known: {known}")
    return failures
