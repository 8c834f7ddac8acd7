"""What a scenario file may hold: one model a table, one field a key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from flexsim.errors import ScenarioError
from flexsim.files import is_file
from flexsim.scenario.model_table import ModelTable
from flexsim.scenario.quantities import (
    Bytes,
    Count,
    Flag,
    Fraction,
    Name,
    Positive,
    Seconds,
    Table,
    Text,
)
from flexsim.validation import one_sentence

BEST = "best"
DEFAULT_ORDER = "tensor,data,pipeline"


class ClusterTable(Table):
    """Where it is trained."""

    device_graph: Name = Field(description="a name in device_graphs/ or a path to a .toml file")
    hosts: Count | None = Field(default=None, description="as the device graph says unless given")
    devices: Count | None = Field(default=None, description="use only the first so many devices")
    measured_times: Name | None = Field(
        default=None, description="a table that `flexsim profile` wrote; formulas unless given"
    )


class TrainingTable(Table):
    """How it is trained."""

    global_batch: Count = Field(description="sequences an iteration")
    micro_batch: Count = Field(default=1, description="sequences a microbatch and replica")
    precision: Literal["fp16", "bf16", "fp32", "fp8"] = Field(
        default="fp16", description="of the products; fp8: all else is bf16"
    )
    software: Name = Field(
        default="megatron-lm", description="a name in profiles/software/ or a path"
    )
    optimizer: Literal["adam", "sgd", "adafactor"] = "adam"
    recompute: Literal["none", "cheap", "selective", "full", "best"] = Field(
        default="none",
        description="cheap: norms, activation functions, latent up-projections; best: as little as "
        "fits in memory",
    )
    recompute_layers: Count | None = Field(
        default=None, description="recompute = full: the first so many layers of every stage"
    )
    recompute_every: Count | None = Field(
        default=None, description="recompute = full: every n-th layer of a stage, from the first"
    )
    memory_limit: Bytes | None = Field(
        default=None, description="recompute = best: as the device has unless given"
    )
    offload: list[Literal["optimizer", "activations"]] | None = Field(
        default=None, description="what is kept on the host, over the device's link to it"
    )

    @model_validator(mode="after")
    def _recomputes(self) -> TrainingTable:
        for key, policy in (
            ("recompute_layers", "full"),
            ("recompute_every", "full"),
            ("memory_limit", "best"),
        ):
            if getattr(self, key) is not None and self.recompute != policy:
                raise ValueError(
                    f"training.{key} has no meaning for training.recompute ="
                    f" {self.recompute!r}; choose recompute = {policy!r} or leave it out"
                )
        return self


class StrategyTable(Table):
    """How the work is spread over the devices: by name and degrees, or as a file says."""

    name: Name | None = Field(
        default=None, description="a name that `flexsim list strategies` prints"
    )
    file: Name | None = Field(default=None, description="a strategy that `flexsim search` wrote")
    tensor: Count = 1
    pipeline: Count = 1
    data: Count | None = Field(
        default=None, description="devices / (tensor x pipeline x context) unless given"
    )
    context: Count = Field(default=1, description="cuts the positions of every operator")
    context_method: Literal["all-gather", "ring", "ulysses"] = Field(
        default="all-gather",
        description="keys and values gathered; passed round in blocks; or heads cut in attention",
    )
    context_order: Literal["zigzag", "contiguous"] = Field(
        default="zigzag", description="positions dealt out so that causal work is even, or in runs"
    )
    expert: Count = Field(
        default=1, description="cuts the experts, along axes taken from data (x context)"
    )
    chunks: Count = Field(default=1, description="stages a device (virtual stages)")
    sequence_parallel: Flag = False
    schedule: Name | None = Field(
        default=None,
        description="1f1b unless given; interleaved-1f1b with chunks, gpipe on one stage; a name"
        " that `flexsim list schedules` prints, auto, or a .csv file in PyTorch's notation",
    )
    warm_up: Count | None = Field(
        default=None, description="further warm-up forwards of the schedule 1f1b-flexible"
    )
    token_slices: Count | list[Count] | Literal["best"] | None = Field(
        default=None,
        description="schedule terapipe: into how many runs of positions a sequence is cut, their"
        " lengths, or best; as many as ranks unless given",
    )
    order: Name = Field(
        default=DEFAULT_ORDER, description="axes from the fastest-varying device number"
    )
    overlap_gradients: Flag | None = Field(
        default=None, description="as the software does unless given"
    )
    scatter_gather: Flag | None = Field(
        default=None, description="as the software does unless given"
    )
    blocking_transfers: Flag | None = Field(
        default=None, description="as the software does unless given"
    )
    gradient_norm: Flag = Field(default=True, description="the global all-reduce before the step")
    zero: Literal[0, 1, 2, 3] = Field(
        default=0,
        description="stage of ZeRO: replicas keep shares of 1 optimizer state, 2 gradients too,"
        " 3 weights too (FSDP)",
    )
    shard: Count | None = Field(
        default=None, description="replicas that keep shares together; all of them unless given"
    )
    reshard: Flag = Field(
        default=True, description="zero = 3: drop gathered weights after the forward"
    )
    prefetch: Literal[0, 1, 2, 3, 4] = Field(
        default=1, description="zero = 3: layers that are gathered ahead"
    )
    balance: Literal["layers", "time", "memory"] | None = Field(
        default=None,
        description="what stages have equally much of; layers unless given",
    )
    layers_per_stage: list[NonNegativeInt] | None = Field(
        default=None, description="in place of balance: layers of every global stage, in order"
    )
    fold: Flag = Field(default=True, description="simulate one of each class of equal devices")

    @model_validator(mode="after")
    def _is_named(self) -> StrategyTable:
        if (self.name is None) == (self.file is None):
            raise ValueError("say which: strategy.name = 'megatron' and its degrees, or a file")
        beside = sorted(self.model_fields_set - {"name", "file", "fold"})
        if self.file is not None and beside:
            raise ValueError(
                f"strategy.{beside[0]} does not go with strategy.file, which says all but fold"
            )
        if self.balance is not None and self.layers_per_stage is not None:
            raise ValueError(
                "say which: strategy.balance, or the user's own strategy.layers_per_stage"
            )
        return self

    @property
    def cuts_equally(self) -> bool:
        """Whether every stage has as many layers as the others."""
        return self.balance in (None, "layers") and self.layers_per_stage is None

    @property
    def chosen_schedule(self) -> str:
        """The schedule that is given, or the one that suits pipeline and chunks."""
        if self.schedule is not None:
            return self.schedule
        return "interleaved-1f1b" if self.chunks > 1 else "1f1b"


class SimulationTable(Table):
    """How it is simulated."""

    engine: Literal["event", "compiled"] | None = Field(
        default=None, description="event up to 400,000 tasks and compiled beyond unless given"
    )
    network: Literal["analytic", "links", "fair"] = Field(
        default="analytic",
        description="formulas; or flows that hold the links of their routes, or share them",
    )
    collective_algorithm: Name | None = Field(
        default=None,
        description="ring, tree … for all collectives that have it; the fastest unless given",
    )
    segment: Bytes | None = Field(
        default=None, description="most that a flow sends at once; all of it unless given"
    )
    forwarding: Literal["cut-through", "store-and-forward"] | None = Field(
        default=None,
        description="whether a segment holds its whole route at once, as unless given, or link "
        "by link",
    )
    iterations: Count | None = Field(
        default=None,
        description="of a schedule that never flushes: how many are simulated, of which those that"
        " fill and empty the pipeline do not count; enough unless given",
    )
    contract: Flag | None = Field(
        default=None,
        description="true unless given: compiled may replay whole actions where that is exact",
    )

    @model_validator(mode="after")
    def _has_flows(self) -> SimulationTable:
        needless = [key for key in ("segment", "forwarding") if getattr(self, key) is not None]
        if self.network == "analytic" and needless:
            raise ValueError(
                f"simulation.{needless[0]} has no meaning for simulation.network = 'analytic', "
                "which has no flows; choose links or fair"
            )
        if self.network == "fair" and self.engine == "compiled":
            raise ValueError(
                "simulation.network = 'fair' is replayed by the event engine, not by "
                "simulation.engine = 'compiled'; choose event, or the network links"
            )
        return self


class OutputTable(Table):
    """What is written, and where to."""

    directory: Name | None = Field(
        default=None, description="plots/<name of the file> unless given"
    )
    detail: Literal["auto", "operators"] = Field(
        default="auto", description="operators: every span, even on large runs"
    )


class SearchTable(Table):
    """How a better strategy is searched for (`flexsim search`)."""

    method: Name = Field(default="mcmc", description="how to search")
    budget: Count | None = Field(
        default=None, description="proposals in all; 10000 unless seconds are given"
    )
    seconds: Positive | None = Field(default=None, description="time to search, in place of budget")
    seed: NonNegativeInt = 0
    chains: Count = Field(default=4, description="independent chains, each of an equal share")
    processes: NonNegativeInt = Field(
        default=1, description="chains run on so many processes; 0: one a core"
    )
    temperature: NonNegativeFloat = Field(
        default=0.02, description="of accepting a slowdown, as a share of the current time"
    )
    restarts: NonNegativeInt = Field(
        default=1, description="returns of a stuck chain to the best it has seen"
    )
    starts: list[Name] = Field(
        default=["data", "expert", "random"],
        description="chains start, by turns, from data, expert (the [strategy] table), random, "
        "optcnn, one-weird-trick, layer-placement, or the path of a strategy file",
        min_length=1,
    )
    dimensions: Name = Field(default="SOAP", description="letters of the dimensions to search")
    powers_of_two: Flag = Field(default=False, description="degrees 1, 2, 4 … only")
    placement: Name = Field(
        default="arbitrary", description="contiguous, strided, hierarchical or arbitrary devices"
    )
    copies: Flag = Field(default=True, description="parts may be replicated")
    shared_weights: Literal["together", "apart"] = Field(
        default="together",
        description="operators that share a weight have one config, or one each",
    )
    transformations: Flag = Field(
        default=False,
        description="search on the equal operator graph that is fastest under [strategy]",
    )
    memory_limit: Literal["device", "none"] = Field(
        default="device", description="what does not fit a device's memory is infeasible"
    )


class PublishedTable(Table):
    """What was measured, to be printed beside what is simulated."""

    iteration_time_s: Seconds | None = Field(default=None, alias="iteration_time")
    forward_time_s: Seconds | None = Field(default=None, alias="forward_time")
    backward_time_s: Seconds | None = Field(default=None, alias="backward_time")
    mfu: Fraction | None = None
    hfu: Fraction | None = None
    tflops_per_device: Positive | None = Field(
        default=None, description="TFLOP/s of what is executed, recomputation counted"
    )
    tokens_per_s: Positive | None = None
    source: Name | None = None


class Scenario(Table):
    """One training set-up: what, where, how, and what is written about it."""

    title: Text = ""
    model: ModelTable
    cluster: ClusterTable
    training: TrainingTable
    strategy: StrategyTable
    simulation: SimulationTable = SimulationTable()
    output: OutputTable = OutputTable()
    search: SearchTable = SearchTable()
    published: PublishedTable | None = None

    _source: str = PrivateAttr("scenario")

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], source: str = "scenario") -> Scenario:
        """Return the scenario that ``content`` (tables as in a file) describes.

        ``source`` names it in messages and, as a path, gives its name. Raise
        :class:`ScenarioError` in one sentence where a key or a value is wrong.
        """
        try:
            scenario = cls.model_validate(content)
        except ValidationError as problem:
            raise ScenarioError(one_sentence(source, problem, cls)) from problem
        scenario._source = source
        return scenario

    @property
    def source(self) -> str:
        """The file it was read from."""
        private = self.__pydantic_private__  # asked of every scenario of a sweep: no detour
        return str(private["_source"]) if private else "scenario"

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return Path(self._source).stem

    @property
    def directory(self) -> Path:
        """Where its outputs go."""
        return Path(self.output.directory or f"plots/{self.name}")

    def beside(self, name_or_path: str) -> str:
        """Return the path of a file that lies beside the scenario's, or the name as it is."""
        near = Path(self._source).parent / name_or_path
        return str(near) if near.suffix in {".toml", ".csv"} and is_file(near) else name_or_path

    @property
    def strategy_file(self) -> Path:
        """The path of ``strategy.file``: beside the scenario's file if it lies there."""
        given = Path(self.strategy.file or "")
        near = Path(self._source).parent / given
        return near if is_file(near) else given

    def keys(self) -> dict[str, object]:
        """Return every given key and its value, flat: ``{"strategy.tensor": 8, …}``."""
        tables = self.model_dump(exclude={"published", "search"}, exclude_none=True)
        flat: dict[str, object] = {}
        for table, value in tables.items():
            inner = value if isinstance(value, dict) else {"": value}
            flat |= {f"{table}.{key}".rstrip("."): each for key, each in inner.items()}
        return flat
