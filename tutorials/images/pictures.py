"""The pictures of one library's flows: digits beside draws, and ways between digits."""

import numpy as np

from flowkit_core.plots import finished, new_figure
from tutorials.images.data import NUM_CLASSES, NUM_LEVELS
from tutorials.images.settings import IMAGE_MODELS, MODELS


def draw(library, outcomes, gaussian, digits, folder):
    """Draw both pictures into a folder; returns their paths.

    Args:
        library: its name, for titles and file names.
        outcomes: model -> `Outcome`.
        gaussian: the Gaussian's `Outcome`.
        digits: `Digits`.
        folder: a path that exists.
    """
    stem = f"images-{{}}-{library.lower()}.png"
    paths = [folder / stem.format("samples")]
    _samples(library, {"gaussian": gaussian, **outcomes}, digits.held_out, paths[0])
    with_ways = [name for name in IMAGE_MODELS if name in outcomes]
    if with_ways:
        paths.append(folder / stem.format("ways"))
        _ways(library, {name: outcomes[name].ways for name in with_ways}, paths[1])
    return paths


def _samples(library, outcomes, held_out, path):
    """Held-out digits, then draws of each model, in blocks of two rows."""
    digit = held_out.classes.argmax(1)
    shown = [np.flatnonzero(digit == i)[:2] for i in range(NUM_CLASSES)]
    real = (held_out.levels[np.stack(shown, 1).ravel()] + 0.5) / NUM_LEVELS
    blocks = {"held-out digits": real}
    blocks |= {MODELS.get(n, "Gaussian"): one.drawn[: len(real)] for n, one in outcomes.items()}
    _grid(
        f"{library}: digits, and draws of each model",
        {
            title: images.reshape(2, NUM_CLASSES, *images.shape[1:])
            for title, images in blocks.items()
        },
        path,
    )


def _ways(library, ways, path):
    """Ways between held-out digits in each model's latent space."""
    _grid(
        f"{library}: between two held-out digits in latent space",
        {MODELS[name]: images for name, images in ways.items()},
        path,
    )


def _grid(title, blocks, path):
    """Blocks of rows of images, each with its name."""
    columns = next(iter(blocks.values())).shape[1]
    lines = [
        (name if i == 0 else "", row) for name, rows in blocks.items() for i, row in enumerate(rows)
    ]
    figure = new_figure(0.62 * columns + 2.2, 0.6 * len(lines) + 0.5)
    axes = figure.subplots(len(lines), columns, squeeze=False)
    for line, (name, row) in zip(axes, lines, strict=True):
        for one, image in zip(line, row, strict=True):
            one.imshow(image[0], cmap="gray_r", vmin=0, vmax=1)
            one.set(xticks=[], yticks=[])
            one.spines[:].set_visible(False)
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
    figure.suptitle(title)
    finished(figure, path)
