"""Scores: the rows that each message of a graph becomes, written once for all that send it."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from flexsim.cost.collectives import Communication
from flexsim.network.messages import Messages
from flexsim.network.options import STORE_AND_FORWARD, NetworkOptions
from flexsim.network.roads import find_roads
from flexsim.network.score_kernel import (
    Manner,
    Room,
    Score,
    count,
    write_edges,
    write_rows,
)
from flexsim.network.shapes import shaped
from flexsim.ragged import offsets_of
from flexsim.task_graph.columns import Int64


class Scores:
    """The rows of messages; how many they are is known before they are written."""

    def __init__(
        self, messages: Messages, communication: Communication, options: NetworkOptions
    ) -> None:
        """Find the flows of all messages and count their rows."""
        self._shapes, self._sent, keys = shaped(messages, communication, options.memory_bytes)
        self.roads = find_roads(communication, keys)
        self._manner = Manner(options.segment_bytes or 0, options.forwarding == STORE_AND_FORWARD)
        self._counts = np.zeros((len(messages), 4), np.int64)
        count(self._shapes, self._sent, self.roads, self._manner, self._counts)

    @property
    def num_rows(self) -> Int64:
        """Rows of every message."""
        return self._counts[:, 0]

    @property
    def num_flows(self) -> Int64:
        """Flows of every message, one a segment and, hop by hop, a link."""
        return self._counts[:, 1]

    @property
    def num_links(self) -> Int64:
        """Links of all flows of every message."""
        return self._counts[:, 2]

    @property
    def num_edges(self) -> Int64:
        """Edges inside every message."""
        return self._counts[:, 3]

    @cached_property
    def written(self) -> Score:
        """The rows."""
        num_rows = int(self.num_rows.sum())
        score = Score(
            first_row=offsets_of(self.num_rows),
            duration_ns=np.zeros(num_rows, np.int64),
            num_bytes=np.zeros(num_rows, np.int64),
            rate=np.zeros(num_rows),
            first_link=np.zeros(num_rows, np.int64),
            last_link=np.zeros(num_rows, np.int64),
            first_next=np.zeros(num_rows + 1, np.int64),
            following=np.empty(int(self.num_edges.sum()), np.int32),
        )
        given = (self._shapes, self._sent, self.roads, self._manner, score)
        write_rows(*given)
        most = int(np.diff(self._shapes.first_flow).max(initial=0))
        write_edges(*given, Room(np.zeros(most + 1, np.int64), np.zeros(most, np.int64)))
        return score
