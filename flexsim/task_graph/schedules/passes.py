"""A rank's order in the making: each pass takes the next microbatch of its kind."""

from __future__ import annotations

from collections import Counter, deque

from flexsim.task_graph.schedules.notation import Action


class RankOrder:
    """Writes the order of a rank that holds two stages, called 0 and 1, set by set.

    ``add("F0")`` is the next forward of stage 0; B is a whole backward, I and W are its halves.
    ``late()`` is the weight gradient that has waited longest. ``first`` is the first microbatch
    of either stage.
    """

    def __init__(self, stages: tuple[int, int], first: tuple[int, int] = (0, 0)) -> None:
        self.sets: list[list[Action]] = []
        self.count: Counter[str] = Counter()
        self._stages, self._first = stages, first
        self._waiting: deque[Action] = deque()

    def add(self, *passes: str) -> None:
        """Append passes, each a set of its own."""
        self.sets += [[self._next(each)] for each in passes]

    def together(self, *passes: str) -> None:
        """Append passes as one set."""
        self.sets.append([self._next(each) for each in passes])

    def late(self) -> None:
        """Append the oldest weight gradient that is left, if there is one."""
        if self._waiting:
            self.sets.append([self._waiting.popleft()])

    def _next(self, name: str) -> Action:
        kind, side = name[0], int(name[1])
        counter = ("F" if kind == "F" else "W" if kind == "W" else "B") + name[1]
        microbatch = self.count[counter] + self._first[side]
        self.count[counter] += 1
        if kind == "I":
            self._waiting.append(Action(self._stages[side], "W", microbatch))
        return Action(self._stages[side], kind, microbatch)
