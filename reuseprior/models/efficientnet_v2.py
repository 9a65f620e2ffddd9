"""EfficientNetV2 (Tan & Le 2021) with the graph of `keras.applications.efficientnet_v2`.

It differs from Keras in two ways that change no parameter: padding is `kernel_size // 2` on every
side, and rescaling the pixels is left to whoever feeds the images.
"""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch.nn.functional as F
from torch import Tensor, nn

from reuseprior.errors import UserError
from reuseprior.models.layers import check_numbers, conv, finish

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
# The released S, which the thesis trained, has 8.4 billion multiply-adds at 384 px. Its authors say
# that their paper's S, with 8.8 billion, was wider in its last stage (272 channels,
# google/automl#999); with a head of 1792 channels that makes 8.6.
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


def efficientnet_v2(
    variant: str,
    *,
    num_classes: int = 1000,
    width: float = 1.0,
    dropout: float = 0.0,
    survival: float = 1.0,
    bn_momentum: float = 0.01,
) -> "EfficientNetV2":
    """The EfficientNetV2 of a published size: `b0`, `b1`, `b2`, `b3`, `s`, `m` or `l`.

    ```python
    model = efficientnet_v2("b0")
    sum(p.numel() for p in model.parameters())  # 7_139_704
    narrow = efficientnet_v2("b0", num_classes=10, width=0.25)
    sum(p.numel() for p in narrow.parameters())  # 433_444
    ```

    `width` scales every number of channels on top of the size's own. `dropout` is the rate before
    the classifier; `survival` the chance that the branch of the last block is kept for an image
    (see `EfficientNetV2`). `bn_momentum` is the weight of the newest batch in the running
    statistics: the 0.99 of the thesis (§4.5.4) is the old ones' weight, so 0.01 here.

    Raises `UserError` for an unknown size or a number out of range.
    """
    if variant not in VARIANTS:
        raise UserError(
            f"EfficientNetV2 has no size {variant!r}: choose from {', '.join(VARIANTS)}"
        )
    rest = {"dropout": dropout, "survival": survival, "bn_momentum": bn_momentum}
    check_numbers(num_classes=num_classes, width=width, **rest)
    plan = VARIANTS[variant]
    width *= plan.width
    return EfficientNetV2(
        [scale_stage(parse_stage(text), width, plan.depth) for text in plan.stages],
        stem_channels=round_channels(plan.stem * width),
        head_channels=round_channels(HEAD_CHANNELS * width),
        num_classes=num_classes,
        **rest,
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

    In training, block i of n keeps its branch for an image with probability
    1 - (1 - survival) · i / n, as in the reference code, and is the skip alone otherwise.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        *,
        stem_channels: int,
        head_channels: int,
        num_classes: int = 1000,
        dropout: float = 0.0,
        survival: float = 1.0,
        bn_momentum: float = 0.01,
    ):
        super().__init__()
        self.stem = conv(3, stem_channels, stride=2)
        self.stem_bn = _batch_norm(stem_channels)
        self.blocks = nn.Sequential(*_blocks(stages, stem_channels))
        self.head = conv(stages[-1].channels, head_channels, 1)
        self.head_bn = _batch_norm(head_channels)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(head_channels, num_classes)
        for index, block in enumerate(self.blocks):
            block.survival = 1 - (1 - survival) * index / len(self.blocks)
        finish(self, bn_momentum).apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        x = F.silu(self.stem_bn(self.stem(images)))  # batch, channels, height / 2, width / 2
        x = self.blocks(x)  # batch, channels, height / 32, width / 32
        x = F.silu(self.head_bn(self.head(x)))
        return self.classifier(self.dropout(x.mean(dim=(2, 3))))


class Block(nn.Module, ABC):
    """A branch and, where the shape stays, a skip around it."""

    def __init__(self, in_channels: int, stage: Stage):
        super().__init__()
        self.skip = stage.stride == 1 and in_channels == stage.channels
        self.survival = 1.0

    def forward(self, x: Tensor) -> Tensor:
        y = self.branch(x)
        if not self.skip:
            return y
        if self.training and self.survival < 1:
            kept = y.new_empty(len(y), 1, 1, 1).bernoulli_(self.survival)  # per image
            y = y * kept / self.survival
        return x + y

    @abstractmethod
    def branch(self, x: Tensor) -> Tensor:
        """What is computed beside the skip."""


class ConvBlock(Block):
    """What a fused MBConv with expand ratio 1 comes down to: one convolution and a skip."""

    def __init__(self, in_channels: int, stage: Stage):
        super().__init__(in_channels, stage)
        self.project = conv(in_channels, stage.channels, stage.kernel_size, stride=stage.stride)
        self.project_bn = _batch_norm(stage.channels)

    def branch(self, x: Tensor) -> Tensor:
        return F.silu(self.project_bn(self.project(x)))


class FusedMBConv(Block):
    """Expand with a k×k convolution, project with a 1×1."""

    def __init__(self, in_channels: int, stage: Stage):
        super().__init__(in_channels, stage)
        wide = in_channels * stage.expand_ratio
        self.expand = conv(in_channels, wide, stage.kernel_size, stride=stage.stride)
        self.expand_bn = _batch_norm(wide)
        self.project = conv(wide, stage.channels, 1)
        self.project_bn = _batch_norm(stage.channels)

    def branch(self, x: Tensor) -> Tensor:
        y = F.silu(self.expand_bn(self.expand(x)))
        return self.project_bn(self.project(y))


class MBConv(Block):
    """Expand with a 1×1 convolution, filter each channel, squeeze-excite, project with a 1×1."""

    def __init__(self, in_channels: int, stage: Stage):
        super().__init__(in_channels, stage)
        wide = in_channels * stage.expand_ratio
        self.expand = conv(in_channels, wide, 1)
        self.expand_bn = _batch_norm(wide)
        self.depthwise = conv(wide, wide, stage.kernel_size, stride=stage.stride, groups=wide)
        self.depthwise_bn = _batch_norm(wide)
        self.gate = SqueezeExcite(wide, max(1, int(in_channels * stage.se_ratio)))
        self.project = conv(wide, stage.channels, 1)
        self.project_bn = _batch_norm(stage.channels)

    def branch(self, x: Tensor) -> Tensor:
        y = F.silu(self.expand_bn(self.expand(x)))
        y = F.silu(self.depthwise_bn(self.depthwise(y)))
        return self.project_bn(self.project(self.gate(y)))


class SqueezeExcite(nn.Module):
    """Scale each channel by a number between 0 and 1 computed from the means of all channels."""

    def __init__(self, channels: int, squeezed: int):
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.expand = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean(dim=(2, 3), keepdim=True)  # batch, channels, 1, 1
        return x * self.expand(F.silu(self.reduce(means))).sigmoid()


def _blocks(stages: Sequence[Stage], in_channels: int) -> Iterator[Block]:
    for stage in stages:
        for index in range(stage.repeats):
            yield _block(in_channels, stage if index == 0 else replace(stage, stride=1))
            in_channels = stage.channels


def _block(in_channels: int, stage: Stage) -> Block:
    if stage.kind == "ir":
        return MBConv(in_channels, stage)
    return (
        FusedMBConv(in_channels, stage) if stage.expand_ratio > 1 else ConvBlock(in_channels, stage)
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
