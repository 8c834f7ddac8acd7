"""Classes of devices that behave alike: the coarsest equitable partition.

Two devices are in one class if they take part in members that last equally long, carry as many
bytes and join devices of the same classes. Then members with equal durations and devices of
the same classes have predecessors alike, since all edges lead from device to device, and every
stream is held by one member of each class that uses it. Channels need a look of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexsim.task_graph.incidence import TARGET, Incidence, Int64, UInt64, mixed


@dataclass(frozen=True, eq=False)
class Classes:
    """A partition of devices, by position; classes are numbered in order of their first one.

    ``hash_of_member`` is equal for members of one class.
    """

    of_device: Int64
    hash_of_member: UInt64

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return int(self.of_device.max(initial=-1)) + 1


def coarsest(who: Incidence, color: Int64) -> Classes:
    """Refine the partition ``color`` until devices of a class take part in members alike.

    A round costs what the devices recolored in the last one take part in.
    """
    hashes = who.label.copy()
    np.add.at(hashes, who.member, _shown(color, who.device, who.role))
    change = np.zeros(len(color), np.uint64)
    np.add.at(change, who.device, mixed(hashes[who.member] + who.role))
    while True:
        before, color = color, _split(color, change)
        moved = np.flatnonzero((color != before)[who.device])
        if not len(moved):
            return Classes(in_order(color), hashes)
        change = _spread(who, (before, color), moved, hashes)


def in_order(color: NDArray[np.integer] | UInt64) -> Int64:
    """Number colors in the order of the first device that has each."""
    _, first, inverse = np.unique(color, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    result: Int64 = rank[inverse.reshape(-1)]
    return result


def has_clear_resources(who: Incidence, classes: Classes) -> bool:
    """Whether each stream and channel is held once by every class that holds one like it.

    A channel is known by the classes at its ends, so channels with the same ones must carry
    members of the same classes.
    """
    return _holds_once(who, classes) and _channels_are_alike(who, classes)


def first_devices(classes: Classes) -> Int64:
    """Return the position of the first device of every class."""
    return np.unique(classes.of_device, return_index=True)[1]


def _shown(color: Int64, device: Int64, role: UInt64) -> UInt64:
    """Return what members see of their devices."""
    return mixed(color[device].astype(np.uint64) + role)


def _spread(who: Incidence, colors: tuple[Int64, Int64], moved: Int64, hashes: UInt64) -> UInt64:
    """Update the members' hashes in place; return how that changes what devices see."""
    before = hashes.copy()
    device, role = who.device[moved], who.role[moved]
    old, new = (_shown(color, device, role) for color in colors)
    np.add.at(hashes, who.member[moved], new - old)
    touched = np.flatnonzero((hashes != before)[who.member])
    member, role = who.member[touched], who.role[touched]
    change = np.zeros(len(colors[0]), np.uint64)
    difference = mixed(hashes[member] + role) - mixed(before[member] + role)
    np.add.at(change, who.device[touched], difference)
    return change


def _split(color: Int64, change: UInt64) -> Int64:
    """Give new colors to the devices of a class that saw different changes.

    Those that saw none keep their color, and so does a class that saw one change as a whole.
    """
    touched = np.flatnonzero(change)
    keys = mixed(color[touched].astype(np.uint64)) + change[touched]
    _, first, inverse, counts = np.unique(
        keys, return_index=True, return_inverse=True, return_counts=True
    )
    old = color[touched[first]]
    whole = counts == np.bincount(color)[old]
    fresh = int(color.max()) + np.cumsum(~whole)
    result = color.copy()
    result[touched] = np.where(whole, old, fresh)[inverse.reshape(-1)]
    return result


def _holds_once(who: Incidence, classes: Classes) -> bool:
    """Whether no stream or channel is held twice by members of one row.

    One device a class suffices: all others take part in members alike.
    """
    chosen = np.zeros(len(who.devices), bool)
    chosen[first_devices(classes)] = True
    mine = chosen[who.device] & (who.role != TARGET)
    member, device = who.member[mine], who.device[mine]
    place = who.place_of_member[member]
    peer = np.where(who.is_transfer[place], target_of_member(who)[member], -1)
    held = np.stack([place, device, peer], 1)
    return len(np.unique(held, axis=0)) == len(held)


def _channels_are_alike(who: Incidence, classes: Classes) -> bool:
    sent = np.flatnonzero(who.is_transfer[who.place_of_member[who.member]] & (who.role != TARGET))
    member, source = who.member[sent], who.device[sent]
    target = target_of_member(who)[member]
    ends, channel = np.unique(source * len(who.devices) + target, return_inverse=True)
    use = np.zeros(len(ends), np.uint64)
    np.add.at(use, channel.reshape(-1), mixed(classes.hash_of_member[member]))
    sides = (classes.of_device[side] for side in np.divmod(ends, len(who.devices)))
    pair = np.ravel_multi_index(tuple(sides), (classes.num_classes,) * 2)
    _, first, inverse = np.unique(pair, return_index=True, return_inverse=True)
    return bool(np.array_equal(use[first][inverse.reshape(-1)], use))


def target_of_member(who: Incidence) -> Int64:
    """Return the device (by position) that every transfer goes to; -1 for other members."""
    target = np.full(len(who.label), -1, np.int64)
    received = who.role == TARGET
    target[who.member[received]] = who.device[received]
    return target
