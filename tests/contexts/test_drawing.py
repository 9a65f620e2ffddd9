"""Explicit graphs as figures: what stands where, and which paths are strong."""

import matplotlib as mpl
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from reuseprior import plotting
from reuseprior.contexts import Graph, horizontal_unroll
from reuseprior.contexts.show import INPUT, NODE, OUTPUT, draw_graph

GRAPH = Graph({"f": [("i1", "w1")], "O1": [("f", "w2")], "O2": [("f", "w3")]})


@pytest.fixture(autouse=True)
def styled():
    with mpl.rc_context():
        plotting.style()
        yield


def drawn(graph, **options):
    ax = Figure().subplots()
    draw_graph(graph, ax, **options)
    return ax


def labels(ax):
    """Label → place, and label → colour of the circle around it."""
    at, faces = {}, {}
    for text in ax.texts:
        if text.get_text() and text.get_bbox_patch().get_boxstyle().__class__.__name__ == "Circle":
            at.setdefault(text.get_text(), []).append(text.get_position())
            faces[text.get_text()] = to_hex(text.get_bbox_patch().get_facecolor())
    return at, faces


def test_columns_run_from_inputs_to_outputs():
    at, faces = labels(drawn(GRAPH))
    assert {name: place[0][0] for name, place in at.items()} == {
        "$i_{1}$": 0, "$f_{}$": 1, "$O_{1}$": 2, "$O_{2}$": 2,
    }  # fmt: skip
    assert faces["$i_{1}$"] == to_hex(INPUT) and faces["$f_{}$"] == to_hex(NODE)
    assert faces["$O_{1}$"] == faces["$O_{2}$"] == to_hex(OUTPUT)


@pytest.mark.parametrize(("parameter", "uses"), [("w1", 3), ("w2", 1), (None, 0)])
def test_the_contexts_of_a_parameter_are_strong(parameter, uses):
    texts = drawn(GRAPH, highlight=parameter).texts
    patches = (getattr(text, "arrow_patch", None) for text in texts)
    widths = [patch.get_linewidth() for patch in patches if patch]
    assert (widths.count(2.0), len(widths)) == (uses, 3)


def test_duplicates_bear_the_nodes_label_and_share_no_place():
    at, _ = labels(drawn(horizontal_unroll(GRAPH)))
    assert len(at["$f_{}$"]) == len(set(at["$f_{}$"])) == len(at["$i_{1}$"]) == 2
    shown = [text.get_text() for text in drawn(Graph({"f": [("i1", "w1#2")]})).texts]
    assert "$w_{1,2}$" in shown
