"""Formulas as MathML, which browsers draw themselves: no script, no font, no network.

Sphinx's own choices are a script from the network (MathJax) or a LaTeX installation (imgmath).
The converter is that of docutils, which Sphinx needs anyway.
"""

import re

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.errors import SphinxError
from sphinx.writers.html5 import HTML5Translator

_NAME_BEFORE_LETTER = re.compile(r"<mo>&ApplyFunction;</mo>(?!\s*<mo)")


def _mathml(node: nodes.Element, *, as_block: bool) -> str:
    source = node.astext()
    try:
        mathml = tex2mathml(source, as_block=as_block)
    except MathError as problem:
        raise SphinxError(f"{node.source}:{node.line}: {problem} in the formula {source}") from None
    # "log p" and "det J", but "det(J)": browsers leave no space after the name of a function.
    return _NAME_BEFORE_LETTER.sub(r'\g<0><mspace width="0.17em"></mspace>', mathml)


def _inline(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(f'<span class="math">{_mathml(node, as_block=False)}</span>')
    raise nodes.SkipNode


def _display(self: HTML5Translator, node: nodes.math_block) -> None:
    self.body.append(f'<div class="math">{_mathml(node, as_block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer(
        "mathml", inline_renderers=(_inline, None), block_renderers=(_display, None)
    )
    return {"parallel_read_safe": True, "parallel_write_safe": True}
