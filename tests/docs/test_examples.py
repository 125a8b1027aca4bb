"""The examples of the documentation run as they stand, page by page, as a reader follows them."""

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.code_blocks import Block, blocks_of

DOCS = Path(__file__).parents[2] / "docs"
LIBRARIES = ("pyro", "numpyro")


def pages() -> Iterator[tuple[Path, str]]:
    """Each page with examples, once for each library that has tabs of its own."""
    for page in sorted(DOCS.rglob("*.md")):
        if {"_build", "generated"} & set(page.relative_to(DOCS).parts):
            continue
        blocks = blocks_of(page)
        tabs = {block.tab for block in blocks} & set(LIBRARIES)
        for library in sorted(tabs) or [""] * bool(blocks):
            yield page, library


def examples(page: Path, library: str) -> list[Block]:
    return [block for block in blocks_of(page) if block.tab in ("", library)]


def params() -> list:
    return [
        pytest.param(
            page, library, id=f"{page.relative_to(DOCS).with_suffix('')}-{library or 'any'}"
        )
        for page, library in pages()
    ]


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    """A folder and a seed for each page."""
    monkeypatch.chdir(tmp_path)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def run(page: Path, blocks: list[Block]) -> None:
    printed, names = io.StringIO(), {"__name__": "example"}
    for block in blocks:
        # Empty lines first, so that a traceback has the line of the page.
        code = compile("\n" * block.line + block.code, page, "exec")
        with contextlib.redirect_stdout(printed):
            exec(code, names)
    assert not re.search(r"\b(nan|inf)\b", printed.getvalue()), printed.getvalue()


# Many of them fit something; `make test-examples` runs all of them.
@pytest.mark.slow
@pytest.mark.parametrize(("page", "library"), params())
def test_the_examples_of_a_page_run(page, library):
    run(page, examples(page, library))


def test_most_pages_have_examples_in_both_libraries():
    both = {page for page, library in pages() if library}
    assert len(both) >= 12
    assert all(((page, "pyro") in pages()) == ((page, "numpyro") in pages()) for page in both)
