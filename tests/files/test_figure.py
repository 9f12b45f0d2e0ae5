"""Names in figures are drawn as they are spelt."""

import numpy as np
import pandas as pd
import pytest
import seaborn as sns
from matplotlib.figure import Figure

from nnunet_ext.errors import InputError
from nnunet_ext.files.figure import png_of, save_figure

FORMULA = r"$\frac{$ and $x$"  # no formula that matplotlib could draw


def drawn(figure, tmp_path):
    save_figure(figure, tmp_path / "figure.png", dpi=50)
    return (tmp_path / "figure.png").read_bytes()


@pytest.mark.parametrize("draw", [drawn, lambda figure, _: png_of(figure, dpi=50)])
def test_names_with_dollars_are_drawn_wherever_they_stand(draw, tmp_path):
    figure = Figure(layout="constrained")
    axes = figure.subplots()
    sns.boxplot(pd.DataFrame({"region": [FORMULA] * 3, "dice": [0.1, 0.5, 0.6]}), x="region", y="dice", ax=axes)
    axes.plot([0, 1], label=FORMULA)
    axes.set_title(FORMULA)
    axes.legend()
    figure.legend(labels=[FORMULA])
    assert draw(figure, tmp_path).startswith(b"\x89PNG")


def test_pair_of_dollars_is_no_formula(tmp_path):
    def image_of(title):
        figure = Figure((2, 1))
        figure.suptitle(title)
        return drawn(figure, tmp_path)

    assert image_of("$x$") != image_of("x")
    plain = Figure((2, 1))
    plain.suptitle("$x$", parse_math=False)
    assert image_of("$x$") == drawn(plain, tmp_path)


def test_failed_figure_keeps_the_old_one(tmp_path):
    (tmp_path / "figure.png").write_bytes(b"old")
    with pytest.raises(InputError, match=r"figure\.png/a\.png cannot be written: Not a directory"):
        save_figure(Figure(), tmp_path / "figure.png" / "a.png")
    figure = Figure()
    figure.subplots().imshow(np.zeros((2, 2)))
    figure.savefig = None
    with pytest.raises(TypeError):
        save_figure(figure, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes() == b"old"
