"""The index-space record: an operator is a loop nest over named dimensions.

Everything about splitting an operator follows from which dimensions index which tensor:
the SOAP letters, the box of each part, the layouts of its tensors and the communication
between them. No record says how an operator is parallelized.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

from flexsim.operator_graph.axes import Axis, Window, axis_dims, axis_extent
from flexsim.operator_graph.keys import Key, key_of
from flexsim.operator_graph.loads import Load

GRADIENT = "gradient:"


@dataclass(frozen=True, slots=True)
class Dim:
    """A named dimension of an index space; ``max_degree=1`` keeps it whole on this operator.

    One that ``follows`` another has no degree of its own: it is cut wherever that one is
    (the positions of a convolution's input, cut as those of its output). With a ``load`` parts
    run over more or less of it than their even share.
    """

    name: str
    size: int
    max_degree: int | None = None
    follows: str = ""
    load: Load | None = None


@dataclass(frozen=True, slots=True)
class Tensor:
    """What an operator writes or a model is fed: sizes by axis, bytes an element.

    Of an ``unordered`` one it does not matter which index lies where along an axis, as long as
    each lies somewhere (tokens on their way to experts): mesh axes are compared as sets.
    """

    name: str
    shape: tuple[int, ...]
    bytes_per_element: int
    unordered: bool = False


@dataclass(frozen=True, slots=True)
class Weight:
    """A trained tensor, shared between operators by its name."""

    name: str
    shape: tuple[int, ...]
    bytes_per_element: int

    @property
    def num_parameters(self) -> int:
        """Number of elements."""
        return prod(self.shape)


@dataclass(frozen=True)
class Use:
    """How a map touches a tensor: the dimensions that index each axis.

    ``combine`` tells how partial results of a write are merged. A use that is not ``dense``
    moves only as many bytes as the other tensor of its map has (a table looked up by index).
    A write is ``local_over`` dimensions that it lacks where every part keeps a result of its
    own instead of a share of a sum (ordinary batch norm's statistics). A ``sliced`` use has
    another extent than its tensor: of keys those of earlier slices of the sequence are at hand
    beside the tensor's own, and of a table of positions only the slice's rows are touched.
    """

    tensor: str
    axes: tuple[Axis, ...]
    combine: str = "sum"
    dense: bool = True
    local_over: tuple[str, ...] = ()
    sliced: bool = False

    @cached_property
    def dims(self) -> tuple[str, ...]:
        """Every dimension that indexes the tensor, in axis order."""
        return tuple(dim for axis in self.axes for dim in axis_dims(axis))

    @cached_property
    def windows(self) -> tuple[Window, ...]:
        """The axes that are windows."""
        return tuple(axis for axis in self.axes if isinstance(axis, Window))

    def num_elements(self, box: Mapping[str, int]) -> int:
        """Return how many elements a box of the index space touches."""
        if not self.windows:
            return prod(box[dim] for dim in self.dims)
        return prod(axis_extent(axis, box) for axis in self.axes)

    @cached_property
    def placing(self) -> tuple[tuple[Axis, ...], str]:
        """The axes and how partial results combine: all that a layout depends on."""
        return self.axes, self.combine

    @cached_property
    def key(self) -> Key:
        """Stands for the use without its tensor's name; the same in repeated layers."""
        return key_of(replace(self, tensor=""))


@dataclass(frozen=True)
class Map:
    """One tensor computed from others, summed over the dimensions that the write lacks.

    ``addends`` are reads that are added to the result instead of multiplied into it.
    ``flops_per_point`` counts floating-point operations a point of the map's own dimensions,
    or of the dimensions in ``points`` (the gradient of a strided convolution has as many as
    its forward, though it runs over the larger input).
    """

    reads: tuple[Use, ...]
    write: Use
    flops_per_point: int = 0
    addends: tuple[Use, ...] = ()
    points: tuple[str, ...] = ()

    @cached_property
    def uses(self) -> tuple[Use, ...]:
        """Reads, addends and the write."""
        return (*self.reads, *self.addends, self.write)

    @cached_property
    def dims(self) -> tuple[str, ...]:
        """The dimensions that the map runs over, in order of first use."""
        return tuple(dict.fromkeys(dim for use in self.uses for dim in use.dims))

    @cached_property
    def summed_dims(self) -> tuple[str, ...]:
        """The dimensions that the factors have and the write lacks."""
        read = {dim for use in self.reads for dim in use.dims}
        kept = {*self.write.dims, *self.write.local_over}
        return tuple(dim for dim in self.dims if dim in read and dim not in kept)

    def nominal_flops(self, sizes: Mapping[str, int]) -> int:
        """Floating-point operations over a box of the given sizes, masked points counted."""
        return self.flops_per_point * prod(sizes[dim] for dim in self.points or self.dims)

    @cached_property
    def signature(self) -> tuple[object, ...]:
        """What remains of the map without the names of its tensors; equal in repeated layers."""
        uses = tuple(use.key for use in self.uses)
        return uses, len(self.reads), self.flops_per_point, self.points

    @cached_property
    def matmul_dims(self) -> tuple[tuple[str, ...], ...]:
        """(batch, m, n, k) of a product of two reads, by which tensors a dimension indexes."""
        left, right, out = (set(use.dims) for use in (*self.reads[:2], self.write))
        return (
            tuple(d for d in self.dims if d in left and d in right and d in out),
            tuple(d for d in self.dims if d in left and d not in right and d in out),
            tuple(d for d in self.dims if d not in left and d in right and d in out),
            tuple(d for d in self.dims if d in left and d in right and d not in out),
        )


@dataclass(frozen=True)
class Step:
    """One kernel of an operator: one or more maps issued together.

    ``pass_name`` is F (forward), I (input gradient) or W (weight gradient).
    ``kernel`` is the class that the cost model prices; an ``alias`` costs nothing: its write
    is its read under another name. ``merge`` names the side (m, n or k) along which products
    of one kernel are joined. ``accepts_partial`` steps are linear: they may read partial
    sums, and then write partial sums. ``work_fraction`` is the share of the nominal
    floating-point operations that the kernel executes (causal flash attention: a half).
    """

    name: str
    pass_name: str
    maps: tuple[Map, ...]
    kernel: str
    merge: str = ""
    fusion: str = ""
    accepts_partial: bool = False
    work_fraction: float = 1.0

    @cached_property
    def reads(self) -> tuple[Use, ...]:
        """Every distinct read of the step, in order."""
        return tuple(dict.fromkeys(use for m in self.maps for use in (*m.reads, *m.addends)))

    @cached_property
    def writes(self) -> tuple[Use, ...]:
        """Every distinct write of the step, in order."""
        return tuple(dict.fromkeys(m.write for m in self.maps))

    @cached_property
    def signature(self) -> tuple[object, ...]:
        """What remains of the step without the names of its tensors; equal in repeated layers."""
        kinds = (self.pass_name, self.kernel, self.merge, self.fusion, self.work_fraction)
        tensors = [use.tensor for m in self.maps for use in m.uses]
        order = tuple(tensors.index(tensor) for tensor in tensors)
        return kinds, order, tuple(m.signature for m in self.maps)

    @cached_property
    def key(self) -> Key:
        """Stands for the signature; the same in repeated layers."""
        return key_of(self.signature)

    def nominal_flops(self, sizes: Mapping[str, int]) -> int:
        """Floating-point operations over a box of the given sizes, masked points counted."""
        return sum(m.nominal_flops(sizes) for m in self.maps if m.flops_per_point)


@dataclass(frozen=True, eq=False)
class Operator:
    """An index space with its forward and backward steps; equal only to itself.

    ``block`` names the repeated unit (a transformer layer) that the operator belongs to and
    ``group`` a run of operators that recomputation may treat as one (the attention core);
    ``lane`` numbers the copy of the model that it is part of.
    """

    name: str
    kind: str
    dims: tuple[Dim, ...]
    forward: tuple[Step, ...]
    backward: tuple[Step, ...]
    block: str = ""
    group: str = ""
    lane: int = 0

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Size by dimension."""
        return {dim.name: dim.size for dim in self.dims}

    @cached_property
    def key(self) -> Key:
        """Stands for the dimensions; the same in repeated layers."""
        return key_of(self.dims)

    @cached_property
    def leaders(self) -> dict[str, str]:
        """For every dimension the one whose cuts it takes over, itself as a rule."""
        return {dim.name: dim.follows or dim.name for dim in self.dims}

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """Forward steps, then backward steps."""
        return self.forward + self.backward

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Tensors that the forward reads and does not itself write, weights among them."""
        written = {use.tensor for step in self.forward for use in step.writes}
        reads = (use.tensor for step in self.forward for use in step.reads)
        return tuple(dict.fromkeys(name for name in reads if name not in written))

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """Tensors that the forward writes."""
        return tuple(dict.fromkeys(use.tensor for step in self.forward for use in step.writes))

    @cached_property
    def passed_on(self) -> frozenset[str]:
        """The tensors that the backward hands from one of its steps to the next."""
        reads = {use.tensor for step in self.backward for use in step.reads}
        writes = {use.tensor for step in self.backward for use in step.writes}
        return frozenset(writes & reads)

    @cached_property
    def upstream(self) -> tuple[Use, ...]:
        """The distinct reads of gradients that the backward is given, in order."""
        reads = dict.fromkeys(use for step in self.backward for use in step.reads)
        return tuple(
            use
            for use in reads
            if use.tensor.startswith(GRADIENT) and use.tensor not in self.passed_on
        )

    def flops(self, pass_name: str) -> int:
        """Nominal floating-point operations of the whole operator in one pass (F, I or W)."""
        return self.flops_by_pass.get(pass_name, 0)

    @cached_property
    def flops_by_pass(self) -> dict[str, int]:
        """Nominal floating-point operations by pass."""
        flops: dict[str, int] = {}
        for step in self.steps:
            here = flops.get(step.pass_name, 0)
            flops[step.pass_name] = here + step.nominal_flops(self.sizes)
        return flops


def gradient(tensor: str) -> str:
    """Return the name of a tensor's gradient."""
    return GRADIENT + tensor
