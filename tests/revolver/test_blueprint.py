"""Names, JSON, and the sentence for each blueprint that cannot be."""

import json

import pytest

from reuseprior import revolver as rv
from reuseprior.revolver import blocks
from tests.revolver.worlds import settled

X = (8, 4, 4)


def test_names():
    conv = blocks.conv((3, 32, 32), 16, 7, stride=2)
    assert conv.name == conv.base_name == "conv3_16_7_2_3_1_1_F"
    assert blocks.linear((64,), 10).name == "linear64_10_T"
    conv.prefix, conv.tag, conv.unique = "ResNetd4w1c2/cnv/", "e89", True
    assert conv.name == "ResNetd4w1c2/cnv/conv3_16_7_2_3_1_1_F+e89"
    a, b = (blocks.separable(X, 8, size) for size in (3, 5))
    assert a.name != b.name and a.name == blocks.separable(X, 8, 3).name
    assert a.name.startswith("separable8_8-")
    b.children = a.copy().children
    assert a.name == b.name
    b.rescope("left/")
    assert b.name.startswith("left/separable8_8-") and b.at("pointwise").prefix == "left/"


def test_places():
    tree = blocks.residual([blocks.unit(blocks.conv(X, 8)) for _ in range(2)])
    assert [path for path, _ in tree.walk()][:3] == [(), ("unit0",), ("unit0", "bn")]
    assert [scope.path for scope in tree.scopes()][-2:] == [("unit1",), ()]
    assert tree.at("unit1/conv") is tree.at(("unit1", "conv")) is tree.lineage("unit1/conv")[2]
    assert tree.at(()) is tree.at("") is tree
    with pytest.raises(rv.BlueprintError, match="'unit' has no child 'cnv' on the way to 'unit0/c"):
        tree.at("unit0/cnv")


def test_batch_norms_by_use_are_named_after_their_place():
    def unit():
        return blocks.unit(blocks.conv(X, 8), norm=lambda x: blocks.batch_norm(x, scope="use"))

    tree = blocks.residual([unit(), unit()])
    rv.settle(tree, rv.Tags())
    names = {scope.path: scope.name for scope in tree.scopes()}
    assert not tree.unique and tree.at("unit0").name == tree.at("unit1").name
    assert names["unit0", "conv"] == names["unit1", "conv"] == tree.at("unit0/conv").name
    assert names["unit0", "bn"].endswith(f"_use@{tree.name}/unit0/bn")
    assert names["unit0", "bn"] != names["unit1", "bn"]
    assert tree.parameters() == 8 * 8 * 9 + 2 * 16 and tree.weights() == 2 * (8 * 8 * 9 + 16)


def broken(change):
    units = [blocks.unit(blocks.conv(X, 8, kernels=(1, 3))) for _ in range(2)]
    tree = settled(blocks.residual(units))
    change(tree)
    return tree


def cycle(tree):
    tree.children["unit1"].children["conv"] = tree


def twice(tree):
    tree.children["unit1"] = tree.children["unit0"]


def bare(tree):
    del tree.at("unit0/conv").arguments["in_channels"]


def put(place, **values):
    """What changes attributes of a block, where these are dictionaries entries of them."""

    def change(tree):
        node = tree.at(place)
        for name, value in values.items():
            if isinstance(value, dict):
                getattr(node, name).update(value)
            else:
                setattr(node, name, value)

    return change


