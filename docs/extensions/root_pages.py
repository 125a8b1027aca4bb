"""Pages that stand elsewhere in the repository, copied here with their links made to fit."""

import re
from pathlib import Path

# Page here: file of the repository.
PAGES = {
    "changelog": "CHANGELOG.md",
    "speed": "benchmarks/RESULTS.md",
    "quality": "benchmarks/QUALITY.md",
}
_LINK = re.compile(r"(!?)\[([^]]*)\]\(([^):]+)\)")


def write_root_pages(root: Path, folder: Path) -> None:
    """Write the pages below ``folder``, which is docs/generated."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, source in PAGES.items():
        text = (root / source).read_text(encoding="utf-8")
        beside = Path(source).parent
        text = _LINK.sub(lambda found, beside=beside: _fitted(found, beside), text)
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _fitted(link: re.Match[str], beside: Path) -> str:
    picture, text, target = link.groups()
    file = (beside / target).as_posix()
    page = next((name for name, source in PAGES.items() if source == file), None)
    if page is not None:
        return f"[{text}]({page}.md)"
    if picture or file.startswith("docs/"):
        return f"{picture}[{text}](../../{file})".replace("](../../docs/", "](../")
    return text  # what has no page, such as a folder
