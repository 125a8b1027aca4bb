"""The images of the VAE tutorial: the split, and MNIST's files, good and bad."""

import gzip
import re

import numpy as np
import pytest

from tutorials.vae import data, idx
from tutorials.vae.__main__ import main, parsed, settings_of

STEMS = {
    (part, kind): f"{part}-{kind}-idx{axes}-ubyte"
    for part in ("train", "t10k")
    for kind, axes in (("images", 3), ("labels", 1))
}


def packed(array):
    """An array as IDX."""
    head = np.array([0x0800 + array.ndim, *array.shape], ">u4")
    return head.tobytes() + array.astype(np.uint8).tobytes()


@pytest.fixture
def mnist(tmp_path, rng):
    """A folder with four small files; the training images are packed."""
    for part, count in (("train", 20), ("t10k", 6)):
        images = rng.integers(0, 256, size=(count, 4, 4))
        (tmp_path / STEMS[part, "images"]).write_bytes(packed(images))
        (tmp_path / STEMS[part, "labels"]).write_bytes(packed(rng.integers(0, 10, size=count)))
    plain = tmp_path / STEMS["train", "images"]
    (tmp_path / f"{plain.name}.gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    return tmp_path


def test_digits_are_split_once_for_all():
    images = data.digits()
    assert [len(part) for part in (images.train, images.validation, images.held_out)] == [
        1350, 150, 297,
    ]  # fmt: skip
    assert (images.side, images.pixels) == (8, 64)
    assert set(np.unique(images.held_out)) == {0.0, 1.0}
    assert images.train.dtype == images.brightness.dtype == np.float32
    # A pixel is 1 as often as it is bright.
    assert abs(images.train.mean() - images.brightness.mean()) < 0.005
    assert np.isfinite(images.mean_logits).all()
    np.testing.assert_array_equal(images.held_out, data.digits().held_out)
    assert (images.held_out != data.digits(seed=1).held_out).any()


def test_mnist_is_read_plain_and_packed(mnist):
    found, labels = idx.pair(mnist, "train")
    assert found.shape == (20, 4, 4)
    assert labels.shape == (20,)
    assert found.dtype == labels.dtype == np.uint8
    images = data.mnist(mnist)
    assert (len(images.train), len(images.validation), len(images.held_out)) == (18, 2, 6)
    assert (images.side, images.pixels) == (4, 16)
    rows = (found / 255).reshape(20, 16).astype(np.float32)
    labelled = {row.tobytes(): label for row, label in zip(rows, labels, strict=True)}
    for row, label in zip(images.brightness, images.labels, strict=True):
        assert labelled[row.tobytes()] == label


def test_other_spellings_of_the_names_are_found(mnist):
    old = mnist / STEMS["t10k", "labels"]
    old.rename(mnist / "t10k-labels.idx1-ubyte")
    assert len(data.mnist(mnist).held_out) == 6


def broken(part, kind, content):
    def apply(folder):
        name = STEMS[part, kind]
        (folder / f"{name}.gz").unlink(missing_ok=True)
        (folder / name).write_bytes(content)

    return apply


def wrong_gzip(folder):
    path = folder / f"{STEMS['train', 'images']}.gz"
    path.write_bytes(path.read_bytes()[:40])


IMAGES = packed(np.ones((6, 4, 4)))
PROBLEMS = {
    "missing": (
        lambda folder: (folder / STEMS["t10k", "images"]).unlink(),
        "t10k-images-idx3-ubyte is missing, with and without .gz",
    ),
    "labels for images": (
        broken("t10k", "images", packed(np.ones(40))),
        "expected an IDX file of images, which starts with the magic number 0x00000803, got "
        "0x00000801: it has labels",
    ),
    "no IDX": (broken("t10k", "images", b"P5 28 28 255 and so on"), "got 0x50352032"),
    "packed without saying so": (
        broken("t10k", "images", gzip.compress(IMAGES)),
        "it is packed by gzip, so its name should end in .gz",
    ),
    "short": (
        broken("t10k", "images", IMAGES[:-5]),
        "expected 96 bytes of images of shape (6, 4, 4), got 91; is the file cut short?",
    ),
    "empty": (broken("t10k", "images", b""), "expected an IDX file, got only 0 bytes"),
    "gzip cut short": (wrong_gzip, "expected a file packed by gzip, got one that is not"),
    "another number of labels": (
        broken("t10k", "labels", packed(np.ones(5))),
        "expected as many labels as images of 't10k', got 5 and 6",
    ),
    "another size": (
        broken("t10k", "images", packed(np.ones((6, 5, 5)))),
        "expected square images of one size, got (4, 4) in the training file and (5, 5)",
    ),
}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_files_that_are_wrong_are_named(problem, mnist):
    damage, message = PROBLEMS[problem]
    damage(mnist)
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(message)) as caught:
        data.mnist(mnist)
    assert str(mnist) in str(caught.value)


def test_the_command_line(tmp_path, capsys):
    options = parsed(["--variants", "maf", "--epochs", "3", "--wings", "pyro", "--seed", "5"])
    assert options.variants == ["standard", "maf"]
    settings = settings_of(options)
    assert (settings.epochs, settings.seed, settings.device) == (3, 5, "cpu")
    assert parsed([]).wings == ["pyro", "numpyro"]
    with pytest.raises(SystemExit, match="four IDX files"):
        main(["--mnist", str(tmp_path)])
    for bad in (["--epochs", "0"], ["--latents", "some"], ["--seed", "-1"], ["--variants", "nice"]):
        with pytest.raises(SystemExit):
            parsed(bad)
    assert "expected a number of at least 1, got 0" in capsys.readouterr().err
