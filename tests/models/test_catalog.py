import sys

import pytest
import torch
from torch import nn

from reuseprior.models import ModelError, build, find, image_size, names

IMAGE_SIZES = [
    ("efficientnetv2-b0", 224),
    ("efficientnetv2-b1", 240),
    ("efficientnetv2-b2", 260),
    ("efficientnetv2-b3", 300),
    ("efficientnetv2-s", 384),
    ("efficientnetv2-m", 480),
    ("efficientnetv2-l", 480),
    ("resnet50-v1", 384),
    ("resnet20-cifar", 32),
    ("resnet32-cifar", 32),
    ("resnet56-cifar", 32),
    ("resnet110-cifar", 32),
    ("wrn-28-10", 32),
    ("wrn-40-10", 32),
    ("wrn-52-10", 32),
    ("wrn-76-12", 32),
    ("wrn-28-4", 32),
    ("wrn-28-2", 32),
    ("wrn-16-2", 32),
    ("wrn-10-2", 32),
    ("wrn-50-2", 224),
    ("densenet-bc-190-40", 32),
    ("darts-first-order", 32),
    ("darts-second-order", 32),
    ("xception-cifar", 32),
    ("vs-xception", 32),
    ("mobilenet-cifar", 32),
    ("resnet18-cifar", 32),
]
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


def test_names():
    assert names() == [name for name, _ in IMAGE_SIZES]


@pytest.mark.parametrize(("name", "size"), IMAGE_SIZES)
def test_own_models(name, size):
    assert image_size(name) == size
    assert all(parameter.is_meta for parameter in build(name).parameters())


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("EfficientNetV2-B0", "efficientnetv2-b0"),
        ("V2-B0", "efficientnetv2-b0"),
        ("v2-l", "efficientnetv2-l"),
        ("ResNet-50", "resnet50-v1"),
    ],
)
def test_other_spellings(alias, name):
    assert find(alias).name == name


@pytest.mark.parametrize(
    ("name", "size", "parameters"),
    [
        ("torchvision:alexnet", 224, 61_100_840),
        ("torchvision:inception_v3", 299, 27_161_264),
        ("torchvision:googlenet", 224, 13_004_888),
        ("torchvision:regnet_y_400mf", 224, 4_344_144),
        ("torchvision:vit_h_14", 224, 632_045_800),
        ("torchvision:swin_v2_t", 256, 28_351_570),
        ("torchvision:maxvit_t", 224, 30_919_624),
    ],
)
def test_torchvision_models(name, size, parameters, recwarn):
    model = build(name)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert all(p.is_meta for p in model.parameters())
    assert image_size(name) == size
    model.to("meta").eval()(torch.empty(1, 3, size, size, device="meta"))
    assert not recwarn.list


@pytest.mark.parametrize(
    ("name", "size", "parameters"),
    [
        ("timm:resnet50.a1_in1k", 224, 25_557_032),
        ("timm:regnety_004", 224, 4_344_144),
        ("timm:vit_base_patch16_384", 384, 86_859_496),
        ("timm:swin_tiny_patch4_window7_224", 224, 28_288_354),
        ("timm:swinv2_tiny_window8_256", 256, 28_347_154),
    ],
)
def test_timm_models(name, size, parameters):
    pytest.importorskip("timm")
    assert sum(p.numel() for p in build(name).parameters()) == parameters
    assert image_size(name) == size


def test_real_weights_on_request():
    model = build("V2-B0", lazy=False).eval()
    assert torch.isfinite(model(torch.zeros(1, 3, 32, 32))).all()


@pytest.mark.parametrize("name", ["my_nets:Tiny", "my_nets:Zoo.tiny"])
def test_factory_in_the_current_directory(my_nets, name):
    path = list(sys.path)
    model = build(name)
    assert [tuple(p.shape) for p in model.parameters()] == [(2, 4), (2,)]
    assert all(p.is_meta for p in model.parameters())
    assert image_size(name) == 224
    assert sys.path == path


def test_factory_of_an_installed_package():
    assert isinstance(build("torch.nn:Identity"), nn.Identity)


def test_a_model_that_needs_its_weights_gets_them(my_nets):
    before = torch.get_rng_state()
    model = build("my_nets:Sized")
    assert model.head.in_features == 144  # 4 channels of 6×6
    assert not model.head.weight.is_meta
    assert torch.equal(torch.get_rng_state(), before)


def test_a_failing_factory_speaks_for_itself(my_nets):
    with pytest.raises(OSError, match="no checkpoint at my/path"):
        build("my_nets:failing")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("efficientnetv2-b9", "unknown model 'efficientnetv2-b9', did you mean 'efficientnetv2-b"),
        ("quux", "unknown model 'quux': `reuseprior models` lists the names"),
        ("torchvision:resnet5", "torchvision has no classifier 'resnet5', did you mean 'resnet50'"),
        ("torchvision:", "torchvision has no classifier '': torchvision.models.list_models"),
        ("nowhere:f", "cannot import 'nowhere' .*No module named 'nowhere'.*: run from the folder"),
        ("broken_nets:f", "cannot import 'broken_nets' .*No module named 'a_package_nobody_has'"),
        (":f", "cannot import '' for model ':f'"),
        ("my_nets:tny", "'my_nets' has no 'tny', did you mean 'tiny'|must name a function in it"),
        ("my_nets:settings", "'my_nets:settings' is a dict: it must be a callable"),
        ("my_nets:scaled", "'my_nets:scaled' needs arguments .*'width'.*: give a callable"),
        ("my_nets:text", "'my_nets:text' returned a str: it must return a torch.nn.Module"),
    ],
)
def test_names_that_lead_nowhere(my_nets, name, message):
    with pytest.raises(ModelError, match=message):
        build(name)


def test_unknown_timm_model():
    pytest.importorskip("timm")
    with pytest.raises(ModelError, match="timm has no model 'resnet5', did you mean 'resnet50"):
        build("timm:resnet5")


def test_missing_timm_names_the_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModelError, match="'timm:resnet50' needs timm: pip install timm"):
        build("timm:resnet50")
