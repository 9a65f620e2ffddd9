"""Drawings of trained models, of however many there are."""

import matplotlib.pyplot as plt
import pandas as pd

from reuseprior.works.thesis.sharing import drawings


def test_a_marker_a_model_however_many_are_recorded():
    names = [f"V2-B{i}" for i in range(7)]
    models = pd.DataFrame({"model": names, "accuracy": range(7), "sd": 0.1})
    models = models.assign(params=1e6, P_G=20.0, P_G_spread=21.0)
    fig, axes = plt.subplots(1, 3)
    drawings.accuracy_against(axes, models, "ours")
    assert [text.get_text() for text in axes[0].get_legend().get_texts()] == names
    plt.close(fig)


def test_without_a_settled_model_the_axes_say_so():
    columns = ["model", "accuracy", "params", "P_G", "P_G_spread"]
    fig, axes = plt.subplots(1, 3)
    drawings.accuracy_against(axes, pd.DataFrame(columns=columns), "ours")
    assert {ax.texts[0].get_text() for ax in axes} == {"no run yet that settled"}
    plt.close(fig)
