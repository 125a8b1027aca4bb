"""Python blocks of Markdown pages, as a reader meets them."""

import re
from dataclasses import dataclass
from pathlib import Path

_SYNC = re.compile(r":sync: (\w+)")


@dataclass(frozen=True)
class Block:
    """Code with the place where it stands.

    ``heading`` is the title above it, ``tab`` the library whose tab holds it ("" outside of tabs).
    """

    code: str
    line: int
    heading: str
    tab: str


def blocks_of(page: Path) -> list[Block]:
    """All Python blocks of a page, in order."""
    found: list[Block] = []
    heading = tab = ""
    lines = iter(enumerate(page.read_text(encoding="utf-8").splitlines(), 1))
    for number, line in lines:
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif sync := _SYNC.match(line):
            tab = sync[1]
        elif line and not line.strip(":"):  # a tab ends
            tab = ""
        elif line == "```python":
            code = []
            for _, inside in lines:
                if inside == "```":
                    break
                code.append(inside)
            found.append(Block("\n".join(code), number, heading, tab))
        elif line.startswith("```") and line != "```":  # a block that is not Python
            for _, inside in lines:
                if inside == "```":
                    break
    return found
