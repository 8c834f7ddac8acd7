"""The compiled inner loop of linking: rows of all slots in program order, with their needs."""

from __future__ import annotations

from typing import NamedTuple

from flexsim.numba_cache import inlined, kept_uncounted
from flexsim.task_graph.columns import Int32, Int64

PART_SHIFT = 20
"""A chain's own row is known by its read, shifted by so many bits, and its number there."""


class Sites(NamedTuple):
    """The outline as arrays: a value a slot, or ragged rows.

    ``chain[s]`` is the chain of a read, -1 for a step; ``part`` counts the reads of a chain, and
    the steps. ``reads`` and ``gates`` are the slots that a step waits for; ``slots`` those of
    the reads of every chain; input i of chain c is row ``first_input[c] + i`` of ``inputs``.
    """

    chain: Int32
    part: Int32
    first_read: Int64
    reads: Int32
    first_gate: Int64
    gates: Int32
    first_slot: Int64
    slots: Int32
    first_input: Int64
    input_offsets: Int64
    inputs: Int32


class Chains(NamedTuple):
    """What chains bring, each content once.

    Content k has its reads from line ``first[k]`` of ``reads`` on: first row and number of rows,
    first code and number of codes of the result. A line of ``rows`` is a row's content, its
    first code and how many codes. A code n >= 0 is the chain's own row (see ``PART_SHIFT``),
    -(i + 1) are all results of its input i.
    """

    first: Int64
    reads: Int64
    rows: Int64
    codes: Int32


class Current(NamedTuple):
    """The state of a program: contents of chains and steps, and the update's own rows.

    An update's need below the number of slots is a slot's result, others are its own rows.
    """

    chain: Int32
    step: Int32
    update: Int32
    update_offsets: Int64
    update_needs: Int32


class Linked(NamedTuple):
    """Rows in program order: contents, slots (the update's rows count on) and needs.

    Of every slot there are ``first_row`` and the results. ``counts`` are the numbers of rows,
    needs and results.
    """

    content: Int32
    slot: Int32
    need_offsets: Int64
    needs: Int32
    first_row: Int32
    result_offsets: Int64
    results: Int32
    counts: Int64


@inlined
def _copy_results(linked: Linked, slot: int, into: Int32, at: int) -> int:
    """Append a slot's results, counting only where there is no room; return the new end."""
    first, last = linked.result_offsets[slot], linked.result_offsets[slot + 1]
    for i in range(first, last):
        if at < len(into):
            into[at] = linked.results[i]
        at += 1
    return at


@inlined
def _append_codes(
    sites: Sites, chains: Chains, linked: Linked, where: tuple[int, int, int], into: Int32, at: int
) -> int:
    """Append the rows that a chain's codes stand for."""
    chain, first, count = where
    for i in range(first, first + count):
        code = chains.codes[i]
        if code >= 0:
            slot = sites.slots[sites.first_slot[chain] + (code >> PART_SHIFT)]
            if at < len(into):
                into[at] = linked.first_row[slot] + (code & ((1 << PART_SHIFT) - 1))
            at += 1
            continue
        line = sites.first_input[chain] - code - 1
        for j in range(sites.input_offsets[line], sites.input_offsets[line + 1]):
            at = _copy_results(linked, sites.inputs[j], into, at)
    return at


@inlined
def _append_rows_of_kind(kinds: Int64, wanted: int, linked: Linked, num_rows: int, at: int) -> int:
    """Append the rows of a kind among the first ``num_rows`` to the needs; return the new end."""
    for row in range(min(num_rows, len(linked.content))):
        if kinds[linked.content[row]] == wanted:
            if at < len(linked.needs):
                linked.needs[at] = row
            at += 1
    return at


@inlined
def _begin_row(linked: Linked, content: int, slot: int) -> None:
    """Append a row, whose needs are to follow."""
    row = linked.counts[0]
    if row < len(linked.content):
        linked.content[row], linked.slot[row] = content, slot
        linked.need_offsets[row] = linked.counts[1]
    linked.counts[0] = row + 1


