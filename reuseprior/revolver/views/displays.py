"""How blueprints and populations display in Jupyter; importing this module gives them that.

They know nothing of their views: the views look at them, and not the other way round.
"""

from reuseprior.revolver.blueprints.blueprint import Blueprint
from reuseprior.revolver.evolution.population import Population
from reuseprior.revolver.views.trees import tree


def _html(blueprint: Blueprint) -> str:
    return tree(blueprint)._repr_html_()


def _png(population: Population) -> tuple[bytes, dict[str, float]]:
    from reuseprior.revolver.views import figures  # matplotlib is loaded where something is drawn

    return figures.sharing_map(population)._repr_png_()


Blueprint._repr_html_ = _html
Population._repr_png_ = _png
