"""What the ``[sweep]`` table of a file may hold."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flexsim.errors import SweepError
from flexsim.scenario.quantities import Flag, Name, Table
from flexsim.validation import one_sentence


class SweepTable(Table):
    """Which configurations there are, and what is asked of each."""

    grid: dict[str, Any] = Field(
        default={}, description="key = list of values or a range; every combination is taken"
    )
    zip: Any = Field(
        default=[], description="keys whose lists go in step; several such tables are combined"
    )
    where: Any = Field(
        default=[], description="one expression or several, which hold for every configuration"
    )
    derive: dict[str, Any] = Field(
        default={}, description="key = expression of the other keys of a configuration"
    )
    search: Flag = Field(
        default=False, description="every configuration is a search; its best strategy is the row"
    )
    full: Flag = Field(
        default=False, description="replay task by task, for the shares of time too (slower)"
    )
    best: Name = Field(
        default="",
        description="the metric that ranks the rows; unless given iteration_time_s, samples_per_s"
        " where the batch varies, mfu where the model does",
    )
    price_per_device_hour: Any = Field(
        default=None, description="one number, or one a device graph by name: adds the cost"
    )

    @property
    def conditions(self) -> list[Any]:
        """The expressions of ``where``, also where there is only one."""
        return self.where if isinstance(self.where, list) else [self.where]

    @property
    def zips(self) -> list[Any]:
        """The tables of ``zip``, also where there is only one."""
        return self.zip if isinstance(self.zip, list) else [self.zip]

    def price(self, device_graph: str) -> float | None:
        """Return what an hour of a device costs; None where that is not given."""
        prices = self.price_per_device_hour
        return prices.get(device_graph) if isinstance(prices, dict) else prices


class _File(BaseModel):
    model_config = ConfigDict(extra="ignore")

    sweep: SweepTable


def sweep_table(content: Any, source: str) -> SweepTable:
    """Return the checked ``[sweep]`` table; raise :class:`SweepError` naming file and key."""
    try:
        return _File.model_validate({"sweep": content}).sweep
    except ValidationError as problem:
        raise SweepError(one_sentence(source, problem, _File)) from problem
