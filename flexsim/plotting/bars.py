"""The bars of a bubble picture as columns."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flexsim.plotting.style import KIND_COLORS
from flexsim.task_graph.columns import Int64

if TYPE_CHECKING:
    import pandas as pd

BAR_KINDS = tuple(KIND_COLORS)
BAR_CODE = {name: code for code, name in enumerate(BAR_KINDS)}


@dataclass(frozen=True, eq=False)
class Bars:
    """A value a bar; -1 where there is no stage, microbatch or chunk."""

    rank: Int64
    kind: Int64
    """Position in :data:`BAR_KINDS`."""
    stage: Int64
    """Global stage."""
    microbatch: Int64
    chunk: Int64
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.rank)

    def __getitem__(self, rows: NDArray[np.bool_] | NDArray[np.integer]) -> Bars:
        return Bars(*(getattr(self, field.name)[rows] for field in fields(self)))

    @classmethod
    def of(cls, table: pd.DataFrame) -> Bars:
        """Return the bars of a table."""
        kind = table["kind"].map(BAR_CODE).to_numpy().astype(np.int64)
        names = [field.name for field in fields(cls)]
        columns = {name: table[name].to_numpy() for name in names if name != "kind"}
        return cls(kind=kind, **columns)

    def to_frame(self) -> pd.DataFrame:
        """Return the bars as a table, kinds by name."""
        import pandas as pd

        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        return pd.DataFrame({**columns, "kind": np.array(BAR_KINDS, object)[self.kind]})

    @property
    def row(self) -> Int64:
        """The place of every bar's rank among the ranks that occur."""
        return np.searchsorted(np.unique(self.rank), self.rank)
