"""The pages hang together: all in the tree, links that lead somewhere, figures as measured."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
WRITTEN = sorted(
    page
    for page in DOCS.rglob("*.md")
    if not {"_build", "generated"} & set(page.relative_to(DOCS).parts)
)


def in_tree() -> set[Path]:
    """Pages that a table of contents names, the first page among them."""
    named = {DOCS / "index.md"}
    for page in WRITTEN:
        for tree in re.findall(r"```{toctree}\n(.*?)```", page.read_text("utf-8"), flags=re.DOTALL):
            entries = [line for line in tree.splitlines() if line and not line.startswith(":")]
            files = (entry.rpartition("<")[2].strip(">") for entry in entries)
            named |= {(page.parent / f"{file}.md").resolve() for file in files}
    return named


def test_every_page_is_in_the_tree():
    assert set(WRITTEN) <= in_tree()


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(DOCS)))
def test_links_and_pictures_lead_to_files(page):
    text = re.sub(r"```python.*?```|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        if "generated/" not in target:
            assert (page.parent / target).exists(), target


def test_every_flow_stands_on_a_page_of_the_flows():
    from flowkit_core import recipes

    pages = "".join(page.read_text("utf-8") for page in (DOCS / "flows").glob("*.md"))
    assert [name for name in recipes.__all__ if f"`{name}" not in pages and name != "compose"] == []


def test_every_flow_is_seen_on_a_page():
    from flowkit_core import recipes

    pages = {page: page.read_text("utf-8") for page in WRITTEN}
    shown = {Path(p).stem for text in pages.values() for p in re.findall(r"\]\((.+?\.png)\)", text)}
    # Draws of digits are the pictures of these.
    assert "images-samples-pyro" in shown
    assert set(recipes.__all__) - shown == {"compose", "realnvp_image", "glow"}


@pytest.mark.parametrize(
    ("begin", "end", "source", "at_least"),
    [("## Measured", "## Quality", "RESULTS.md", 30), ("## Quality", "Theirs", "QUALITY.md", 15)],
)
def test_figures_of_the_comparison_are_those_of_the_results(begin, end, source, at_least):
    part = (DOCS / "comparison.md").read_text("utf-8").partition(begin)[2].partition(end)[0]
    results = (ROOT / "benchmarks" / source).read_text("utf-8")
    known = set(re.findall(r"\d+\.?\d*", results))
    cells = [row.split("|")[2:] for row in part.splitlines() if row.startswith("|")]
    figures = {
        figure
        for text in (" ".join(map(" ".join, cells)), part.partition("**Memory")[2])
        for figure in re.findall(r"\d+\.\d+|\d{3,}", text)
    }
    assert len(figures) > at_least
    assert sorted(figures - known) == []
