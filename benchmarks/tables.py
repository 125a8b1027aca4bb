"""Markdown tables and the numbers in them."""


def table(header, rows):
    """Lines of a markdown table; the first column is text, the others are numbers."""
    align = [":--", *["--:"] * (len(header) - 1)]
    return [_row(cells) for cells in (header, align, *rows)]


def _row(cells):
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def number(value):
    """Three significant digits, no exponent; a dash for None."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:#.3g}".rstrip(".")


def milliseconds(seconds):
    """Seconds as milliseconds."""
    return number(None if seconds is None else 1e3 * seconds)


def scientific(value):
    """Two significant digits with an exponent."""
    return "-" if value is None else f"{value:.1e}"


def spread(ratio):
    """Median of a ratio and its smallest and largest round."""
    if ratio is None:
        return "-"
    return f"{number(ratio.median)} ({number(ratio.low)} to {number(ratio.high)})"
