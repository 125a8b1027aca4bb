"""What a learnt base is: its arrays and where they start, the same in both wings."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from flowkit_core import checks

# Degrees of freedom are learnt as a tail index 1 / df between these two. With df > 1 the base has a
# mean. At 200 it is a Normal to within 1e-5 nats, and the Gamma functions of its density still
# have five digits in float32.
MIN_DF = 1.0
MAX_DF = 200.0

# Share of a mixture's starting variance that lies between its components.
BETWEEN_SHARE = 0.5


def check_base(base: object) -> object:
    """Return ``base`` if it is a callable or the name of a base.

    Example:
        >>> check_base("mixture")
        'mixture'
    """
    if callable(base):
        return base
    if not isinstance(base, str):
        raise TypeError(
            "base: expected 'normal', 'student_t', 'mixture' or a callable from the number of "
            "latents to a base, e.g. functools.partial(mixture_base, num_components=5), got "
            f"{type(base).__name__}"
        )
    return checks.choice("base", base, ("normal", "student_t", "mixture"))


def check_df(df: object) -> float:
    """Return degrees of freedom if they lie between `MIN_DF` and `MAX_DF`, both excluded."""
    number = checks.positive_float("df", df)
    if not MIN_DF < number < MAX_DF:
        raise ValueError(f"df: expected a number between {MIN_DF} and {MAX_DF}, got {df}")
    return number


@dataclass(frozen=True)
class BaseSpec(ABC):
    """A learnt base over D coordinates; it compares by value."""

    kind: ClassVar[str]

    input_dim: int

    def __post_init__(self) -> None:
        checks.positive_int("input_dim", self.input_dim)

    @abstractmethod
    def arrays(self) -> dict[str, NDArray[Any]]:
        """Start value of each array, in float64."""

    @classmethod
    @abstractmethod
    def of_shapes(cls, shapes: Mapping[str, tuple[int, ...]]) -> Self:
        """The base whose arrays have these shapes, as far as one array tells."""


@dataclass(frozen=True)
class StudentTBaseSpec(BaseSpec):
    """Independent Student-t distributions, each with degrees of freedom of its own.

    ``1 / df = 1 / 200 + (1 - 1 / 200) sigmoid(free)``. The tail index 1 / df is what a density
    depends on evenly: from the Normal at 0 every step of it counts about as much as the next,
    while df itself would have to travel from 30 to infinity for what it does between 3 and 3.3.

    Args:
        input_dim: number of coordinates D.
        df: degrees of freedom at the start.

    Example:
        >>> StudentTBaseSpec(2, df=30.0).arrays()["free"].round(2)
        array([-3.53, -3.53])
    """

    kind: ClassVar[str] = "student_t"

    df: float = 30.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_df(self.df)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """``free``, (D,)."""
        share = (1 / self.df - 1 / MAX_DF) / (1 / MIN_DF - 1 / MAX_DF)
        return {"free": np.full(self.input_dim, math.log(share / (1 - share)))}

    @classmethod
    def of_shapes(cls, shapes: Mapping[str, tuple[int, ...]]) -> Self:
        """The base whose ``free`` has this shape."""
        (input_dim,) = shapes["free"]
        return cls(input_dim)


@dataclass(frozen=True)
class MixtureBaseSpec(BaseSpec):
    """K diagonal Normals.

    At the start each coordinate has mean 0 and variance 1. Half of that lies between the
    components, so that they differ from the first step on (equal ones would stay equal), and
    half within them, so that they overlap and mass can still move from one to the other.

    Args:
        input_dim: number of coordinates D.
        num_components: K.
        seed: seed of the starting means.

    Example:
        >>> {k: v.shape for k, v in MixtureBaseSpec(3, num_components=2).arrays().items()}
        {'locs': (2, 3), 'log_scales': (2, 3), 'logits': (2,)}
    """

    kind: ClassVar[str] = "mixture"

    num_components: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.positive_int("num_components", self.num_components)
        checks.int_at_least("seed", self.seed, 0)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """``locs`` and ``log_scales``, (K, D), and ``logits``, (K,)."""
        shape = (self.num_components, self.input_dim)
        between = BETWEEN_SHARE if self.num_components > 1 else 0.0
        locs = np.random.default_rng(self.seed).normal(size=shape)
        locs -= locs.mean(0)
        if between:
            locs *= math.sqrt(between) / locs.std(0)
        return {
            "locs": locs,
            "log_scales": np.full(shape, 0.5 * math.log(1 - between)),
            "logits": np.zeros(self.num_components),
        }

    @classmethod
    def of_shapes(cls, shapes: Mapping[str, tuple[int, ...]]) -> Self:
        """The base whose ``locs`` have this shape."""
        num_components, input_dim = shapes["locs"]
        return cls(input_dim, num_components)


BASES: dict[str, type[BaseSpec]] = {spec.kind: spec for spec in (StudentTBaseSpec, MixtureBaseSpec)}


def base_spec(kind: str, arrays: Mapping[str, NDArray[np.floating]]) -> BaseSpec:
    """The spec of a base of a kind of `BASES` that holds these arrays; where they started is lost.

    Raises:
        ValueError: if names, shapes or dtypes are not those of such a base.

    Example:
        >>> base_spec("student_t", {"free": np.zeros(3)})
        StudentTBaseSpec(input_dim=3, df=30.0)
    """
    shapes = {name: array.shape for name, array in arrays.items()}
    try:
        spec = BASES[kind].of_shapes(shapes)
    except (KeyError, ValueError):
        raise ValueError(f"base {kind!r}: cannot have the arrays {shapes}") from None
    expected = {name: array.shape for name, array in spec.arrays().items()}
    if shapes != expected:
        raise ValueError(f"base {kind!r}: expected the arrays {expected}, got {shapes}")
    for name, array in arrays.items():
        if array.dtype not in (np.float32, np.float64):
            raise ValueError(f"{name}: expected dtype float32 or float64, got {array.dtype}")
    return spec
