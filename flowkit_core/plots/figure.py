"""A figure that notebooks show by themselves; imported only where a picture is drawn."""

import io

import matplotlib.figure


class Figure(matplotlib.figure.Figure):
    """A `matplotlib.figure.Figure` that is a picture as the last value of a notebook's cell.

    One that is bound to no window is otherwise shown only after ``%matplotlib inline``, whose
    settings come first where that was said.
    """

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()
