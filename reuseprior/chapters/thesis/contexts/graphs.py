"""The example graphs of figures 1.1 and 4.1 to 4.3.

The figures are drawings without text; these are the smallest graphs that captions, section 4.1
and appendix A.3 describe.
"""

from reuseprior.contexts import Graph

FIGURE_4_1A = Graph(
    {
        "f1": [("i1", "w1")],
        "f2": [("f1", "w2")],
        "f3": [("f1", "w3")],
        "O1": [("f2", "w4"), ("f3", "w5")],
    }
)
FIGURE_4_1B = Graph(
    {
        "f1": [("i1", "w1"), ("i2", "w2")],
        "f2": [("f1", "w3")],
        "f3": [("f1", "w4")],
        "O1": [("f2", "w5")],
        "O2": [("f3", "w6")],
    }
)
FIGURE_4_2A = Graph({"f1": [("i1", "w1")], "O1": [("f1", "w2")], "O2": [("i1", "w3")]})
FIGURE_4_2B = Graph({"f1": [("i1", "w1")], "O1": [("f1", "w2")], "O2": [("f1", "w3")]})
FIGURE_4_3A = Graph(
    {
        "f1": [("i1", "w1"), ("i2", "w2")],
        "f2": [("i1", "w3"), ("i2", "w4")],
        "f3": [("f1", "w5"), ("f2", "w6")],
        "f4": [("f1", "w7"), ("f2", "w8")],
        "O1": ["f3", "f4"],
    }
)


def figure_1_1b(width: int, depth: int) -> Graph:
    """A perceptron of one input; weights after the first layer are left out, as in figure 1.1b.

    >>> [figure_1_1b(width, 2).contexts()["w1"] for width in (2, 3)]
    [2, 3]
    """
    across = range(1, width + 1)
    nodes = {f"f{k}": [("i1", f"w{k}")] for k in across}
    layer = list(nodes)
    for later in range(1, depth):
        letter = "O" if later == depth - 1 else chr(ord("f") + later)
        nodes |= {f"{letter}{k}": list(layer) for k in across}
        layer = [f"{letter}{k}" for k in across]
    return Graph(nodes)
