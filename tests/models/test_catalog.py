import sys

import pytest
import torch
from torch import nn

from reuseprior.models import ModelError, build, find, image_size, names

CATALOG = {  # image size, parameters
    "efficientnetv2-b0": (224, 7_139_704), "efficientnetv2-b1": (240, 8_141_052),
    "efficientnetv2-b2": (260, 10_096_086), "efficientnetv2-b3": (300, 14_358_406),
    "efficientnetv2-s": (384, 21_458_488), "efficientnetv2-m": (480, 54_139_356),
    "efficientnetv2-l": (480, 118_515_272), "resnet50-v1": (384, 25_557_032),
    "resnet20-cifar": (32, 269_722), "resnet32-cifar": (32, 464_154),
    "resnet56-cifar": (32, 853_018), "resnet110-cifar": (32, 1_727_962),
    "wrn-28-10": (32, 36_479_194), "wrn-40-10": (32, 55_841_754), "wrn-52-10": (32, 75_204_314),
    "wrn-76-12": (32, 164_037_594), "wrn-28-4": (32, 5_849_050), "wrn-28-2": (32, 1_467_610),
    "wrn-16-2": (32, 691_674), "wrn-10-2": (32, 303_706), "wrn-50-2": (224, 68_902_472),
    "densenet-bc-190-40": (32, 25_624_430), "darts-first-order": (32, 3_169_414),
    "darts-second-order": (32, 3_349_342), "xception-cifar": (32, 7_649_898),
    "vs-xception": (32, 787_242), "mobilenet-cifar": (32, 3_217_226),
    "resnet18-cifar": (32, 11_173_962),
}  # fmt: skip
OTHERS = {  # of the zoos
    "torchvision:alexnet": (224, 61_100_840), "torchvision:inception_v3": (299, 27_161_264),
    "torchvision:googlenet": (224, 13_004_888), "torchvision:regnet_y_400mf": (224, 4_344_144),
    "torchvision:vit_h_14": (224, 632_045_800), "torchvision:swin_v2_t": (256, 28_351_570),
    "torchvision:maxvit_t": (224, 30_919_624), "timm:resnet50.a1_in1k": (224, 25_557_032),
    "timm:regnety_004": (224, 4_344_144), "timm:vit_base_patch16_384": (384, 86_859_496),
    "timm:swin_tiny_patch4_window7_224": (224, 28_288_354),
    "timm:swinv2_tiny_window8_256": (256, 28_347_154),
}  # fmt: skip
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


@pytest.mark.parametrize("name", CATALOG | OTHERS)
def test_sizes(name, recwarn):
    assert names() == list(CATALOG)
    if name.startswith("timm:"):
        pytest.importorskip("timm")
    parameters = [*build(name).parameters()]
    assert (image_size(name), sum(p.numel() for p in parameters)) == (CATALOG | OTHERS)[name]
    if not name.startswith("timm:"):
        assert all(parameter.is_meta for parameter in parameters) and not recwarn.list


@pytest.mark.parametrize("name", [name for name in OTHERS if name.startswith("torchvision:")])
def test_torchvision_models_take_images_of_their_size(name, recwarn):
    size = image_size(name)
    build(name).to("meta").eval()(torch.empty(1, 3, size, size, device="meta"))
    assert not recwarn.list


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
])  # fmt: skip
def test_names_that_lead_nowhere(my_nets, name, message):
    with pytest.raises(ModelError, match=message):
        build(name)


def test_timm_that_has_no_such_model_or_is_missing(monkeypatch):
    pytest.importorskip("timm")
    with pytest.raises(ModelError, match="timm has no model 'resnet5', did you mean 'resnet50"):
        build("timm:resnet5")
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModelError, match="'timm:resnet50' needs timm: pip install timm"):
        build("timm:resnet50")
