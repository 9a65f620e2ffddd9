"""Leave a model as it was: what a forward pass changes or keeps is put back when it ends.

Whatever can be reached from the model is put back whole. Classes and files may change for other
reasons meanwhile, so there, as in caches of functions, only tensors that the pass made are undone.
"""

from __future__ import annotations

import functools
import gc
import operator
import random
import sys
import threading
import traceback
from collections import OrderedDict, UserDict, UserList, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType, FunctionType, MemberDescriptorType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.utils import parametrize
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from reuseprior.errors import CountingError

ONE_AT_A_TIME = threading.RLock()  # torch keeps what a pass sets for the process, not the thread
KINDS = (OrderedDict, dict, list, set, deque, tuple)  # containers, their subclasses too
CACHE = type(functools.cache(len))
FAR = 5  # steps from a class or file, or from a tensor to what holds it, that are looked at
MOST = 50  # holders of one step that are looked at


@contextmanager
def untouched(model: nn.Module) -> Iterator[list[StorageWeakRef]]:
    """Put back what happens to the model within; of what is entered in the list, nothing stays.

    Raises `CountingError` where a tensor stays that cannot be found and undone.
    """
    kept = _Kept()
    kept.enter([model])
    whole = list(kept.held.values())
    kept.enter(kept.namespaces(), FAR)
    states = random.getstate(), np.random.get_state()
    storages: list[StorageWeakRef] = []
    weights, parametrize._cache = parametrize._cache, (within := {})
    failed = False
    try:
        with torch.random.fork_rng(devices=[]):  # no operator runs on a real device
            yield storages
    except BaseException as error:
        failed = True
        while error is not None:  # its frames hold tensors
            traceback.clear_frames(error.__traceback__)
            error = error.__cause__ or error.__context__
        raise
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        if parametrize._cache is within:  # else another thread left `parametrize.cached()`
            parametrize._cache = weights
        within.clear()
        for held in whole:
            held.put_back()
        if _alive(storages) and (left := kept.release(storages)) and not failed:
            raise CountingError(left)


def _alive(storages: list[StorageWeakRef]) -> set[int]:
    return {ref.cdata for ref in storages if not ref.expired()}


@dataclass(slots=True)
class _Held:
    """What a container held, or an object in its slots."""

    container: Any
    kind: type
    contents: list
    owner: type | None = None  # of a class's dictionary

    def put_back(self) -> None:
        before, now = self.contents, _contents(self.container, self.kind)
        if not before and not now:  # most of a module's
            return
        if len(before) == len(now) and all(map(operator.is_, before, now)):
            return
        if self.kind is object:
            for slot, value in zip(_slots(type(self.container)), before, strict=True):
                if value is not slot:
                    slot.__set__(self.container, value)
                elif hasattr(self.container, slot.__name__):
                    slot.__delete__(self.container)
            return
        self.kind.clear(self.container)
        if issubclass(self.kind, dict):
            half = len(before) // 2
            before = zip(before[:half], before[half:], strict=True)
        (self.kind.extend if self.kind in (list, deque) else self.kind.update)(
            self.container, before
        )

    def undo(self, things: set[int]) -> None:
        """Put back what took the place of other things, or came to them."""
        if not issubclass(self.kind, dict):
            self.put_back()
            return
        half = len(self.contents) // 2
        before = dict(zip(self.contents[:half], self.contents[half:], strict=True))
        put, drop, of = self.kind.__setitem__, self.kind.__delitem__, self.container
        if self.owner:
            put, drop, of = setattr, delattr, self.owner
        for key in [k for k, v in self.kind.items(self.container) if id(v) in things]:
            put(of, key, before[key]) if key in before else drop(of, key)


