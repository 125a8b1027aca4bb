"""Docstrings as reStructuredText: what is meant as itself there must not read as markup."""

import re
from collections.abc import Iterable

from sphinx.application import Sphinx

_LITERAL = re.compile(r"(``.*?``)")
# |A| and *shape mean a size and an unpacking; **strong** and *emphasis* do not occur.
_MARKUP = re.compile(r"[|]|\*(?=\w)")
_EXAMPLE = re.compile(r"\s*(>>>|\.\.\. )")


def escaped(lines: Iterable[str]) -> list[str]:
    """The lines with | and * escaped, outside of literals and examples."""
    return ["".join(_parts(line)) for line in lines]


def _parts(line: str) -> Iterable[str]:
    if _EXAMPLE.match(line):
        yield line
        return
    for part in _LITERAL.split(line):
        yield part if part.startswith("``") else _MARKUP.sub(lambda found: "\\" + found[0], part)


def setup(app: Sphinx) -> dict[str, bool]:
    # Before napoleon, which writes markup of its own.
    app.connect("autodoc-process-docstring", _escape, priority=400)
    return {"parallel_read_safe": True}


def _escape(
    app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]
) -> None:
    lines[:] = escaped(lines)
