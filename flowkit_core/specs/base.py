"""What a flow is, as data: the base of all specs and their JSON form."""

import dataclasses
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from flowkit_core import checks

_KINDS: dict[str, type["Spec"]] = {}


@dataclass(frozen=True)
class ArraySpec:
    """Name, shape and start value of one trainable array of a flow.

    Args:
        name: dotted name; the same in both wings and in checkpoints.
        shape: its shape.
        fan_in: 0 starts the array at zero; n > 0 draws it uniformly from +-1/sqrt(n).
    """

    name: str
    shape: tuple[int, ...]
    fan_in: int = 0

    @property
    def size(self) -> int:
        """Number of entries."""
        size = 1
        for extent in self.shape:
            size *= extent
        return size


def prefixed(prefix: str, arrays: Iterable[ArraySpec]) -> tuple[ArraySpec, ...]:
    """The same arrays with ``prefix.`` before each name."""
    return tuple(dataclasses.replace(a, name=f"{prefix}.{a.name}") for a in arrays)


@dataclass(frozen=True)
class Spec(ABC):
    """A validated, immutable description that compares by value and round-trips through JSON."""

    kind: ClassVar[str]

    def __init_subclass__(cls, kind: str | None = None) -> None:
        super().__init_subclass__()
        if kind is not None:
            if kind in _KINDS and _KINDS[kind].__qualname__ != cls.__qualname__:
                raise ValueError(f"kind {kind!r} is taken by {_KINDS[kind].__name__}")
            cls.kind = kind
            _KINDS[kind] = cls

    def to_dict(self) -> dict[str, Any]:
        """The spec as plain dicts, lists, numbers and strings; ``kind`` comes first."""
        fields = {f.name: _encode(getattr(self, f.name)) for f in dataclasses.fields(self)}
        return {"kind": self.kind, **fields}

    def to_json(self) -> str:
        """The spec as one line of JSON."""
        return json.dumps(self.to_dict(), separators=(",", ":"))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild a spec; every value is validated as if it had been typed by hand.

        Raises:
            ValueError: for an unknown kind, missing or unknown fields, or values out of range.
            TypeError: for values of a wrong type, or a spec of another family than asked for.
        """
        try:
            spec = _decode(dict(checks.instance("spec", data, Mapping)))
        except RecursionError:
            raise ValueError("spec: nested too deeply") from None
        return checks.instance("spec", spec, cls)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Rebuild a spec from `to_json`'s text; raises what `from_dict` raises."""
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"spec: expected JSON, got {text[:80]!r} ({error})") from error
        except RecursionError:
            raise ValueError("spec: nested too deeply") from None
        return cls.from_dict(checks.instance("spec", data, dict))


# Far more than a flow needs, and few enough that nothing that recurses through the layers (reading,
# hashing, copying, pickling) meets Python's recursion limit.
MAX_NESTING = 64


class FlowSpec(Spec):
    """Architecture of a flow: an invertible map of real vectors, or images, base to data.

    Subclasses give ``input_dim``, and override ``event_shape``, ``context_dim`` and the two cost
    properties where they differ from the defaults.
    """

    input_dim: int

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one point: (D,) of a vector, (channels, height, width) of an image."""
        return (self.input_dim,)

    @property
    def nesting(self) -> int:
        """How deep flows stand inside this one; 0 for a single layer."""
        return 0

    def _check_nesting(self, name: str) -> None:
        if self.nesting > MAX_NESTING:
            raise ValueError(
                f"{name}: expected compositions nested at most {MAX_NESTING} deep, got "
                f"{self.nesting}; one composition of all the layers is the same flow"
            )

    @property
    def context_dim(self) -> int:
        """Length of the context vector; 0 for an unconditional flow."""
        return 0

    @property
    def data_interval(self) -> tuple[float, float] | None:
        """Smallest and largest value on the data side; None for all real numbers."""
        return None

    @property
    def sequential_forward(self) -> bool:
        """Whether ``flow(z)`` goes coordinate by coordinate (the other direction is one pass)."""
        return False

    @property
    def sequential_inverse(self) -> bool:
        """Whether ``flow.inv(x)`` goes coordinate by coordinate."""
        return False

    @abstractmethod
    def arrays(self) -> tuple[ArraySpec, ...]:
        """All trainable arrays, in the order in which they are drawn."""

    @property
    def num_parameters(self) -> int:
        """Numbers in all arrays, those that are measured or frozen included."""
        return sum(array.size for array in self.arrays())

    @abstractmethod
    def summary(self) -> str:
        """One line that names the layer and what sets it apart."""

    def __str__(self) -> str:
        return self.summary()


def _encode(value: Any) -> Any:
    if isinstance(value, Spec):
        return value.to_dict()
    if isinstance(value, tuple):
        return [_encode(v) for v in value]
    return value


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_decode(v) for v in value)
    if not isinstance(value, dict):
        return value
    kind = value.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ValueError(f"spec: expected a kind among {sorted(_KINDS)}, got {kind!r}")
    cls = _KINDS[kind]
    expected = [f.name for f in dataclasses.fields(cls)]
    got = sorted(map(str, set(value) - {"kind"}))
    if got != sorted(expected):
        raise ValueError(
            f"spec of kind {kind!r}: expected the fields {sorted(expected)}, got {got}"
        )
    return cls(**{name: _decode(value[name]) for name in expected})
