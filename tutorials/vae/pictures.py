"""The pictures of one library's VAEs."""

from flowkit_core.plots import finished, new_figure
from flowkit_core.surgery_plots import dimension_bars, surgery_bars
from tutorials.vae import projections
from tutorials.vae.settings import VARIANTS

IN_A_ROW = 16
# Whose aggregated posterior stands beside their prior.
COMPARED = ("standard", "maf")


def draw(library, outcomes, images, folder):
    """Draw all pictures into a folder; returns their paths.

    Args:
        library: its name, for titles and file names.
        outcomes: variant -> `Outcome`.
        images: `Images`.
        folder: a path that exists.
    """
    stem = f"vae-{{}}-{library.lower()}.png"
    paths = [folder / stem.format("surgery"), folder / stem.format("images")]
    bars = surgery_bars({VARIANTS[name]: one.train for name, one in outcomes.items()})
    bars.suptitle(f"{library}: training images")
    finished(bars, paths[0])
    _images(library, outcomes, images, paths[1])
    paths.append(folder / stem.format("posterior"))
    compared = [outcomes[name] for name in COMPARED if name in outcomes]
    projections.draw(library, compared, images, paths[-1])
    latents = outcomes["standard"].latents
    if latents is not None:
        paths.append(folder / stem.format("latents"))
        _latents(latents, library, paths[-1])
    return paths


def _latents(latents, library, path):
    """What each latent of the standard VAE carries, and how far it is from its prior."""
    parts = {
        "average KL": [one.value for one in latents.avg_kl],
        "marginal KL": [one.value for one in latents.marginal_kl],
    }
    figure = dimension_bars(parts)
    figure.axes[0].set_title(
        f"{library}, standard prior: marginal KLs of latents add up to "
        f"{sum(parts['marginal KL']):z.2f},\ntheir total correlation is "
        f"{latents.total_correlation.value:z.2f} nats",
        fontsize="medium",
    )
    figure.set_size_inches(max(figure.get_size_inches()[0], 6), 3.4)
    finished(figure, path)


def _images(library, outcomes, images, path):
    """A row of training images, then a row decoded from draws of each prior."""
    rows = {"training images": images.brightness}
    rows |= {VARIANTS[name]: one.drawn for name, one in outcomes.items()}
    figure = new_figure(9, 0.62 * len(rows) + 0.4)
    axes = figure.subplots(len(rows), IN_A_ROW, squeeze=False)
    for line, (title, shown) in zip(axes, rows.items(), strict=True):
        for one, image in zip(line, shown[:IN_A_ROW], strict=False):
            one.imshow(image.reshape(images.side, -1), cmap="gray_r", vmin=0, vmax=1)
        for one in line:
            one.set(xticks=[], yticks=[])
            one.spines[:].set_visible(False)
        line[0].set_ylabel(title, rotation=0, ha="right", va="center")
    figure.suptitle(f"{library}: pixel probabilities decoded from draws of each prior")
    finished(figure, path)
