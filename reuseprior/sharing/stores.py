"""Parameter stores (Neural Parameter Allocation Search, section 3): values that make weights.

A store holds values; each of its layers takes *templates* from them (section 3.1), a generator
makes one of several (3.2 and B.2), and an upsampler stretches what is too small for the layer
(3.3). Which layer belongs to which store is a mapping (3.4). Nothing but the weights of
convolutions and linear layers is made so: biases, batch norms and the classifier, which is taken to
be the last linear layer, stay their own.

A store may hold less than its budget: where a layer fits in less than twice, the rest is no
template of its, and values that no layer takes are left out. Several layers hold the same store, so
`torch.func.functional_call` needs the merged model and is refused on others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, prod
from zlib import crc32

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reuseprior.errors import did_you_mean
from reuseprior.sharing.scopes import SharingError
from reuseprior.sharing.weights import Parametrization, attach, parametrized, same_kind, shareable

GENERATORS = ("one", "round_robin", "mean", "weighted", "embedding")
UPSAMPLERS = ("interpolate", "repeat", "mask")
MAPPINGS = ("single", "random", "shape")
EMBEDDING = 24  # numbers that stand for a layer (section 3.2)
WINDOW = 9  # successive values under one mask: a kernel of 3×3 (section 3.3)
PARTS = 4  # templates that all layers share while a mapping is learned (section 3.4)
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"  # a layer's store, in a mapping written out


@dataclass(frozen=True)
class Stores:
    """How stores make a model's weights; written `10%,weighted,mask` (see `parse`).

    >>> model = nn.Sequential(*(nn.Conv2d(8, 8, 3, bias=False) for _ in range(4)))  # 2304 weights
    >>> (store,) = Stores("60%").share(model)  # 1382 at most, and two whole templates
    >>> sum(p.numel() for p in model.parameters())
    1160
    """

    budget: str | int  # all parameters of the shared model, or their per cent of the plain one's
    generator: str = "weighted"
    upsampler: str = "mask"
    mapping: str = "single"  # or random, shape, or a digit a layer
    stores: int = 1  # of a random mapping
    templates: int = 8  # P, the most a layer takes
    classifier: bool = False  # whether the last linear layer shares too
    resized: bool = False  # every layer takes all parts of its store, resized, as mappings learn

    def __post_init__(self):
        for what, word, known in [
            ("generator", self.generator, GENERATORS),
            ("upsampler", self.upsampler, UPSAMPLERS),
        ]:
            if word not in known:
                raise SharingError(
                    f"{what} {word!r} is unknown{did_you_mean(word, known)}: choose from "
                    f"{', '.join(known)}"
                )
        if self.mapping not in MAPPINGS and not re.fullmatch("[0-9a-z]+", self.mapping):
            raise SharingError(
                f"mapping {self.mapping!r} is unknown: choose from {', '.join(MAPPINGS)} or write "
                "a digit a layer, as 0010"
            )
        for what, number in [("stores", self.stores), ("templates", self.templates)]:
            if not 1 <= number <= MOST_TEMPLATES:
                raise SharingError(f"{what} is {number}: it must be 1 to {MOST_TEMPLATES:,}")
        if self.resized and self.generator not in ("weighted", "embedding"):
            raise SharingError(
                f"generator {self.generator!r} learns no coefficients, from which a mapping could "
                "follow: choose weighted or embedding"
            )
        if (self.mapping == "random") != (self.stores > 1):
            raise SharingError(
                f"mapping is {self.mapping} and stores {self.stores}: a random mapping needs "
                "stores=2 or more, and no other takes a number"
            )
        _amount(self.budget, 100)

    @classmethod
    def parse(cls, text: str) -> Stores:
        """The stores of a text: a budget, then words in any order.

        The words are a generator (`one`, `round_robin`, `mean`, `weighted`, `embedding`), an
        upsampler (`interpolate`, `repeat`, `mask`), a mapping (`single`, `random`, `shape`,
        `map=0010`), `stores=N`, `templates=N`, `classifier` and `resized`.

        >>> Stores.parse("10%,embedding,templates=4").templates
        4

        Raises `SharingError` for anything else.
        """
        budget, *words = text.split(",")
        options: dict[str, str | int | bool] = {}
        for word in words:
            for name, value in _option(word):
                if name in options:
                    raise SharingError(f"stores {text!r} say {name} twice: leave one out")
                options[name] = value
        if "resized" in options and (idle := options.keys() & {"upsampler", "templates"}):
            raise SharingError(
                f"stores {text!r} say {min(idle)}, of which resized leaves no choice: leave it out"
            )
        return cls(budget, **options)

    def share(self, model: nn.Module) -> tuple[Store, ...]:
        """Let stores make the weights of a model, in place; returns the stores.

        The values begin as the layers' own weights, where several layers would take the same ones
        as those of the first. Draws coefficients from torch's generator, and a random mapping from
        its seed. Raises `SharingError`, before anything is changed, for a model in which nothing
        can be shared, layers that cannot be, and a budget that what is not shared takes up alone.
        """
        linear = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
        layers = shareable(model, without=linear[-1] if linear and not self.classifier else None)
        if not layers:
            raise SharingError(
                "the model has nothing to share: no convolution or linear layer that learns, but "
                "for a classifier, which keeps its own weights unless the word 'classifier' is "
                "given"
            )
        same_kind(layers)
        groups = self._groups(layers)
        total = sum(p.numel() for p in model.parameters())
        if (budget := _amount(self.budget, total)) > MOST_PARAMETERS:
            raise SharingError(
                f"a budget of {budget:,} parameters is too large: give at most {MOST_PARAMETERS:,}"
            )
        plans = self._within(budget, total, groups)
        return tuple(map(build, groups, plans))

    def _groups(self, layers: dict[str, nn.Module]) -> list[dict[str, nn.Module]]:
        """The layers of each store."""
        keys: Iterable[object]
        if self.mapping == "single":
            keys = [0] * len(layers)
        elif self.mapping == "random":
            # By the seed alone, so that a network built without weights has the same mapping.
            generator = torch.Generator().manual_seed(torch.initial_seed())
            order = torch.randperm(len(layers), generator=generator)
            keys = (order % min(self.stores, len(layers))).tolist()
        elif self.mapping == "shape":
            keys = [tuple(layer.weight.shape) for layer in layers.values()]
        else:
            keys = self.mapping
        if len(list(keys)) != len(layers):
            raise SharingError(
                f"mapping {self.mapping!r} is of {len(self.mapping)} layers, and the model has "
                f"{len(layers)} that share: write a digit for each"
            )
        groups: dict[object, dict[str, nn.Module]] = {}
        for key, (name, layer) in zip(keys, layers.items(), strict=True):
            groups.setdefault(key, {})[name] = layer
        return list(groups.values())

    def _within(self, budget: int, total: int, groups) -> list[Plan]:
        """Plans whose values, coefficients and masks, with all that is not shared, fit the budget.

        Each store gets values in proportion to its layers' weights (section 3.4).
        """
        sizes = [[layer.weight.numel() for layer in group.values()] for group in groups]
        weights = sum(map(sum, sizes))
        unshared = total - weights
        values = budget - unshared
        while values >= len(groups):
            plans = [self._plan(size, max(1, values * sum(size) // weights)) for size in sizes]
            over = unshared + sum(plan.parameters for plan in plans) - budget
            if over <= 0:
                return plans
            values -= max(1, over // 4)  # fewer values may need fewer coefficients
        raise SharingError(
            f"a budget of {budget:,} parameters is too small: what is not shared takes {unshared:,}"
            f" alone, of {total:,} in all, and each store some for itself"
        )

    def _plan(self, sizes: Sequence[int], values: int) -> Plan:
        if self.resized:
            part = max(1, values // PARTS)
            slots = [Slot(0, min(PARTS, values), part)] * len(sizes)
            number = part * slots[0].templates
            return Plan(number, slots, sizes, self.generator, "interpolate", resized=True)
        return plan(sizes, values, self.templates, self.generator, self.upsampler)


@dataclass(frozen=True)
class Slot:
    """Where a layer's templates lie in its store: `templates` rows of `size`, one after another.

    They go on at the beginning where the values end.
    """

    start: int
    templates: int
    size: int

    @property
    def end(self) -> int:
        """Where they end, beyond the values if they go on at the beginning."""
        return self.start + self.templates * self.size


def select(sizes: Sequence[int], values: int, templates: int) -> Iterator[Slot]:
    """The slots of layers with so many weights, among so many values (section 3.1).

    A layer of n weights takes P~ = max(1, min(⌊values / n⌋, templates)) templates, which begin
    where those of the layer before end: the paper's round robin. Where they no longer fit, they go
    on from the beginning if more than P~ could be taken, or all lie at the beginning.

    >>> [slot.start for slot in select([2, 2, 4], 8, templates=1)]
    [0, 2, 4]
    """
    at = 0
    for size in sizes:
        fitting = values // size
        count = max(1, min(fitting, templates))
        slot = Slot(at, count, min(size, values))
        if slot.end > values and fitting <= templates:
            slot = Slot(0, count, slot.size)
        yield slot
        at = slot.end % values


@dataclass(frozen=True)
class Plan:
    """A store before it is made: how many values, and what each layer takes of them."""

    values: int
    slots: Sequence[Slot]
    sizes: Sequence[int]  # weights of each layer
    generator: str
    upsampler: str
    resized: bool = False  # every template is stretched or shrunk to the layer

    @property
    def parameters(self) -> int:
        """Values, coefficients, embeddings and masks."""
        embeddings = {slot for slot in self.slots if self.coefficients(slot) == EMBEDDING}
        return (
            self.values
            + sum(self.coefficients(slot) for slot in self.slots)
            + sum((EMBEDDING + 1) * slot.templates for slot in embeddings)
            + sum(map(self.masks, self.slots, self.sizes))
        )

    def coefficients(self, slot: Slot) -> int:
        """Numbers that a layer learns to make a weight of its templates."""
        if slot.templates == 1 or self.generator not in ("weighted", "embedding"):
            return 0
        return EMBEDDING if self.generator == "embedding" else slot.templates

    def masks(self, slot: Slot, size: int) -> int:
        """Numbers that a layer multiplies repeated values by."""
        copies = ceil(size / slot.size)
        return WINDOW * (copies - 1) if self.upsampler == "mask" else 0


def plan(sizes: Sequence[int], values: int, templates: int, generator: str, upsampler: str) -> Plan:
    """A plan for layers of so many weights; values that no layer would take are left out."""
    slots = list(select(sizes, values, 1 if generator == "one" else templates))
    if generator == "round_robin":  # the template i mod P~ at the i-th query (section B.2)
        slots = [
            Slot((s.start + i % s.templates * s.size) % values, 1, s.size)
            for i, s in enumerate(slots)
        ]
    return Plan(*_compact(values, slots), sizes, generator, upsampler)


def _compact(values: int, slots: Sequence[Slot]) -> tuple[int, list[Slot]]:
    """How many values the slots take, and the slots in a store of no others."""
    taken = np.zeros(values, bool)
    for slot in slots:
        taken[slot.start : slot.end] = True
        taken[: max(0, slot.end - values)] = True
    before = {slot.start: int(np.count_nonzero(taken[: slot.start])) for slot in slots}
    return int(np.count_nonzero(taken)), [replace(s, start=before[s.start]) for s in slots]


class _Own(dict):
    """A store's parameters, in whose place nothing else is put for a while.

    `torch.func.functional_call` does so under each of a module's names, and what it puts back under
    the last is no longer what it found under the first.
    """

    def __setitem__(self, name: str, value: Tensor | None) -> None:
        if value is not None and not isinstance(value, nn.Parameter):
            raise SharingError(
                f"a store's {name} cannot be replaced by another tensor, as functional_call does: "
                "take the layers apart with reuseprior.sharing.weights.merge first"
            )
        super().__setitem__(name, value)


class Store(nn.Module):
    """The values that make the weights of some layers, and what those layers have in common.

    `values` is (1, number of values): a matrix, because weight decay is for weights and leaves
    vectors alone, such as coefficients and masks.
    """

    def __init__(self, values: Tensor, layers: tuple[str, ...]):
        super().__init__()
        self.values = nn.Parameter(values[None])
        self.layers = layers
        self.embeddings = nn.ModuleDict()  # E_j of equation 1's coefficients, by slot
        self._parameters = _Own(self._parameters)

    def templates(self, slot: Slot) -> Tensor:
        """What lies in a slot: (templates, size)."""
        values = self.values.view(-1)
        taken = values[slot.start : slot.end]
        if slot.end > len(values):
            taken = torch.cat([taken, values[: slot.end - len(values)]])
        return taken.view(slot.templates, slot.size)

    def extra_repr(self) -> str:
        return f"{self.values.numel():,} values for {len(self.layers)} layers"


class Generator(Parametrization):
    """Makes the weight of a layer from its slot of a store."""

    def __init__(self, store: Store, slot: Slot, shape: tuple[int, ...], upsampler: str):
        super().__init__()
        self.store, self.slot, self.shape, self.upsampler = store, slot, shape, upsampler
        self.size = prod(shape)
        self.register_parameter("coefficients", None)
        self.register_parameter("masks", None)

    def compute(self) -> Tensor:
        templates = self.store.templates(self.slot)
        if self.slot.size != self.size:
            templates = UPSAMPLE[self.upsampler](templates, self.size, self.masks)
        return self.combined(templates).view(self.shape)

    def combined(self, templates: Tensor) -> Tensor:
        """One vector of several templates (P~, size): their weighted sum or mean."""
        if len(templates) == 1:
            return templates[0]
        coefficients = self.coefficients
        if coefficients is None:
            return templates.mean(0)
        key = _key(self.slot)
        if key in self.store.embeddings:
            coefficients = self.store.embeddings[key](coefficients).softmax(0)
        return templates.t() @ coefficients  # the values first: theirs are the weight nodes

    def get_extra_state(self) -> Tensor:
        """Which values of which store make this weight: saved with them, compared on loading."""
        slot = self.slot
        of = crc32("\n".join(self.store.layers).encode())
        return torch.tensor([of, slot.start, slot.templates, slot.size])

    def set_extra_state(self, state: Tensor) -> None:
        if not torch.equal(state.cpu(), self.get_extra_state()):
            raise SharingError(
                "the saved layers share in other stores than the model's: share it with the same "
                "mapping, and a random one with the same seed, before loading"
            )

    def extra_repr(self) -> str:
        many = f"{self.slot.templates} templates" if self.slot.templates > 1 else "one template"
        return f"{many} of {self.slot.size:,}"


def _interpolated(templates: Tensor, size: int, masks: None) -> Tensor:
    return F.interpolate(templates[None], size=size, mode="linear", align_corners=False)[0]


def _repeated(templates: Tensor, size: int, masks: None) -> Tensor:
    return templates.repeat(1, ceil(size / templates.shape[1]))[:, :size]


def _masked(templates: Tensor, size: int, masks: Tensor) -> Tensor:
    """The one template as it is, then once for each mask, multiplied by it window by window."""
    values = templates.shape[1]
    masks = masks.view(-1, WINDOW).repeat(1, ceil(values / WINDOW))[:, :values]
    return torch.cat([templates, templates * masks]).view(1, -1)[:, :size]


UPSAMPLE: dict[str, Callable[[Tensor, int, Tensor | None], Tensor]] = {
    "interpolate": _interpolated,
    "repeat": _repeated,
    "mask": _masked,
}


def build(layers: Mapping[str, nn.Module], plan: Plan) -> Store:
    """Make a store as planned and let it make the weights of the layers, in place."""
    weights = [layer.weight.detach() for layer in layers.values()]
    store = Store(_initial(plan, weights), tuple(layers))
    like = {"dtype": weights[0].dtype, "device": weights[0].device}
    coefficients = _coefficients(plan, like)
    for layer, slot, weight in zip(layers.values(), plan.slots, weights, strict=True):
        generator = Generator(store, slot, tuple(weight.shape), plan.upsampler)
        if plan.coefficients(slot):
            generator.coefficients = nn.Parameter(next(coefficients[slot.templates]).clone())
            if plan.generator == "embedding" and _key(slot) not in store.embeddings:
                store.embeddings[_key(slot)] = nn.Linear(EMBEDDING, slot.templates, **like)
        if masks := plan.masks(slot, weight.numel()):
            # The paper does not say what masks begin as; at one the copies are repeats.
            generator.masks = nn.Parameter(torch.ones(masks, **like))
        generator.train(layer.training)
        attach(layer, generator)
    return store


def _initial(plan: Plan, weights: Sequence[Tensor]) -> Tensor:
    """A store's first values: of each layer's slot what no layer before it has in its own.

    A layer gives its weights as they are initialised, as often as it has templates, from the
    second time on in another order, so that templates are independent and of one distribution.
    """
    values = torch.zeros(plan.values, dtype=weights[0].dtype, device=weights[0].device)
    if values.is_meta:
        return values
    if plan.resized:  # no layer's own: a draw from all of them
        pool = torch.cat([weight.reshape(-1) for weight in weights])
        return pool[torch.randint(len(pool), (plan.values,), device=pool.device)]
    free = torch.ones_like(values, dtype=torch.bool)
    for slot, weight in zip(plan.slots, weights, strict=True):
        places = torch.arange(slot.start, slot.end, device=values.device) % plan.values
        flat = weight.reshape(-1)
        orders = [flat[: slot.size]] + [
            flat[torch.randperm(flat.numel(), device=flat.device)[: slot.size]]
            for _ in range(slot.templates - 1)
        ]
        taken = free[places]
        values[places[taken]] = torch.cat(orders)[taken]
        free[places] = False
    return values


def _coefficients(plan: Plan, like: Mapping) -> dict[int, Iterator[Tensor]]:
    """Orthogonal first coefficients of unit length, a row a layer, by the number of templates.

    Of more layers than numbers a layer no more than that can be orthogonal to one another.
    """
    by_count = {}
    for count in {slot.templates for slot in plan.slots}:
        lengths = [plan.coefficients(s) for s in plan.slots if s.templates == count]
        rows = torch.empty(len(lengths), lengths[0], **like)
        if lengths[0] and not rows.is_meta:
            drawn = rows if rows.dtype.itemsize > 2 else rows.float()  # halves have no such draw
            rows = F.normalize(nn.init.orthogonal_(drawn), dim=1).to(rows.dtype)
        by_count[count] = iter(rows)
    return by_count


def _key(slot: Slot) -> str:
    return f"{slot.start}-{slot.templates}-{slot.size}"


MOST_PARAMETERS = 10**9  # of a budget; the plain models have a tenth
MOST_TEMPLATES = 1_000  # of a layer, and stores; thousands more than layers would use are a slip


def _amount(budget: str | int, total: int) -> int:
    """A budget in parameters, of a model that has `total`."""
    text = str(budget).strip()
    if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,12})?%", text):
        return int(float(text[:-1]) / 100 * total + 1e-9)
    if re.fullmatch("[0-9]{1,12}", text):
        return int(text)
    raise SharingError(
        f"budget {budget!r} is no number: write parameters, as 500000, or a share of the plain "
        "model's, as 10%"
    )


def _option(word: str) -> Iterator[tuple[str, str | int | bool]]:
    """The field of `Stores` that a word of its text sets, and to what."""
    name, equals, value = word.partition("=")
    numbers = ("stores", "templates")
    if name == "map" and equals:
        yield "mapping", value
    elif name in numbers and re.fullmatch("[0-9]{1,6}", value):
        yield name, int(value)
    elif not equals and name in ("classifier", "resized"):
        yield name, True
    else:
        fields = {"generator": GENERATORS, "upsampler": UPSAMPLERS, "mapping": MAPPINGS}
        field = next((f for f, known in fields.items() if word in known), None)
        if field is None:
            words = [w for known in fields.values() for w in known] + ["classifier", "resized"]
            raise SharingError(
                f"stores know no {word!r}{did_you_mean(word, words)}: choose from "
                f"{', '.join(words)}, map=DIGITS, stores=N and templates=N"
            )
        yield field, word


# Blocks and mappings ------------------------------------------------------------------------------


def share_blocks(model: nn.Module, templates: int) -> tuple[Store, ...]:
    """Let equal convolutions of a stage's blocks be made of so many templates, in place.

    They are those of the second block and of all after it; what the first block holds stays its
    own. A stage is a module whose parts are numbered, as of all ResNets here and in torchvision.
    With one template they are tied, and with more each is a weighted sum of them (`weighted` of
    stores), as Savarese and Maire (2019) share and NPAS compares with (SWRN). Returns the stores.
    Raises `SharingError` where there are no such blocks.

    >>> from reuseprior.models import catalog
    >>> model = catalog.build("wrn-28-10")
    >>> len(share_blocks(model, 1)), sum(p.numel() for p in model.parameters())
    (3, 12287194)
    """
    if not 1 <= templates <= MOST_TEMPLATES:
        raise SharingError(f"templates is {templates}: it must be 1 to {MOST_TEMPLATES:,}")
    groups: dict[tuple, dict[str, nn.Module]] = {}
    for name, layer in shareable(model, (nn.Conv2d,)).items():
        stage, _, place = name.rpartition(".")[0].rpartition(".")
        if place.isdecimal() and int(place) > 0:
            groups.setdefault((stage, layer.weight.shape), {})[name] = layer
    groups = {key: group for key, group in groups.items() if len(group) > 1}
    if not groups:
        raise SharingError(
            "no two blocks of a stage after its first have equal convolutions: share in blocks "
            "with a ResNet of three blocks a stage or more"
        )
    stores = []
    for group in groups.values():
        size = next(iter(group.values())).weight.numel()
        sizes = [size] * len(group)
        stores.append(build(group, plan(sizes, templates * size, templates, "weighted", "mask")))
    return tuple(stores)


def cluster(model: nn.Module, stores: int, *, seed: int = 0) -> str:
    """A mapping into so many stores, a digit a layer, for `map=` of a model to be trained anew.

    The model was shared with `resized`, one store, and trained for a short while, so that layers of
    like coefficients can be made of the same templates. Their coefficients are clustered by
    k-means (section 3.4). Raises `SharingError` for another model, for stores that its layers
    cannot fill, and for more than there are digits.
    """
    from sklearn.cluster import KMeans

    generators = [one for one in parametrized(model).values() if isinstance(one, Generator)]
    coefficients = [generator.coefficients for generator in generators]
    if not generators or any(c is None or len(c) != len(coefficients[0]) for c in coefficients):
        raise SharingError(
            "a mapping is learned from a model whose layers all take the same templates: share it "
            "with stores:…,resized and train it first"
        )
    if not 1 <= stores <= min(len(generators), len(DIGITS)):
        raise SharingError(
            f"stores is {stores}: it must be between 1 and {min(len(generators), len(DIGITS))}, as "
            f"{len(generators)} layers share"
        )
    points = np.stack([c.detach().double().cpu().numpy() for c in coefficients])
    labels = KMeans(stores, n_init=10, random_state=seed).fit_predict(points)
    order: dict[int, str] = {}  # stores are numbered as their first layers come
    return "".join(order.setdefault(int(label), DIGITS[len(order)]) for label in labels)
