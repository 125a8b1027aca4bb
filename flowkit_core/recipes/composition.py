"""One flow after the other: compose."""

from flowkit_core.specs import ComposeSpec, FlowSpec


def compose(*flows: FlowSpec) -> FlowSpec:
    """One flow after the other, the first one next to the base.

    Raises:
        ValueError: if there is none, or their dimensions differ.

    Example:
        >>> from flowkit_core.recipes import lu_linear, permute
        >>> compose(lu_linear(2), permute(2, order=(1, 0))).input_dim
        2
    """
    return ComposeSpec(flows)
