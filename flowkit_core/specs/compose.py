"""Composition of layers."""

from dataclasses import dataclass

from flowkit_core import checks
from flowkit_core.specs.base import ArraySpec, FlowSpec, prefixed


@dataclass(frozen=True)
class ComposeSpec(FlowSpec, kind="compose"):
    """Layers applied in the order given: the first one next to the base.

    Conditional layers must agree on the length of the context; unconditional ones ignore it.

    Args:
        layers: one or more specs of equal ``event_shape``.
    """

    layers: tuple[FlowSpec, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", checks.sequence("layers", self.layers))
        if not self.layers:
            raise ValueError("layers: expected at least one flow, got none")
        for i, layer in enumerate(self.layers):
            checks.instance(f"layers[{i}]", layer, FlowSpec)
        self._check_nesting("layers")
        for i, layer in enumerate(self.layers[:-1]):
            if layer.data_interval is not None:
                raise ValueError(
                    f"layers[{i}]: its data side is an interval, which no further layer can take "
                    f"as its real base side; expected it to be the last, got {layer.summary()} as "
                    f"one of {len(self.layers)}"
                )
        shapes = [layer.event_shape for layer in self.layers]
        if len(set(shapes)) > 1:
            if all(len(shape) == 1 for shape in shapes):
                dims = [layer.input_dim for layer in self.layers]
                raise ValueError(f"layers: expected equal input_dim, got {dims}")
            raise ValueError(f"layers: expected equal event shapes, got {shapes}")
        contexts = sorted({layer.context_dim for layer in self.layers} - {0})
        if len(contexts) > 1:
            raise ValueError(f"layers: expected one context_dim, got {contexts}")

    @property
    def nesting(self) -> int:
        """How deep flows stand inside this one; 1 if the layers are single ones."""
        return 1 + max(layer.nesting for layer in self.layers)

    @property
    def input_dim(self) -> int:  # type: ignore[override]
        """Number of coordinates D."""
        return self.layers[0].input_dim

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one point, the same for all layers."""
        return self.layers[0].event_shape

    @property
    def context_dim(self) -> int:
        """Length of the context vector that the conditional layers share; 0 for none."""
        return max(layer.context_dim for layer in self.layers)

    @property
    def data_interval(self) -> tuple[float, float] | None:
        """That of the last layer."""
        return self.layers[-1].data_interval

    @property
    def sequential_forward(self) -> bool:
        """Whether any layer goes coordinate by coordinate from base to data."""
        return any(layer.sequential_forward for layer in self.layers)

    @property
    def sequential_inverse(self) -> bool:
        """Whether any layer goes coordinate by coordinate from data to base."""
        return any(layer.sequential_inverse for layer in self.layers)

    def arrays(self) -> tuple[ArraySpec, ...]:
        """Every layer's arrays under ``layers.i.``."""
        return tuple(
            array
            for i, layer in enumerate(self.layers)
            for array in prefixed(f"layers.{i}", layer.arrays())
        )

    def summary(self) -> str:
        """The layers' summaries, one per line."""
        lines = [line for layer in self.layers for line in layer.summary().splitlines()]
        return "\n".join(["Compose(", *(f"  {line}" for line in lines), ")"])
