"""Models by name: of the catalogue, of zoos, of a module in the current folder."""

import sys

import pytest
import torch
from torch import nn

from reuseprior.models import ModelError, build, find, image_size

MY_NETS = """
import torch
from torch import nn

settings = {"width": 8}

class Tiny(nn.Linear):
    def __init__(self):
        super().__init__(4, 2)

class Sized(nn.Module):
    "Tries itself on an image to learn its size, so it needs its weights."
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten())
        self.head = nn.Linear(self.features(torch.zeros(1, 3, 8, 8)).shape[1], 2)

class Zoo:
    tiny = Tiny

def scaled(width):
    return nn.Linear(width, width)

def text():
    return "no model"

def failing():
    raise OSError("no checkpoint at my/path")
"""


@pytest.fixture
def my_nets(tmp_path, monkeypatch):
    """A module of models in the current directory, found by nothing else."""
    (tmp_path / "my_nets.py").write_text(MY_NETS)
    (tmp_path / "broken_nets.py").write_text("import a_package_nobody_has")
    monkeypatch.chdir(tmp_path)
    yield
    sys.modules.pop("my_nets", None)


ALIASES = {
    "EfficientNetV2-B0": "efficientnetv2-b0", "V2-B0": "efficientnetv2-b0",
    "v2-l": "efficientnetv2-l", "ResNet-50": "resnet50-v1",
}  # fmt: skip


def test_other_spellings_and_real_weights_on_request():
    assert {alias: find(alias).name for alias in ALIASES} == ALIASES
    model = build("V2-B0", lazy=False).eval()
    assert torch.isfinite(model(torch.zeros(1, 3, 32, 32))).all()


@pytest.mark.parametrize("name", ["my_nets:Tiny", "my_nets:Zoo.tiny"])
def test_factory_in_the_current_directory(my_nets, name):
    path = list(sys.path)
    parameters = list(build(name).parameters())
    assert [tuple(p.shape) for p in parameters] == [(2, 4), (2,)]
    assert all(p.is_meta for p in parameters)
    assert image_size(name) == 224 and sys.path == path
    assert isinstance(build("torch.nn:Identity"), nn.Identity)  # of an installed package


def test_a_model_that_needs_its_weights_gets_them_and_a_failing_one_speaks_for_itself(my_nets):
    before = torch.get_rng_state()
    model = build("my_nets:Sized")
    assert model.head.in_features == 144  # 4 channels of 6×6
    assert not model.head.weight.is_meta
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(OSError, match="no checkpoint at my/path"):
        build("my_nets:failing")


@pytest.mark.parametrize(("name", "message"), [
    ("nowhere:f", "cannot import 'nowhere' .*No module named 'nowhere'.*: run from the folder"),
    ("broken_nets:f", "cannot import 'broken_nets' .*No module named 'a_package_nobody_has'"),
    (":f", "cannot import '' for model ':f'"),
    ("my_nets:tny", "'my_nets' has no 'tny', did you mean 'tiny'|must name a function in it"),
    ("my_nets:settings", "'my_nets:settings' is a dict: it must be a callable"),
    ("my_nets:scaled", "'my_nets:scaled' needs arguments .*'width'.*: give a callable"),
    ("my_nets:text", "'my_nets:text' returned a str: it must return a torch.nn.Module"),
])  # fmt: skip
def test_factories_that_are_none(my_nets, name, message):
    with pytest.raises(ModelError, match=message):
        build(name)


def test_timm_that_has_no_such_model_or_is_missing(monkeypatch):
    pytest.importorskip("timm")
    with pytest.raises(ModelError, match="timm has no model 'resnet5', did you mean 'resnet50"):
        build("timm:resnet5")
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModelError, match="'timm:resnet50' needs timm: pip install timm"):
        build("timm:resnet50")
