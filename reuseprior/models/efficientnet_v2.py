"""EfficientNetV2 (Tan & Le 2021) with the graph of `keras.applications.efficientnet_v2`.

It differs from Keras in two ways that change no parameter: padding is `kernel_size // 2` on every
side, and rescaling the pixels is left to whoever feeds the images.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch.nn.functional as F
from torch import Tensor, nn

STAGE = re.compile(r"(er|ir)_r(\d+)_k(\d+)_s(\d+)_e(\d+)_c(\d+)(?:_se(0\.\d+))?")


@dataclass(frozen=True)
class Stage:
    """A run of equal blocks; only the first of them has the stride."""

    kind: str  # "er": fused MBConv (edge residual); "ir": MBConv (inverted residual)
    repeats: int
    kernel_size: int
    stride: int
    expand_ratio: int
    channels: int
    se_ratio: float = 0.0  # squeeze-excite width per channel of the block's input; 0: none


@dataclass(frozen=True)
class Variant:
    """A published member of the family: its stages before scaling, and how to scale them."""

    stem: int
    stages: tuple[str, ...]
    width: float = 1.0
    depth: float = 1.0


_B_STAGES = (
    "er_r1_k3_s1_e1_c16",
    "er_r2_k3_s2_e4_c32",
    "er_r2_k3_s2_e4_c48",
    "ir_r3_k3_s2_e4_c96_se0.25",
    "ir_r5_k3_s1_e6_c112_se0.25",
    "ir_r8_k3_s2_e6_c192_se0.25",
)
_S_STAGES = (
    "er_r2_k3_s1_e1_c24",
    "er_r4_k3_s2_e4_c48",
    "er_r4_k3_s2_e4_c64",
    "ir_r6_k3_s2_e4_c128_se0.25",
    "ir_r9_k3_s1_e6_c160_se0.25",
    "ir_r15_k3_s2_e6_c256_se0.25",
)
_M_STAGES = (
    "er_r3_k3_s1_e1_c24",
    "er_r5_k3_s2_e4_c48",
    "er_r5_k3_s2_e4_c80",
    "ir_r7_k3_s2_e4_c160_se0.25",
    "ir_r14_k3_s1_e6_c176_se0.25",
    "ir_r18_k3_s2_e6_c304_se0.25",
    "ir_r5_k3_s1_e6_c512_se0.25",
)
_L_STAGES = (
    "er_r4_k3_s1_e1_c32",
    "er_r7_k3_s2_e4_c64",
    "er_r7_k3_s2_e4_c96",
    "ir_r10_k3_s2_e4_c192_se0.25",
    "ir_r19_k3_s1_e6_c224_se0.25",
    "ir_r25_k3_s2_e6_c384_se0.25",
    "ir_r7_k3_s1_e6_c640_se0.25",
)
VARIANTS = {
    "b0": Variant(32, _B_STAGES),
    "b1": Variant(32, _B_STAGES, depth=1.1),
    "b2": Variant(32, _B_STAGES, width=1.1, depth=1.2),
    "b3": Variant(32, _B_STAGES, width=1.2, depth=1.4),
    "s": Variant(24, _S_STAGES),
    "m": Variant(24, _M_STAGES),
    "l": Variant(32, _L_STAGES),
}
HEAD_CHANNELS = 1280


def efficientnet_v2(variant: str, *, num_classes: int = 1000) -> "EfficientNetV2":
    """The EfficientNetV2 of a published size: `b0`, `b1`, `b2`, `b3`, `s`, `m` or `l`.

    ```python
    model = efficientnet_v2("b0")
    sum(p.numel() for p in model.parameters())  # 7_139_704
    ```
    """
    if variant not in VARIANTS:
        raise ValueError(
            f"EfficientNetV2 has no size {variant!r}: choose from {', '.join(VARIANTS)}"
        )
    plan = VARIANTS[variant]
    return EfficientNetV2(
        [scale_stage(parse_stage(text), plan.width, plan.depth) for text in plan.stages],
        stem_channels=round_channels(plan.stem * plan.width),
        head_channels=round_channels(HEAD_CHANNELS * plan.width),
        num_classes=num_classes,
    )


def parse_stage(text: str) -> Stage:
    """Read a stage written in timm's notation.

    ```python
    parse_stage("ir_r6_k3_s2_e4_c128_se0.25")
    # Stage("ir", repeats=6, kernel_size=3, stride=2, expand_ratio=4, channels=128, se_ratio=0.25)
    ```
    """
    match = STAGE.fullmatch(text)
    if match is None:
        raise ValueError(f"cannot read stage {text!r}: write it like 'ir_r6_k3_s2_e4_c128_se0.25'")
    kind, *numbers, se_ratio = match.groups(default="0")
    return Stage(kind, *map(int, numbers), float(se_ratio))


def scale_stage(stage: Stage, width: float, depth: float) -> Stage:
    """Widen and deepen a stage: 112 channels and 5 blocks by 1.1 and 1.2 are 120 and 6."""
    repeats = math.ceil(depth * stage.repeats)
    return replace(stage, repeats=repeats, channels=round_channels(stage.channels * width))


def round_channels(channels: float) -> int:
    """The nearest multiple of 8, as Keras rounds: 35.2 becomes 32, and 36 becomes 40.

    The reference code adds 8 where rounding would take more than a tenth away; Keras does not.
    """
    return max(8, int(channels + 4) // 8 * 8)


class EfficientNetV2(nn.Module):
    """Stem, blocks, 1×1 head, global average pool, classifier.

    Takes images (batch, 3, height, width) and gives logits (batch, num_classes).
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        *,
        stem_channels: int,
        head_channels: int,
        num_classes: int = 1000,
    ):
        super().__init__()
        self.stem = _conv(3, stem_channels, 3, stride=2)
        self.stem_bn = _batch_norm(stem_channels)
        self.blocks = nn.Sequential(*_blocks(stages, stem_channels))
        self.head = _conv(stages[-1].channels, head_channels, 1)
        self.head_bn = _batch_norm(head_channels)
        self.classifier = nn.Linear(head_channels, num_classes)
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        x = F.silu(self.stem_bn(self.stem(images)))  # batch, channels, height / 2, width / 2
        x = self.blocks(x)  # batch, channels, height / 32, width / 32
        x = F.silu(self.head_bn(self.head(x)))
        return self.classifier(x.mean(dim=(2, 3)))