@inlined
def _link_read(sites: Sites, chains: Chains, current: Current, linked: Linked, slot: int) -> None:
    """Append what a read brings."""
    chain = sites.chain[slot]
    line = chains.first[current.chain[chain]] + sites.part[slot]
    needs, results, counts = linked.needs, linked.results, linked.counts
    first_row, count = chains.reads[line, 0], chains.reads[line, 1]
    for row in range(first_row, first_row + count):
        _begin_row(linked, chains.rows[row, 0], slot)
        where = (chain, chains.rows[row, 1], chains.rows[row, 2])
        counts[1] = _append_codes(sites, chains, linked, where, needs, counts[1])
    where = (chain, chains.reads[line, 2], chains.reads[line, 3])
    counts[2] = _append_codes(sites, chains, linked, where, results, counts[2])


@inlined
def _link_step(sites: Sites, current: Current, linked: Linked, slot: int) -> None:
    """Append the row of a step."""
    counts, needs = linked.counts, linked.needs
    row, before = counts[0], counts[1]
    _begin_row(linked, current.step[sites.part[slot]], slot)
    for i in range(sites.first_read[slot], sites.first_read[slot + 1]):
        counts[1] = _copy_results(linked, sites.reads[i], needs, counts[1])
    if counts[1] == before:
        for i in range(sites.first_gate[slot], sites.first_gate[slot + 1]):
            counts[1] = _copy_results(linked, sites.gates[i], needs, counts[1])
    if counts[2] < len(linked.results):
        linked.results[counts[2]] = row
    counts[2] += 1


@inlined
def _link_update(current: Current, linked: Linked, num_slots: int, row: int) -> bool:
    """Append a row of the update; return whether it waits for no other one of the update."""
    counts, begins = linked.counts, True
    first_update = linked.first_row[num_slots]
    _begin_row(linked, current.update[row], num_slots + row)
    for j in range(current.update_offsets[row], current.update_offsets[row + 1]):
        need = current.update_needs[j]
        if need < num_slots:
            counts[1] = _copy_results(linked, need, linked.needs, counts[1])
            continue
        begins = False
        if counts[1] < len(linked.needs):
            linked.needs[counts[1]] = first_update + need - num_slots
        counts[1] += 1
    return begins


@inlined
def _link_slots(
    sites: Sites, chains: Chains, current: Current, linked: Linked, num_slots: int
) -> None:
    """Write the rows of the first slots."""
    counts = linked.counts
    counts[:] = 0
    for slot in range(num_slots):
        linked.first_row[slot] = counts[0]
        linked.result_offsets[slot] = min(counts[2], len(linked.results))
        if sites.chain[slot] >= 0:
            _link_read(sites, chains, current, linked, slot)
        else:
            _link_step(sites, current, linked, slot)
        linked.result_offsets[slot + 1] = min(counts[2], len(linked.results))
    linked.first_row[num_slots] = counts[0]


@inlined
def _end_rows(linked: Linked) -> None:
    """Write where the needs of the last row end."""
    if linked.counts[0] < len(linked.need_offsets):
        linked.need_offsets[linked.counts[0]] = linked.counts[1]


@kept_uncounted
def link_slots(
    sites: Sites, chains: Chains, current: Current, num_slots: int, linked: Linked
) -> int:
    """Write the rows of the first slots only, as :func:`link` does; return their number."""
    _link_slots(sites, chains, current, linked, num_slots)
    _end_rows(linked)
    return int(linked.counts[0])


@kept_uncounted
def link(
    sites: Sites, chains: Chains, current: Current, kinds: Int64, waits_for: int, linked: Linked
) -> int:
    """Write the rows of a program; ``linked.counts`` tells how much room they need.

    ``kinds`` are those of contents. What begins the update waits for all rows of the kind
    ``waits_for``, if that is 0 or more. Return the number of rows. Where there was too little
    room, nothing but the counts is of use.
    """
    counts, num_slots = linked.counts, len(sites.chain)
    _link_slots(sites, chains, current, linked, num_slots)
    for row in range(len(current.update_offsets) - 1):
        begins = _link_update(current, linked, num_slots, row)
        if begins and waits_for >= 0:
            before = linked.first_row[num_slots]
            counts[1] = _append_rows_of_kind(kinds, waits_for, linked, before, counts[1])
    _end_rows(linked)
    return int(counts[0])
