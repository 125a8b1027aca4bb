"""The tables: one for each library, a row for each variant, and what they say in words."""

import math

from tutorials.vae.settings import FLOW_PRIORS, VARIANTS

# Title, width of the column, and the cell of an outcome beside the standard one's.
COLUMNS = (
    ("held-out log-lik.", lambda one, standard: _told(one.log_likelihood, 2)),
    ("minus standard", lambda one, standard: _gain(one, standard)),
    ("held-out reconst.", lambda one, standard: _told(one.held_out.reconstruction, 2)),
    ("mutual inf.", lambda one, standard: _told(one.train.mutual_information, 3)),
    ("marginal KL", lambda one, standard: _told(one.train.marginal_kl, 3)),
    ("ELBO", lambda one, standard: _told(one.train.elbo, 2)),
    ("epoch", lambda one, standard: str(one.kept)),
    ("s", lambda one, standard: f"{one.seconds:.0f}"),
)
WIDTHS = (20, 16, 19, 15, 15, 16, 7, 6)
TITLE = 23
# Standard errors that a difference must have to count.
CLEAR = 2


def introduce(images, settings, source) -> None:
    """Say what is computed, and what the columns are."""
    print(f"== VAEs of {source}, {settings.latents} latents ==")
    print(f"{len(images.train)} training images, binarised anew in each epoch; "
          f"{len(images.validation)} to choose the epoch that is kept;")  # fmt: skip
    print(f"{len(images.held_out)} held out, by which nothing was chosen, "
          "binarised once. Nats per image (standard error).")  # fmt: skip
    seen = min(len(images.train), settings.surgery_images)
    print(f"Held out: log-likelihood by {settings.particles} importance weights for each image, "
          "its difference to the standard")  # fmt: skip
    print("VAE's with the paired error over images, and the reconstruction E log p(x | z).")
    print(f"Of {seen} training images, binarised once: mutual information (log n = "
          f"{math.log(seen):.2f}),")  # fmt: skip
    print("marginal KL(q(z) || p), ELBO. Last, the epoch that was kept and seconds of training.")
    print("Errors of log-likelihoods and their differences are those of images as a sample, all")
    print("others those of the draws alone. None has the chance in it that training itself brings:")
    print("other seeds, other weights.", flush=True)


def head(library) -> str:
    """The head of a library's table."""
    return f"\n{library:{TITLE}}" + _line(title for title, _ in COLUMNS)


def row(one, standard) -> str:
    """The row of a variant's outcome, beside the standard one's."""
    return f"{VARIANTS[one.variant]:{TITLE}}" + _line(cell(one, standard) for _, cell in COLUMNS)


def conclude(outcomes) -> str:
    """What became of the priors, in words.

    Args:
        outcomes: variant -> `Outcome`, the standard one among them.
    """
    standard = outcomes["standard"]
    lines = [verdict(outcomes[name], standard) for name in FLOW_PRIORS if name in outcomes]
    if standard.prior_fit is not None:
        lines.append(f"  A MAF fitted to the standard VAE afterwards: {standard.prior_fit}.")
    return "\n".join(lines)


def verdict(one, standard) -> str:
    """Whether a learnt prior does better on held-out images, and is nearer to q(z)."""
    gain = one.gain_over(standard)
    errors = gain.value / gain.stderr
    word = "beats" if errors > CLEAR else "does not beat"
    before, after = standard.train.marginal_kl, one.train.marginal_kl
    fall = (before.value - after.value) / math.hypot(before.stderr, after.stderr)
    moved = "falls" if fall > CLEAR else "does not fall"
    return (
        f"  {VARIANTS[one.variant]}: {word} the standard one, by {gain.value:z.2f} nats or "
        f"{errors:z.1f} paired standard errors; the marginal KL {moved}, {before.value:.3f} to "
        f"{after.value:.3f}, {fall:z.1f} standard errors."
    )


def _gain(one, standard):
    return "-" if one is standard else _told(one.gain_over(standard), 3)


def _told(part, digits):
    return f"{part.value:z.{digits}f} ({part.stderr:.{digits}f})"


def _line(cells):
    return "".join(f"{cell:>{width}}" for cell, width in zip(cells, WIDTHS, strict=True))