class ConvBlock(nn.Module):
    """What a fused MBConv with expand ratio 1 comes down to: one convolution and a skip."""

    def __init__(self, in_channels: int, stage: Stage):
        super().__init__()
        self.skip = _can_skip(in_channels, stage)
        self.project = _conv(in_channels, stage.channels, stage.kernel_size, stride=stage.stride)
        self.project_bn = _batch_norm(stage.channels)

    def forward(self, x: Tensor) -> Tensor:
        y = F.silu(self.project_bn(self.project(x)))
        return x + y if self.skip else y


class FusedMBConv(nn.Module):
    """Expand with a k×k convolution, project with a 1×1."""

    def __init__(self, in_channels: int, stage: Stage):
        super().__init__()
        wide = in_channels * stage.expand_ratio
        self.skip = _can_skip(in_channels, stage)
        self.expand = _conv(in_channels, wide, stage.kernel_size, stride=stage.stride)
        self.expand_bn = _batch_norm(wide)
        self.project = _conv(wide, stage.channels, 1)
        self.project_bn = _batch_norm(stage.channels)

    def forward(self, x: Tensor) -> Tensor:
        y = F.silu(self.expand_bn(self.expand(x)))
        y = self.project_bn(self.project(y))
        return x + y if self.skip else y


class MBConv(nn.Module):
    """Expand with a 1×1 convolution, filter each channel, squeeze-excite, project with a 1×1."""

    def __init__(self, in_channels: int, stage: Stage):
        super().__init__()
        wide = in_channels * stage.expand_ratio
        self.skip = _can_skip(in_channels, stage)
        self.expand = _conv(in_channels, wide, 1)
        self.expand_bn = _batch_norm(wide)
        self.depthwise = _conv(wide, wide, stage.kernel_size, stride=stage.stride, groups=wide)
        self.depthwise_bn = _batch_norm(wide)
        self.gate = SqueezeExcite(wide, max(1, int(in_channels * stage.se_ratio)))
        self.project = _conv(wide, stage.channels, 1)
        self.project_bn = _batch_norm(stage.channels)

    def forward(self, x: Tensor) -> Tensor:
        y = F.silu(self.expand_bn(self.expand(x)))
        y = F.silu(self.depthwise_bn(self.depthwise(y)))
        y = self.project_bn(self.project(self.gate(y)))
        return x + y if self.skip else y


class SqueezeExcite(nn.Module):
    """Scale each channel by a number between 0 and 1 computed from the means of all channels."""

    def __init__(self, channels: int, squeezed: int):
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.expand = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean(dim=(2, 3), keepdim=True)  # batch, channels, 1, 1
        return x * self.expand(F.silu(self.reduce(means))).sigmoid()


def _blocks(stages: Sequence[Stage], in_channels: int) -> Iterator[nn.Module]:
    for stage in stages:
        for index in range(stage.repeats):
            yield _block(in_channels, stage if index == 0 else replace(stage, stride=1))
            in_channels = stage.channels


def _block(in_channels: int, stage: Stage) -> nn.Module:
    if stage.kind == "ir":
        return MBConv(in_channels, stage)
    return (
        FusedMBConv(in_channels, stage) if stage.expand_ratio > 1 else ConvBlock(in_channels, stage)
    )


def _can_skip(in_channels: int, stage: Stage) -> bool:
    return stage.stride == 1 and in_channels == stage.channels


def _conv(
    in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1, groups: int = 1
) -> nn.Conv2d:
    return nn.Conv2d(
        in_channels,
        out_channels,
        kernel_size,
        stride=stride,
        padding=kernel_size // 2,
        groups=groups,
        bias=False,
    )


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


def _initialise(module: nn.Module) -> None:
    """He et al. (2015) by fan-out, a depthwise kernel's being its own taps; biases zero.

    The classifier is uniform with variance 1 / (3 · classes), as Keras has it.
    """
    if isinstance(module, nn.Conv2d):
        fan_out = module.out_channels * math.prod(module.kernel_size) // module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
    elif isinstance(module, nn.Linear):
        bound = 1 / math.sqrt(module.out_features)
        nn.init.uniform_(module.weight, -bound, bound)
    if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
