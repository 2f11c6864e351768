"""The table, and what is to be known about it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Iterator

from .cases import Case, Row
from .measure import BUSY, Sample
from .stats import Summary, ratio, text


@dataclass
class Results:
    """All samples: by case, then by contender, one a round (`None`: the contender could not be measured)."""

    about: dict[str, Any]
    contenders: list[str]
    cases: list[Case]
    samples: dict[str, dict[str, list[Sample | None]]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    """Whole measurements that failed."""

    def add(self, case: Case, contender: str, sample: Sample | None) -> None:
        self.samples.setdefault(case.id, {}).setdefault(contender, []).append(sample)

    def of(self, case: Case, contender: str) -> list[Sample | None]:
        return self.samples.get(case.id, {}).get(contender, [])

    def values(self, case: Case, row: Row, contender: str) -> list[float]:
        return [s.values[row.id] for s in self.of(case, contender) if s and row.id in s.values]

    def ratio(self, case: Case, row: Row, other: str) -> Summary | None:
        """The first contender's to another's, in the rounds that both have."""
        ours, theirs = self.of(case, self.contenders[0]), self.of(case, other)
        both = [(a, b) for a, b in zip(ours, theirs) if a and b and row.id in a.values and row.id in b.values]
        return ratio([a.values[row.id] for a, _ in both], [b.values[row.id] for _, b in both])

    def rows(self) -> Iterator[tuple[Case, Row]]:
        return ((case, row) for case in self.cases for row in case.rows if case.id in self.samples)

    def notes(self) -> list[str]:
        """What speaks against trusting a number."""
        notes = list(self.failures)
        for case in self.cases:
            for contender, samples in self.samples.get(case.id, {}).items():
                there = [sample for sample in samples if sample]
                failed = sum(sample.failed for sample in there)
                if failed:
                    errors = sorted({error for sample in there for error in sample.errors})
                    notes.append(f"{case.id}: {contender}: {failed} failed{': ' if errors else ''}{'; '.join(errors[:3])}")
            agreed = {s.agreed for samples in self.samples.get(case.id, {}).values() for s in samples if s and s.agreed}
            if len(agreed) > 1:
                notes.append(f"{case.id}: the contenders did not agree on the same: {'; '.join(sorted(agreed))}")
        return notes + self.busy()

    def busy(self) -> list[str]:
        """Where others than the measurement were at work on the machine."""
        every = {case.id: [s for by in self.samples.get(case.id, {}).values() for s in by if s] for case in self.cases}
        total = sum(len(samples) for samples in every.values())
        doubtful = {case: [s.others for s in samples if s.is_doubtful] for case, samples in every.items()}
        shares = [share for found in doubtful.values() for share in found]
        if not shares:
            return []
        where = ", ".join(case for case, found in doubtful.items() if found)
        return [f"the machine was busy in {len(shares)} of {total} measurements: others used up to {max(shares):.0%} "
                f"of a core, {median(shares):.0%} in the middle ({where})"]

    def pace(self) -> list[str]:
        """Where the load or the backend, and not the proxy, set the pace."""
        lines = []
        for case in self.cases:
            shares = []
            for contender in self.contenders:
                busy = [s.proxy_busy for s in self.of(case, contender) if s and s.proxy_busy is not None]
                if busy:
                    shares.append(f"{contender} {Summary.of(busy).median:.0%}")
            if shares:
                lines.append(f"{case.id}: {', '.join(shares)}")
        return lines

    def json(self) -> dict[str, Any]:
        rows = []
        for case, row in self.rows():
            ratios = {other: self.ratio(case, row, other) for other in self.contenders[1:]}
            summaries = {c: self.values(case, row, c) for c in self.contenders}
            rows.append(
                {
                    "id": row.id,
                    "title": row.title,
                    "unit": row.unit,
                    "median": {c: Summary.of(v).median for c, v in summaries.items() if v},
                    "spread": {c: Summary.of(v).spread for c, v in summaries.items() if v},
                    "samples": summaries,
                    "ratio": {other: r.median for other, r in ratios.items() if r},
                    "ratio_range": {other: [r.low, r.high] for other, r in ratios.items() if r},
                }
            )
        samples = {
            case: {who: [s and s.json() for s in rounds] for who, rounds in by.items()}
            for case, by in self.samples.items()
        }
        return {"about": self.about, "contenders": self.contenders, "rows": rows, "notes": self.notes(),
                "samples": samples}


def table(results: Results) -> str:
    """As Markdown that reads as well as it is."""
    first, *others = results.contenders
    head = ["less is better", *results.contenders, *(f"{first} / {other}" for other in others)]
    lines = []
    for case, row in results.rows():
        cells = [f"{row.title} [{row.unit}]"]
        for contender in results.contenders:
            values = results.values(case, row, contender)
            summary = Summary.of(values) if values else None
            spread = f" ±{summary.spread / 2:.0%}" if summary and summary.count > 1 else ""
            cells.append(f"{text(summary.median)}{spread}" if summary else "–")
        for other in others:
            found = results.ratio(case, row, other)
            span = f" ({text(found.low)}–{text(found.high)})" if found and found.count > 1 else ""
            cells.append(f"**{text(found.median)}**{span}" if found else "–")
        lines.append(cells)
    widths = [max(len(line[n]) for line in [head, *lines]) for n in range(len(head))]
    drawn = [[cell.ljust(width) if n == 0 else cell.rjust(width) for n, (cell, width) in enumerate(zip(line, widths))]
             for line in [head, *lines]]
    rule = ["-" * width if n == 0 else "-" * (width - 1) + ":" for n, width in enumerate(widths)]
    return "\n".join("| " + " | ".join(line) + " |" for line in [drawn[0], rule, *drawn[1:]])


def whole(results: Results) -> str:
    """Everything that is printed."""
    about = [f"{key}: {value}" for key, value in results.about.items() if isinstance(value, str)]
    notes = results.notes()
    parts = ["\n".join(about), table(results)]
    if pace := results.pace():
        parts.append("Part of its core that the proxy used (with little of it, the load or the backend set the pace; "
                     "CPU time per unit still compares):\n" + "\n".join(f"- {line}" for line in pace))
    if notes:
        parts.append("**Not to be trusted as it stands:**\n" + "\n".join(f"- {note}" for note in notes))
    else:
        parts.append(f"Nothing failed, and others used less than {BUSY:.0%} of a core all the time.")
    return "\n\n".join(parts)


def save(results: Results, path: Path) -> None:
    path.write_text(json.dumps(results.json(), indent=1) + "\n")