class _Kept:
    """What containers and objects held, by the containers' ids."""

    def __init__(self) -> None:
        self.held: dict[int, _Held] = {}
        self.kinds: dict[type, type | None] = {}
        self.functions: list[FunctionType] = []

    def enter(self, values: Iterable[Any], far: float = float("inf")) -> None:
        """Note what values hold, and what is held there, each once."""
        waiting = [(value, far) for value in values]
        while waiting:
            value, far = waiting.pop()
            if type(value) not in self.kinds:
                self.kinds[type(value)] = _kind(type(value))
            kind = self.kinds[type(value)]
            if kind is FunctionType:
                self.functions.append(value)
                continue
            if kind is nn.Module:
                value, kind = vars(value), dict
            if kind is not None and id(value) not in self.held and far:
                contents = _contents(value, kind)
                self.held[id(value)] = _Held(value, kind, contents)
                if kind is object and hasattr(value, "__dict__"):
                    contents = [*contents, vars(value)]
                for c in contents:
                    if self.kinds.get(type(c), True):
                        waiting.append((c, far - 1))

    def namespaces(self) -> list[Any]:
        """What stands in the classes and files of the objects that are kept."""
        classes = {
            c for cls, k in self.kinds.items() if k in (object, nn.Module) for c in cls.__mro__
        }
        files = [f.__globals__ for f in self.functions if _is_users(f)]
        values: list[Any] = []
        for cls in filter(_is_users, classes):
            (namespace,) = gc.get_referents(vars(cls))
            self.held[id(namespace)] = _Held(namespace, dict, _contents(namespace, dict), cls)
            values += [v for v in namespace.values() if not isinstance(v, FunctionType)]
            if cls.__module__ in sys.modules:
                files.append(vars(sys.modules[cls.__module__]))
        return values + files

    def release(self, storages: list[StorageWeakRef]) -> str:
        """Undo where tensors of these storages are kept; says in a sentence where they stay."""
        gc.collect()
        if not (alive := _alive(storages)):  # cycles alone held them
            return ""
        holders = self._undo(alive)
        gc.collect()
        if not _alive(storages):
            return ""
        return (
            f"The model's forward keeps a tensor {holders}, where counting cannot put back what "
            "was there before: build the model anew, and keep such tensors in its modules."
        )

    def _undo(self, alive: set[int]) -> str:
        """Undo what holds the tensors, or holds what holds them; says what held them first."""
        every = gc.get_objects()  # a million, of some thousand classes
        classes = {c for c in set(map(type, every)) if issubclass(c, torch.Tensor)}
        things: list[Any] = [t for t in every if type(t) in classes and _lies_in(t, alive)]
        del every
        lists, first = [things], []
        for _ in range(FAR):
            ids = {id(thing) for thing in things}
            skip = {id(o) for o in lists} | {id(lists)}
            referrers = gc.get_referrers(*things) if things else []
            holders = [h for h in referrers if id(h) not in skip and not isinstance(h, FrameType)]
            first = first or sorted({f"in a {type(holder).__name__}" for holder in holders})
            for holder in holders:
                if isinstance(holder, CACHE):
                    holder.cache_clear()
                elif id(holder) in self.held:
                    self.held[id(holder)].undo(ids)
            ends = (CACHE, FunctionType, ModuleType, type)
            things = [h for h in holders if id(h) not in self.held and not isinstance(h, ends)]
            if len(things) > MOST:  # no longer what the pass made
                break
            lists += [referrers, holders, things]
        return " and ".join(first) if first else "outside Python"


def _lies_in(tensor: torch.Tensor, storages: set[int]) -> bool:
    is_plain = not is_traceable_wrapper_subclass(tensor) and tensor.is_meta
    return is_plain and tensor.untyped_storage()._cdata in storages


def _kind(cls: type) -> type | None:
    """As what a value of the class is kept: a container, an object, a function or not at all."""
    kind = next((k for k in KINDS if issubclass(cls, k)), None)
    if kind is not None or cls is FunctionType:
        return kind or cls
    if issubclass(cls, nn.Module):
        return nn.Module
    if issubclass(cls, (SimpleNamespace, UserDict, UserList)):
        return object
    is_other = issubclass(cls, (type, ModuleType, torch.Tensor))
    return object if _is_users(cls) and not is_other else None


def _is_users(named: Any) -> bool:
    """Whether a class or function is neither Python's nor of what models are written with."""
    home = str(named.__module__).partition(".")[0]
    return home not in sys.stdlib_module_names and home not in ("torch", "numpy", "reuseprior")


def _contents(value: Any, kind: type) -> list:
    if kind is object:
        return [getattr(value, slot.__name__, slot) for slot in _slots(type(value))]
    if not kind.__len__(value):
        return []
    if issubclass(kind, dict):
        return [*kind.keys(value), *kind.values(value)]
    return list(kind.__iter__(value))


def _slots(cls: type) -> list[MemberDescriptorType]:
    return [v for c in cls.__mro__ for v in vars(c).values() if isinstance(v, MemberDescriptorType)]
