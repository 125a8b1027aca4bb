"""The tables: one for each library, a row for each model, and what they say in words."""

from tutorials.images.settings import IMAGE_MODELS, MODELS

CLEAR = 2  # standard errors that a difference must have to count
TITLE = 22


def introduce(digits) -> None:
    """Say what is computed, and what the columns are."""
    print("== Densities of scikit-learn's digits: 8x8 pixels of 17 grey levels ==")
    print(f"{len(digits.train)} images to train, {len(digits.validation)} to choose the epoch that "
          f"is kept, {len(digits.held_out)} held out.")  # fmt: skip
    print("Held-out bits per dimension, fewer are better (standard error over images), and by how")
    print("many they are fewer than the Gaussian's and the flow of vectors', image by image.")


def head(library) -> str:
    """The head of a library's table."""
    columns = ("weights", "bits per dim.", "below Gaussian", "below vectors", "epoch", "s")
    return f"\n{library:{TITLE}}" + _line(columns)


def row(one, gaussian, vectors) -> str:
    """The row of an outcome, beside the Gaussian's and that of the flow of vectors."""
    cells = [
        f"{one.num_parameters}",
        _told(one.mean_bits),
        "-" if one is gaussian else _told(one.less_than(gaussian)),
        "-" if vectors is None or one in (gaussian, vectors) else _told(one.less_than(vectors)),
        "-" if one.kept is None else str(one.kept),
        f"{one.seconds:.0f}",
    ]
    title = MODELS.get(one.model, "Gaussian")
    return f"{title:{TITLE}}" + _line(cells)


def conclude(outcomes, gaussian) -> str:
    """Whether the flows of images do better than both others, in words."""
    lines = []
    for name in IMAGE_MODELS:
        if name not in outcomes or "realnvp" not in outcomes:
            continue
        gains = [outcomes[name].less_than(other) for other in (gaussian, outcomes["realnvp"])]
        errors = [gain.value / gain.stderr for gain in gains]
        word = "beats" if min(errors) > CLEAR else "does not beat"
        lines.append(
            f"  {MODELS[name]}: {word} both, the Gaussian by {errors[0]:z.1f} and the flow of "
            f"vectors by {errors[1]:z.1f} paired standard errors."
        )
    return "\n".join(lines)


def _told(estimate):
    return f"{estimate.value:z.3f} ({estimate.stderr:.3f})"


def _line(cells):
    widths = (9, 16, 17, 16, 7, 6)
    return "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
