"""The two wings show one face: the same names, arguments, methods and files.

Where they must differ, the difference stands in a table below with its reason.
"""

import inspect
from pathlib import Path

import pytest

import numpyro_flowkit
import pyro_flowkit

WINGS = {"pyro": pyro_flowkit, "numpyro": numpyro_flowkit}
every_wing = pytest.mark.parametrize("wing", WINGS)

# Names of one wing alone.
ONLY_NUMPYRO = {"FlowInit"}  # a recipe's result, which becomes a flow when called with a key
COMMON = sorted(set(pyro_flowkit.__all__) & set(numpyro_flowkit.__all__))

# Arguments of one wing alone: callable -> (of Pyro, of NumPyro).
OWN_ARGUMENTS = {
    # Pyro draws weights from a seed; in NumPyro that takes a key, so FlowInit does it.
    "build": ({"seed"}, set()),
    # NumPyro's guides name their parameters themselves; Pyro's are named by the module's owner.
    "AutoAmortisedFlow": (set(), {"prefix"}),
    "AutoAmortisedFlow.sample_posterior": (
        {"num_samples"},
        {"rng_key", "params", "sample_shape"},
    ),
    "AutoFlow": (set(), {"prefix"}),
    "AutoMAF": (set(), {"prefix"}),
    "AutoIAF": (set(), {"prefix"}),
    "AutoRealNVP": (set(), {"prefix"}),
    # A Pyro guide holds its parameters, and takes the model's arguments to set itself up; a
    # NumPyro guide is given the parameters.
    "AutoFlow.get_posterior": ({"args", "kwargs"}, {"params"}),
    "AutoFlow.get_base": ({"args", "kwargs"}, {"params"}),
    "AutoFlow.get_transform": ({"args", "kwargs"}, {"params"}),
    "AutoFlow.median": ({"args", "kwargs"}, {"params"}),
    "AutoFlow.quantiles": ({"args", "kwargs"}, {"params"}),
    # NumPyro hands what a transform computed on its way back to it; torch has a cache instead.
    "Flow.log_abs_det_jacobian": (set(), {"intermediates"}),
    "ConditionedFlow.log_abs_det_jacobian": (set(), {"intermediates"}),
    "FlowDistribution.log_prob": (set(), {"intermediates"}),
    # Pyro's ELBOs draw particles in a plate, whose place they have to know; NumPyro's map.
    "ImportanceWeightedELBO": ({"max_plate_nesting"}, set()),
    "FreeBitsELBO": ({"max_plate_nesting"}, set()),
    "FreeBitsELBO.loss": (set(), {"rng_key", "param_map"}),
    "ImportanceWeightedELBO.loss": (set(), {"rng_key", "param_map"}),
    "dequantise": ({"generator"}, {"rng_key"}),
    # Several devices: processes of torch, one program of JAX.
    "fit_guide": ({"process_group"}, {"params", "particle_sharding"}),
    # As in the first two: where parameters are, and where randomness comes from.
    "diagnose": ({"generator"}, {"params", "rng_key"}),
    "importance_resample": ({"generator"}, {"params", "rng_key"}),
    "warm_start": ({"seed"}, {"params", "rng_key"}),
    "aggregate_log_prob": ({"process_group"}, set()),
    "elbo_surgery": ({"generator", "process_group"}, {"rng_key"}),
    "elbo_surgery_of": ({"generator", "process_group"}, {"params", "rng_key"}),
    "importance_log_likelihood_of": ({"generator"}, {"params", "rng_key"}),
    "latent_surgery": ({"generator"}, {"rng_key"}),
    "marginal_kl": ({"generator", "process_group"}, {"rng_key"}),
    "mutual_information": ({"generator", "process_group"}, {"rng_key"}),
    "AggregatedPosterior.sample": (set(), {"key"}),  # NumPyro's distributions draw from keys
}
# Arguments with a default in one wing alone.
OPTIONAL_IN_PYRO = {("build", "arrays")}  # drawn from the seed where none are given
# Defaults that each wing takes from its framework: models of Pyro need not work in a plate.
OWN_DEFAULTS = {
    ("FreeBitsELBO", "vectorize_particles"),
    ("ImportanceWeightedELBO", "vectorize_particles"),
}
# An abstract class: each wing's framework decides what its constructor takes.
OWN_CONSTRUCTOR = {"Flow"}
# Errors, the core's own.
ERRORS = {"CheckpointError", "InverseNotConverged"}

