"""Parameters of the models that have names, and of others that papers print, in one table."""

from functools import partial

import pytest
import torch
from torch import nn

from reuseprior import models
from reuseprior.models import CNN, MLP, build, image_size, names, without_weights
from reuseprior.models.affine_vae import VAE
from reuseprior.sharing import apply

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


@pytest.mark.parametrize("name", CATALOG | OTHERS)
def test_sizes_of_names(name, recwarn):
    """Built without weights, without a warning; and the zoo's models take images of their size."""
    assert names() == list(CATALOG)
    if name.startswith("timm:"):
        pytest.importorskip("timm")
    model = build(name)
    parameters, size = [*model.parameters()], image_size(name)
    assert (size, sum(p.numel() for p in parameters)) == (CATALOG | OTHERS)[name]
    if not name.startswith("timm:"):
        assert all(parameter.is_meta for parameter in parameters)
    if name.startswith("torchvision:"):
        model.to("meta").eval()(torch.empty(1, 3, size, size, device="meta"))
    assert not recwarn.list or name.startswith("timm:")


def with_statistics(model):
    """A network's parameters and the running statistics of its norms."""
    return [*model.parameters(), *(b for b in model.buffers() if b.is_floating_point())]


def largest_and_unshared(model):
    """What a model with stores holds at least, if no layer is stretched: one of that size."""
    weights = [m.weight.numel() for m in model.modules() if isinstance(m, nn.Conv2d)]
    total = sum(p.numel() for p in model.parameters())
    return apply(model, f"stores:{total - sum(weights) + max(weights)},one")


def voxels(latent, side):
    """Parameters of the VAE on voxels, layer by layer."""
    encoder = 32 * 5**3 + 32 * 32 * 4**3 + 64 * 32 * 3**3 + 16 * 64 * 5**3 + 16
    decoder = 16 * 32 * 4**3 + 32 * 16 * 5**3 + 16 * 16 * 5**3 + 16 * 3**3 + 1
    norms = 2 * (32 + 32 + 64 + 32 + 16 + 16)
    code = 16 * (side // 4) ** 3
    return encoder + decoder + norms + 2 * (code + 1) * latent + code * (latent + 1)


wide = partial(models.wide_resnet, num_classes=100)
BUILT = [  # what is built, its parameters
    # tables 5.1 to 5.4 of the thesis, which count statistics
    (lambda: MLP(60, 4), 14_400),
    (lambda: with_statistics(MLP(20, 36, in_features=3, batch_norm=True)), 16_940),
    (lambda: CNN(60, 4), 129_600),
    (lambda: with_statistics(CNN(24, 25, in_channels=3, batch_norm=True)), 127_464),
    # the thesis's ResNet-50, and with biases Keras's
    (lambda: with_statistics(models.resnet50_v1()), 25_610_152),
    (lambda: with_statistics(models.resnet50_v1(conv_bias=True)), 25_636_712),
    (lambda: models.efficientnet_v2("b0", num_classes=10, width=0.25), 433_444),
    # NPAS's, as it prints and we recounted them; of two templates also their coefficients
    (lambda: largest_and_unshared(wide(28, 10)), 3_768_452),
    (lambda: largest_and_unshared(wide(76, 12)), 5_449_860),
    (lambda: models.densenet_bc(190, 40, num_classes=100), 25_821_620),
    (lambda: apply(wide(28, 10), "blocks:1"), 12_344_884),
    (lambda: apply(wide(28, 10), "blocks:2"), 17_183_284 + 3 * 6 * 2),
    (lambda: apply(build("wrn-50-2"), "blocks:1"), 39_722_568),
    # Bidart's narrowed networks, as his notebooks have them
    (lambda: models.cifar_xception(narrowing=2), 3_012_458),
    (lambda: models.cifar_xception(narrowing=8), 1_168_682),
    (lambda: models.vs_xception(narrowing=4), 103_338),
    (lambda: models.vs_xception(narrowing=8), 61_034),
    (lambda: models.cifar_resnet18(narrowing=4), 856_842),
    (lambda: models.cifar_resnet18(narrowing=16), 198_522),
    # the published affine VAE in the plane, and ours in space
    (lambda: VAE(2, 40), 100_357),
    (lambda: VAE(64, 40), 398_081),
    (lambda: VAE(19, 48, dimensions=3), voxels(19, 48)),
    (lambda: VAE(4, 12, dimensions=3), voxels(4, 12)),
]


@pytest.mark.parametrize(("make", "parameters"), BUILT)
def test_sizes_of_what_is_built(make, parameters):
    with without_weights():
        made = make()
    tensors = made.parameters() if isinstance(made, nn.Module) else made
    assert sum(tensor.numel() for tensor in tensors) == parameters
