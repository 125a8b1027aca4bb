"""Remarks written by hand, kept through every rendering: `remarks.md`."""

from pathlib import Path

PATH = Path(__file__).with_name("remarks.md")


def read_remarks(text):
    """Heading -> text, of a file whose level-two headings are keys of bars or prefixes of keys."""
    found = {}
    key = None
    for line in text.splitlines():
        if line.startswith("## "):
            key = line.removeprefix("## ").strip()
            found[key] = []
        elif key is not None:
            found[key].append(line)
    return {key: "\n".join(lines).strip() for key, lines in found.items() if any(lines)}


def about(section, remarks):
    """The remarks on a section or on bars of it, in the order of the file."""
    return {
        key: text
        for key, text in remarks.items()
        if key == section or key.startswith(f"{section}/")
    }