# Methods of one wing alone: class -> (of Pyro, of NumPyro).
TORCH_TRANSFORM = {
    "bijective", "cached_inverse_and_log_det", "clear_cache", "dependencies", "sign", "with_cache"
}  # fmt: skip
NUMPYRO_TRANSFORM = {"call_with_intermediates", "eq", "leaf_names", "static_names", "tree_flatten"}
OWN_METHODS = {
    # Torch's modules have their event shape as an attribute.
    "Flow": (TORCH_TRANSFORM, NUMPYRO_TRANSFORM | {"batch_shape", "event_shape", "named_arrays"}),
    "ConditionedFlow": (TORCH_TRANSFORM | {"flow"}, NUMPYRO_TRANSFORM),
    # torch's distributions broadcast by hand and set attributes in the instance.
    # Torch's draw themselves; NumPyro's hand on what path gradients need.
    "FlowDistribution": (
        {"expand", "rsample"},
        {"flow", "pytree_aux_fields", "sample_with_intermediates"},
    ),
    "AggregatedPosterior": (
        {"arg_constraints", "expand", "has_rsample"},
        {"posterior", "pytree_aux_fields", "pytree_data_fields"},
    ),
    "AutoAmortisedFlow": ({"forward"}, set()),  # NumPyro's is __call__
    # NumPyro's AutoContinuous has them already.
    # Upstream's `model` of a Pyro guide sets the starting values, too.
    "AutoFlow": ({"bare_model", "forward", "sample_posterior"}, set()),
    # JAX differentiates the loss itself.
    "FreeBitsELBO": ({"differentiable_loss", "loss_and_grads"}, set()),
    "ImportanceWeightedELBO": ({"differentiable_loss", "loss_and_grads"}, set()),
}

# Files of one wing alone.
OWN_FILES = {
    "pyro": {
        "transforms/cache.py",  # what torch's transforms remember between a draw and its score
        "surgery/shards.py",  # what processes exchange
        "surgery/pullback.py",  # JAX differentiates a tile; by hand only what is wanted is computed
        "guides/param_store.py",  # NumPyro's parameters are handed in
        "guides/devices.py",  # JAX draws from keys, not from generators of devices
        "process_group.py",  # what processes exchange; one program of JAX has many devices
        "differentiable_elbo.py",  # NumPyro's steps differentiate the loss themselves
        "native/layer.py",  # a structure for C; XLA hands over buffers and attributes
        # Where there is no C compiler: larger steps, since Python takes as long for small ones.
        "transforms/feature_major.py",
        "transforms/found.py",
        "transforms/iteration.py",
        "transforms/linearized.py",
        # What torch's autograd functions cannot do by themselves.
        "transforms/linear_solve.py",
        "transforms/modes.py",
        "transforms/unrolled.py",
        "transforms/vmap_loop.py",
    },
    "numpyro": {
        # Hooks as one program, and batches of flows; torch has its own ways for both.
        "transforms/evaluation.py",
        "surgery/compiled.py",  # Pyro compiles nothing
        "surgery/precision.py",  # JAX has float64 only under a flag
        "guides/start.py",  # a Pyro guide holds its parameters
        # Arrays on several devices, as JAX has them.
        "guides/sharding.py",
        "spread.py",
        "conditioners/foreign.py",  # a user's network must become a pytree; in torch it is a module
        "transforms/equality.py",  # pytrees compare by value under jit
        "transforms/indexing.py",  # gathers and scatters that XLA compiles well
        "conditioners/blocks.py",  # XLA makes of two products and a join what torch does not
        # C as custom calls of XLA, and what keeps JAX from taking them apart or putting them off.
        "native/custom_calls.py",
        "native/materialised.py",
        "native/tie.py",
        "transforms/kept_whole.py",
        "transforms/made_equations.py",
        "transforms/halves.py",  # in torch a function of coupling.py
        # Where there is no C compiler: loops of one shape, few enough to compile in seconds.
        "transforms/chunks.py",
        "transforms/repeated.py",
        "transforms/windows.py",
    },
}

# Public names without an example of their own.
NO_EXAMPLE = {
    "CheckpointError",  # raised, never called
    "Flow",  # abstract: recipes return it, and their examples use it
}


def parameters(function):
    return {
        p.name: (p.kind, p.default.__name__ if inspect.isroutine(p.default) else p.default)
        for p in inspect.signature(function).parameters.values()
    }


