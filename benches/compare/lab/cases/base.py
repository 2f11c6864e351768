"""What a case is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from ..contenders import Contender
from ..lab import Lab
from ..measure import Sample


@dataclass(frozen=True)
class Row:
    """One line of the table. Less is better, in every row."""

    id: str
    title: str
    unit: str


class Case(ABC):
    """Something to measure, which gives one row or several."""

    id: str
    rows: tuple[Row, ...]
    most_rounds = 1_000
    """More rounds than these say no more: it takes long, and varies little."""

    @abstractmethod
    def measure(self, lab: Lab, contender: Contender) -> Sample:
        """One round."""
