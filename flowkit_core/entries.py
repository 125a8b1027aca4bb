"""Names of the numbers that an array-valued quantity consists of."""

import numpy as np


def entry_names(name: str, shape: tuple[int, ...]) -> list[str]:
    """One name for each entry of a quantity of that shape, in the order of the flattened array.

    Example:
        >>> entry_names("tau", ()), entry_names("theta", (2,)), entry_names("w", (1, 2))
        (['tau'], ['theta[0]', 'theta[1]'], ['w[0,0]', 'w[0,1]'])
    """
    return [
        name + (f"[{','.join(map(str, index))}]" if index else "") for index in np.ndindex(shape)
    ]
