"""The blueprint that appendix C.4 prints, read and built."""

import pytest

from reuseprior import revolver as rv
from reuseprior.chapters import revolver as work
from reuseprior.chapters.revolver_print import printed


def test_appendix_c4_loads_and_builds():
    tree = work.from_thesis(printed())
    assert tree.name.endswith("+c3f") and tree.unique and tree.at("conv/bn").tag == "e89"
    assert tree.at("conv/conv").name == "ResNetd4w1c2/cnv/conv3_16_7_2_3_1_1_F"
    assert tree.at("conv").output_shape == (16, 8, 8) and tree.output_shape == (2,)
    assert tree.at("conv/conv").meta == {"mutation_p": 0.8, "toggle_p": 0.02}
    rv.check(tree)
    registry = rv.Registry()
    model = registry.build(tree)
    assert sum(p.numel() for p in model.parameters()) == tree.parameters() == 2450
    assert rv.Blueprint.from_json(tree.to_json()).name == tree.name
    # One unique convolution makes its unit and the net another's, and leaves the rest.
    shared = {name for _, node, name in tree.scopes() if not node.unique}
    rv.make_unique(tree, "conv/conv", registry.tags)
    assert [node.unique for node in tree.lineage("conv/conv")] == [True] * 3
    assert {name for _, node, name in tree.scopes() if not node.unique} < shared
    for key, value, sentence in [
        ("output_shape", "(1, 3)", r"printed output shape \(3,\) of 'linear' at linear does not"),
        ("type", "<class ’ScopedX’>", "at linear has the type 'ScopedX': known are ScopedResNet"),
    ]:
        data = printed()
        data["linear"][key] = value
        with pytest.raises(rv.BlueprintError, match=sentence):
            work.from_thesis(data)
    for data in ({}, [], {"type": "conv"}):
        with pytest.raises(rv.BlueprintError, match=r"does not have the format of appendix C\.4"):
            work.from_thesis(data)
