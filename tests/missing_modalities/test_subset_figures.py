"""Figures of subsets of modalities, whatever the names are."""

import pandas as pd

from nnunet_ext.missing_modalities.subset_figures import draw_heat_map, draw_shapley

FORMULA = r"$\frac{$ and $x$"  # no formula that matplotlib could draw


def test_names_with_dollars_are_drawn(tmp_path):
    table = pd.DataFrame([[0.1, 0.2], [0.3, 0.4]], index=[FORMULA, "T1"], columns=[FORMULA, "mean"])
    draw_heat_map(table, tmp_path / "heat_map.png")
    rows = {"modality": [FORMULA, "T1"] * 2, "case": list("aabb"), "region": [FORMULA] * 4, "shapley": [0.1, 0.2] * 2}
    draw_shapley(pd.DataFrame(rows), None, tmp_path / "shapley.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["heat_map.png", "shapley.png"]