def assert_same_arguments(name, one, two):
    in_pyro, in_numpyro = parameters(one), parameters(two)
    of_pyro, of_numpyro = OWN_ARGUMENTS.get(name, (set(), set()))
    assert of_pyro == set(in_pyro) - set(in_numpyro), name
    assert of_numpyro == set(in_numpyro) - set(in_pyro), name
    shared = [p for p in in_pyro if p in in_numpyro]
    assert shared == [p for p in in_numpyro if p in in_pyro], name
    for argument in shared:
        if (name, argument) in OPTIONAL_IN_PYRO:
            assert in_pyro[argument] == (in_numpyro[argument][0], None)
            assert in_numpyro[argument][1] is inspect.Parameter.empty
        elif (name, argument) in OWN_DEFAULTS:
            assert in_pyro[argument][0] == in_numpyro[argument][0]
            assert in_pyro[argument][1] != in_numpyro[argument][1]
        else:
            assert in_pyro[argument] == in_numpyro[argument], (name, argument)


def own_public(cls, package):
    """Public attributes that this package itself defines."""
    return {
        name
        for base in cls.__mro__
        if base.__module__.partition(".")[0] == package.__name__
        for name in vars(base)
        if not name.startswith("_")
    }


def guides_inherit(name):
    """The table's row of a class: named guides differ as AutoFlow does."""
    is_guide = issubclass(getattr(pyro_flowkit, name), pyro_flowkit.AutoFlow)
    return "AutoFlow" if is_guide else name


CLASSES = [
    name for name in COMMON if inspect.isclass(getattr(pyro_flowkit, name)) and name not in ERRORS
]
FUNCTIONS = [
    name
    for name in COMMON
    if callable(getattr(pyro_flowkit, name)) and name not in OWN_CONSTRUCTOR | ERRORS
]


def test_the_public_names_are_the_same():
    assert set(pyro_flowkit.__all__) - set(numpyro_flowkit.__all__) == set()
    assert set(numpyro_flowkit.__all__) - set(pyro_flowkit.__all__) == ONLY_NUMPYRO


@every_wing
def test_public_names_are_sorted_and_exist(wing):
    names = WINGS[wing].__all__
    assert names == sorted(names)
    assert len(set(names)) == len(names)
    assert all(hasattr(WINGS[wing], name) for name in names)


def test_both_wings_are_of_one_version_and_share_what_is_the_cores():
    assert pyro_flowkit.__version__ == numpyro_flowkit.__version__
    assert pyro_flowkit.CheckpointError is numpyro_flowkit.CheckpointError


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arguments_and_defaults_are_the_same(name):
    assert_same_arguments(name, getattr(pyro_flowkit, name), getattr(numpyro_flowkit, name))


@pytest.mark.parametrize("name", CLASSES)
def test_methods_and_their_arguments_are_the_same(name):
    one, two = getattr(pyro_flowkit, name), getattr(numpyro_flowkit, name)
    in_pyro, in_numpyro = own_public(one, pyro_flowkit), own_public(two, numpyro_flowkit)
    row = guides_inherit(name)
    assert (in_pyro - in_numpyro, in_numpyro - in_pyro) == OWN_METHODS.get(row, (set(), set()))
    for method in sorted(in_pyro & in_numpyro):
        if inspect.isroutine(getattr(one, method)):
            assert_same_arguments(f"{row}.{method}", getattr(one, method), getattr(two, method))


def test_the_tables_hold_nothing_that_is_not_so():
    rows = {name.partition(".")[0] for name in OWN_ARGUMENTS} | set(OWN_METHODS) | NO_EXAMPLE
    assert rows <= set(COMMON)
    for wing, files in OWN_FILES.items():
        assert files <= files_of(wing)


@every_wing
def test_every_public_object_is_documented_with_an_example_or_points_to_one(wing):
    package = WINGS[wing]
    documented = {name: inspect.getdoc(getattr(package, name)) or "" for name in package.__all__}
    with_example = {name for name, text in documented.items() if "Example:\n    >>> " in text}
    for name, text in documented.items():
        if name in NO_EXAMPLE | {"__version__"}:
            assert text
            continue
        pointed_at = {other for other in with_example if f"`{other}`" in text}
        assert name in with_example or pointed_at, name


@every_wing
def test_every_public_method_is_documented(wing):
    package = WINGS[wing]
    for name in CLASSES:
        cls = getattr(package, name)
        for method in own_public(cls, package):
            if inspect.isroutine(getattr(cls, method)):
                assert inspect.getdoc(getattr(cls, method)), f"{name}.{method}"


def files_of(wing):
    root = Path(WINGS[wing].__file__).parent
    return {file.relative_to(root).as_posix() for file in root.rglob("*.py")}


def test_the_file_trees_mirror_each_other():
    in_pyro, in_numpyro = files_of("pyro"), files_of("numpyro")
    assert in_pyro - in_numpyro == OWN_FILES["pyro"]
    assert in_numpyro - in_pyro == OWN_FILES["numpyro"]
