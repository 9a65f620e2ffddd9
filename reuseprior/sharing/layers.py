"""Blocks of a stack that share: one for all, in cycles, in loops, with low-rank differences.

A stack is what a `Sequential` or `ModuleList` holds of blocks whose layers have equal names, kinds
and shapes: the layers of an encoder or decoder, the blocks of a vision transformer or
of a residual stage. Blocks that differ, as a stage's first often does, are left alone. Every
place keeps its own module, so what is no parameter (a place's number, its dropout, its
statistics) stays its own, and so do batch norms (thesis, §4.5.3).
"""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import ceil, sqrt

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import is_parametrized

from reuseprior.errors import did_you_mean
from reuseprior.sharing.scopes import Scope, SharingError, adopt, check_alike, shapes
from reuseprior.sharing.weights import Parametrization, attach, matrices

ORDERS: dict[str, Callable[[int, int], list[int]]] = {
    "cycle": lambda places, n: [i % n for i in range(places)],
    "sequence": lambda places, n: [i * n // places for i in range(places)],
    "cycle-rev": lambda places, n: [
        n - 1 - i % n if i >= n * (ceil(places / n) - 1) else i % n for i in range(places)
    ],
    "immediate": lambda places, n: [i // n for i in range(places)],
}
"""Which block stands at each of so many places: of `n` blocks or, `immediate`, each `n` times."""
PARTS = ("attention", "mlp")
MOST = 1_000  # blocks, passes and ranks: more are a slip
HELP = (
    "all, middle, attention, mlp, 3,cycle, 3,sequence, 3,cycle-rev, 2,immediate, 4-6x2, in=NAMES "
    "or lora=4"
)


@dataclass(frozen=True)
class Stack:
    """Equal blocks by their names in the model, in the order of their places."""

    blocks: dict[str, nn.Module]
    name: str  # of what holds them
    adjacent: bool  # whether no other module stands between them


@dataclass(frozen=True)
class Layers:
    """How the blocks of each stack share; written `all`, `3,cycle,lora=4` (see `parse`).

    >>> model = nn.Sequential(*(nn.TransformerEncoderLayer(8, 2, 16) for _ in range(4)))
    >>> scopes = Layers.parse("2,cycle").share(model)
    >>> model[2].linear1.weight is model[0].linear1.weight
    True
    """

    order: str = "all"  # or middle, or one of ORDERS
    number: int = 1  # of its blocks, or of places in a row
    part: str | None = None  # of the blocks, one of PARTS; all if None
    within: str | None = None  # a pattern of the names of the layers that share; all if None
    lora: int = 0  # rank of the difference that each place has of its own
    loop: tuple[int, int, int] | None = None  # first and last place, counted from 1, and passes

    @classmethod
    def parse(cls, text: str) -> Layers:
        """What a text says: words with commas between, in any order.

        `all` is one block for all places (Lan et al. 2020), `attention` and `mlp` that part of it
        alone. `3,cycle` has three blocks for places 123123…, `3,sequence` for 1…2…3… and
        `3,cycle-rev` for 123…123321 (Takase and Kiyono 2021). `2,immediate` has each block twice in
        a row (MobileLLM-LS), `middle` one for all but the first place and the last (Relaxed
        Recursive Transformers), whose low-rank difference a place is `lora=4`. `in=*.encoder.*`
        shares layers of such names alone. `4-6x2` runs places 4 to 6 twice, with no parameter more
        or less. Raises `SharingError` for anything else.
        """
        words: dict = {}

        def put(**options) -> None:
            for name, value in options.items():
                if name in words:
                    raise SharingError(f"layers:{text} says {name} twice: leave one out")
                words[name] = value

        for word in text.split(","):
            loop = re.fullmatch("([0-9]{1,4})-([0-9]{1,4})x([0-9]{1,4})", word)
            if loop:
                put(loop=tuple(map(int, loop.groups())))
            elif word in ("all", "middle", *ORDERS):
                put(order=word)
            elif word in PARTS:
                put(part=word)
            elif re.fullmatch("[0-9]{1,4}", word):
                put(number=int(word))
            elif re.fullmatch("lora=[0-9]{1,4}", word):
                put(lora=int(word[5:]))
            elif re.fullmatch("in=.+", word):
                put(within=word[3:])
            else:
                known = ["all", "middle", "immediate", *ORDERS, *PARTS]
                raise SharingError(
                    f"layers know no {word!r}{did_you_mean(word, known)}: write {HELP}"
                )
        rule = cls(**words)
        if ("number" in words) != (rule.order in ORDERS) or not 1 <= rule.number <= MOST:
            raise SharingError(
                f"layers:{text} is no order with its number: a number from 1 to {MOST:,} goes "
                f"with {', '.join(ORDERS)} and with nothing else, as 3,cycle"
            )
        if rule.loop and len(words) > 1:
            raise SharingError(
                f"layers:{text} asks a loop for more than its places and passes: write it as 4-6x2"
            )
        if rule.loop and not (1 <= rule.loop[0] <= rule.loop[1] and 2 <= rule.loop[2] <= MOST):
            raise SharingError(
                f"layers:{text} is no loop: write first and last place, counted from 1, and how "
                "often they run, at least twice, as 4-6x2"
            )
        return rule

    def share(self, model: nn.Module) -> tuple[Scope, ...]:
        """Share in place; returns a scope for each layer that several places hold (none of a loop).

        Draws the differences from torch's generator; they begin at zero, so that the model
        computes what it does without. Raises `SharingError`, before anything is changed, for a
        model in which nothing would be shared, and for blocks whose weights have no shape yet or
        are computed by something else.
        """
        all_stacks = list(stacks(model))
        if not all_stacks:
            raise SharingError(
                f"layers finds nothing to share in {type(model).__name__}: it looks for two or "
                "more blocks of equal layers in one Sequential or ModuleList"
            )
        if self.loop:
            return self._loops(model, all_stacks)
        groups = [group for stack in all_stacks for group in self._groups(stack)]
        if not groups:
            longest = max(len(stack.blocks) for stack in all_stacks)
            raise SharingError(
                f"layers finds nothing to share in {type(model).__name__}: its largest stack has "
                f"{longest} blocks, and {self._lacking}"
            )
        for scope, members in groups:
            for module in members.values():
                check_alike(scope, next(iter(members.values())), module)
        if all(_tied(list(members.values())) for _, members in groups):
            raise SharingError(
                f"the blocks of {type(model).__name__} share so already: share a model once"
            )
        self._check_rank(groups)
        self._check_ties(model, groups)
        scopes = []
        for scope, members in groups:
            owner, *others = members.values()
            for module in others:
                adopt(module, owner)
            scopes.append(Scope(scope, tuple(members), shapes(owner)))
        if self.lora:
            for _, members in groups:
                self._differ(list(members.values()))
        return tuple(scopes)

    @property
    def _lacking(self) -> str:
        if self.within:
            return f"no layers whose names are like {self.within} would share: choose another name"
        if self.part:
            return f"no blocks share their {self.part}: it looks for a part named attention in them"
        if self.order == "middle":
            return "middle needs four"
        return f"{self.number},{self.order} leaves each of them its own: choose another number"

    def _places(self, places: int) -> list[int]:
        """Which block stands at each place."""
        if self.order in ORDERS:
            return ORDERS[self.order](places, self.number)
        if self.order == "middle":
            return [0, *[1] * (places - 2), places - 1]
        return [0] * places

    def _groups(self, stack: Stack) -> Iterator[tuple[str, dict[str, nn.Module]]]:
        """Each scope's name with the modules, by name, that are to hold one module's parameters."""
        blocks = list(stack.blocks.items())
        order = self._places(len(blocks))
        for number in dict.fromkeys(order):
            members = [block for block, turn in zip(blocks, order, strict=True) if turn == number]
            for inner in _own_layers(members[0][1], self.part) if len(members) > 1 else ():
                path = f".{inner}" if inner else ""
                same: dict[str, nn.Module] = {}
                for name, block in members:
                    if (layer := block.get_submodule(inner)) not in same.values():
                        same[f"{name}{path}"] = layer
                if len(same) > 1 and all(fnmatchcase(name, self.within or "*") for name in same):
                    yield f"{stack.name} block {number + 1}{path}", same

    def _check_rank(self, groups: list[tuple[str, dict[str, nn.Module]]]) -> None:
        owners = [next(iter(members.values())) for _, members in groups]
        sizes = [min(matrix.shape) for owner in owners for matrix in matrices(owner).values()]
        if self.lora and not sizes:
            raise SharingError("no shared layer has a matrix that could differ: leave lora out")
        if self.lora > min(sizes, default=MOST):
            raise SharingError(
                f"lora={self.lora} is no low rank for a matrix of {min(sizes)} rows or columns: "
                f"choose at most {min(sizes)}"
            )

    def _check_ties(self, model: nn.Module, groups: list[tuple[str, dict[str, nn.Module]]]) -> None:
        """Raise `SharingError` for a parameter that a module outside of its group holds too."""
        held: dict[int, list[int]] = {}
        for layer in model.modules():
            for parameter in filter(torch.is_tensor, layer._parameters.values()):
                held.setdefault(id(parameter), []).append(id(layer))
        in_groups = Counter(id(m) for _, members in groups for m in members.values())
        for _, members in groups:
            group = {id(module) for module in members.values()}
            for name, module in members.items():
                for tensor, parameter in module.named_parameters(recurse=False):
                    holders = held[id(parameter)]
                    twice = self.lora and len(holders) > len(set(holders))
                    twice = twice or in_groups[id(module)] > 1
                    if twice or not group.issuperset(holders):
                        raise SharingError(
                            f"layer {name!r} shares its {tensor} with another layer already, or "
                            "holds it under two names: share in one way only, or untie it first"
                        )

    def _differ(self, members: list[nn.Module]) -> None:
        for tensor, shared in matrices(members[0]).items():
            for module in members:
                difference = Difference(shared, self.lora)
                difference.train(module.training)
                attach(module, difference, tensor)

    def _loops(self, model: nn.Module, all_stacks: list[Stack]) -> tuple[()]:
        first, last, passes = self.loop
        long = [stack for stack in all_stacks if len(stack.blocks) >= last]
        if not long or not all(stack.adjacent for stack in long):
            sizes = ", ".join(str(len(stack.blocks)) for stack in all_stacks)
            raise SharingError(
                f"no loop over places {first} to {last}: it looks for so many equal blocks, one "
                f"after the other, and the stacks here have {sizes}"
            )
        held = Counter(id(m) for one in model.modules() for m in one._modules.values())
        for stack in long:
            for name, block in list(stack.blocks.items())[first - 1 : last]:
                hooks = block._forward_pre_hooks.values()
                looped = any(isinstance(getattr(hook, "__self__", None), Loop) for hook in hooks)
                if looped or held[id(block)] > 1:
                    raise SharingError(
                        f"block {name!r} {'loops already' if looped else 'stands in two places'}: "
                        "a loop is over blocks that stand in one place and loop once"
                    )
        for stack in long:
            Loop(list(stack.blocks.values())[first - 1 : last], passes)
        return ()


class Difference(Parametrization):
    """A shared matrix (m, n) and a place's own difference from it, `up` (m, r) times `down` (r, n).

    `up` begins at zero and `down` as a linear layer does (Hu et al. 2022).
    """

    def __init__(self, shared: nn.Parameter, rank: int):
        super().__init__()
        self.shared = shared
        like = {"dtype": shared.dtype, "device": shared.device}
        self.up = nn.Parameter(torch.zeros(shared.shape[0], rank, **like))
        self.down = nn.Parameter(torch.empty(rank, shared.shape[1], **like))
        if not self.down.is_meta:
            nn.init.kaiming_uniform_(self.down, a=sqrt(5))

    def compute(self) -> Tensor:
        return torch.addmm(self.shared, self.up, self.down)  # the shared one has the weight nodes


class Loop:
    """Runs blocks again after the last of them, each with what else it was given the first time.

    It is no module: the model keeps its names, and blocks that run twice count as used twice.
    """

    def __init__(self, blocks: list[nn.Module], passes: int):
        self.blocks, self.passes = blocks, passes
        self.given: dict[int, tuple[tuple, dict]] = {}
        self.again = False
        for block in blocks:
            block.register_forward_pre_hook(self.remember, with_kwargs=True)
        blocks[-1].register_forward_hook(self.repeat)

    def remember(self, block: nn.Module, args: tuple, kwargs: dict) -> None:
        if any(hasattr(value, "get_seq_length") for value in (*args, *kwargs.values())):
            raise SharingError(
                "a block that runs twice would write its keys into one place of the cache twice: "
                "set model.config.use_cache = False"
            )
        if not self.again:
            if block is self.blocks[0]:
                self.given.clear()  # of a pass that failed
            self.given[self.blocks.index(block)] = (args, kwargs)

    def repeat(self, block: nn.Module, args: tuple, output):
        if self.again:
            return output
        if len(self.given) < len(self.blocks):
            raise SharingError(
                "a block of the loop was skipped, so that nothing says what to run it on again: "
                "call the blocks of a loop one after the other, without layer drop"
            )
        self.again, place = True, len(self.blocks) - 1
        try:
            for _ in range(self.passes - 1):
                for following, one in enumerate(self.blocks):
                    signal, place = self.signal(place, output), following
                    arguments, named = self.given[place]
                    if arguments:
                        output = one(signal, *arguments[1:], **named)
                    else:
                        first = next(iter(inspect.signature(one.forward).parameters))
                        output = one(**named | {first: signal})
        finally:
            self.again = False
            self.given.clear()
        return output

    def signal(self, place: int, output) -> Tensor:
        """What a block hands on; `SharingError` for a state of its own, which would be lost."""
        arguments, named = self.given[place]
        known = [id(value) for value in (*arguments, *named.values())]
        signal, *others = output if isinstance(output, tuple) and output else (output,)
        if not torch.is_tensor(signal) or any(
            other is not None and id(other) not in known for other in others
        ):
            raise SharingError(
                f"a {type(self.blocks[place]).__name__} returns more than one tensor, and what it "
                "returns besides the first would be lost as it runs again: loop over blocks of one "
                "output, without attention weights or states"
            )
        return signal


def stacks(model: nn.Module) -> Iterator[Stack]:
    """The stacks of a model, from the outermost: none is looked for in what holds one already.

    A block that stands in several places counts once, where it stands first.
    """
    inside: set[str] = set()
    seen: set[int] = set()
    for name, holder in model.named_modules():
        if name in inside or name.rpartition(".")[0] in inside:
            inside.add(name)
            continue
        if not isinstance(holder, (nn.Sequential, nn.ModuleList)):
            continue
        children = list(holder._modules.items())
        alike: dict[tuple, list[int]] = {}
        for place, (_, block) in enumerate(children):
            if block is None or any(block is one for _, one in children[:place]):
                continue
            if signature := _signature(block):
                alike.setdefault(signature, []).append(place)
        for places in alike.values():
            members = {id(children[i][1]) for i in places}
            if len(places) > 1 and not members <= seen:
                seen |= members
                names = [f"{name}.{children[i][0]}".lstrip(".") for i in places]
                inside.update(f"{name}.{child}".lstrip(".") for child, _ in children)
                adjacent = places[-1] - places[0] == len(places) - 1
                blocks = dict(zip(names, (children[i][1] for i in places), strict=True))
                yield Stack(blocks, name or type(model).__name__, adjacent)


def _signature(block: nn.Module) -> tuple:
    """The layers of a block that hold parameters: their names, kinds and shapes."""
    return tuple(
        (name, _kind(layer), *((key, None if is_lazy(p) else p.shape) for key, p in held))
        for name, layer in block.named_modules()
        if (held := list(layer.named_parameters(recurse=False)))
    )


def _kind(layer: nn.Module) -> type[nn.Module]:
    """Its class; a parametrized layer has one of its own, which is derived from that."""
    return type(layer).__base__ if is_parametrized(layer) else type(layer)


def _own_layers(block: nn.Module, part: str | None) -> list[str]:
    """The names within a block of the layers that share."""
    names, attention = [], []
    for name, layer in block.named_modules():
        if is_parametrized(layer):
            raise SharingError(
                f"a block holds a {_kind(layer).__name__} whose weight is computed by something "
                "else: share in one way only, or remove the parametrization first"
            )
        if isinstance(layer, _BatchNorm) or not any(True for _ in layer.parameters(recurse=False)):
            continue
        names.append(name)
        holders = [".".join(name.split(".")[:i]) for i in range(1, name.count(".") + 2)]
        if any(_attends(holder, block.get_submodule(holder)) for holder in holders):
            attention.append(name)
    if part is None:
        return names
    if part == "attention" or not attention:
        return attention
    layers = {name: block.get_submodule(name) for name in names if name not in attention}
    return [n for n, layer in layers.items() if any(p.ndim > 1 for p in layer.parameters(False))]


def _attends(name: str, module: nn.Module) -> bool:
    """Whether a part of a block is called attention and is no norm."""
    if not any(p.ndim > 1 for p in module.parameters()):
        return False
    words = f"{name.rpartition('.')[2]} {type(module).__name__}".lower()
    return "attn" in words or "attention" in words


def _tied(modules: list[nn.Module]) -> bool:
    """Whether all hold the parameters of the first."""
    first = [id(p) for p in modules[0].parameters(recurse=False)]
    return all([id(p) for p in one.parameters(recurse=False)] == first for one in modules[1:])