BROKEN = [
    (cycle, "contains itself: unit1/conv is the root again; put a copy there"),
    (twice, "one blueprint stands at unit0 and at unit1: put a copy"),
    (put("unit0/conv", kind="convv"), "unknown block 'convv', did you mean 'conv'"),
    (put("unit0/conv", arguments={"speed": 3}), "'conv' has no argument 'speed': it takes in_"),
    (put("unit0/conv", arguments={"stride": "two"}), "'conv' has stride 'two', which is no int"),
    (bare, "'conv' lacks its argument 'in_channels'"),
    (put("unit0/conv", arguments={"kernel_size": 5, "padding": 2}), r"outside its domain \[1, 3\]"),
    (put("unit0/bn", mutables={"momentum": {"low": 1}}), "at unit0/bn has the domain {'low': 1}:"),
    (put("unit1/conv", arguments={"in_channels": 9}), r"given .*, needs \(9, height, width\)"),
    (put("unit1/conv", arguments={"stride": 2}), r"at the root, .* adds .* to \(8, 2, 2\)"),
    (put("unit1", output_shape=(9, 4, 4)), r"at unit1 declares .* \(9, 4, 4\), but it is \(8"),
    (put("", children={"friend": blocks.activation(X)}), "at friend has no place in its parent"),
    (put("unit0/bn", tag=None), "at unit0/bn is unique but has no tag: revolver.settle"),
    (put("unit0", unique=False, tag=None), "'unit' at unit0 is shared but contains a unique block"),
    (put("unit0/conv", prefix="left"), "at unit0/conv has the prefix 'left': end it with '/'"),
    (put("", input_shape=None), "'residual' has no input shape: revolver.infer"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "sentence"), BROKEN)
def test_what_cannot_be_built_says_why_and_leaves_the_registry(change, sentence):
    registry = rv.Registry()
    with pytest.raises(rv.BlueprintError, match=sentence):
        rv.check(broken(change))
    if change is not cycle:  # naming walks the tree first
        with pytest.raises(rv.BlueprintError):
            registry.build(broken(change))
        assert len(registry) == 0


def made(kind, **fields):
    return json.dumps({"kind": kind, **fields})


CONV = {"in_channels": 8, "out_channels": 8}
NO_BLUEPRINT = [
    ("{", "is not whole JSON .*: is it cut short"),
    ("[]", "at the root is no object with a kind"),
    (made("act", colour=1), "unknown field 'colour': the fields are name, kind"),
    (made("act", unique=1), r"does not hold .*Expected `bool`, got `int` - at `\$\.unique`"),
    (made("act", input_shape=[0]), r"Expected `int` >= 1 - at `\$\.input_shape\[0\]`"),
    (made("unit", children={"act": 3}), "at act is no object with a kind"),
    (made("act", arguments={"p": 1}), "'act' has no argument 'p': it takes function"),
    (made("conv", arguments=CONV | {"in_channels": 10**30}), "in_channels 10+: the largest number"),
    (made("conv", arguments=CONV | {"out_channels": 10**7}), "out_channels 10000000: the largest"),
    (made("conv", arguments=CONV | {"out_channels": True}), "out_channels True, which is no int"),
    (made("act", meta={"mutation_history": [{"name": "a"}]}),
     r"missing required field `\w+` - at `\$\.meta\.mut"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "sentence"), NO_BLUEPRINT)
def test_json_that_is_no_blueprint(text, sentence):
    with pytest.raises(rv.BlueprintError, match=sentence):
        rv.Blueprint.from_json(text)


def nested(levels):
    data = {"kind": "act"}
    for _ in range(levels - 1):
        data = {"kind": "unit", "children": {"unit0": data}}
    return data


@pytest.mark.slow
def test_limits_of_a_blueprint():
    assert sum(1 for _ in rv.Blueprint.from_data(nested(100)).walk()) == 100
    circle = {"kind": "residual", "children": {}}
    circle["children"]["unit0"] = circle
    wide = {"kind": "unit", "children": {f"act{i}": {"kind": "act"} for i in range(100_000)}}
    for data, sentence in [
        (nested(101), r"more than 100 levels, at unit0/unit0/unit0/…"),
        (circle, "contains itself: unit0 is the root again"),
        (wide, "has more than 100,000 blocks: give a smaller"),
    ]:
        with pytest.raises(rv.BlueprintError, match=sentence):
            rv.Blueprint.from_data(data)
    deep = '{"kind": "unit", "children": {"unit0": ' * 5000 + '{"kind": "act"}' + "}}" * 5000
    with pytest.raises(rv.BlueprintError, match="the blueprint is nested too deep to be read: is"):
        rv.Blueprint.from_json(deep)
