"""Metrics for Prometheus, cheap enough for every action.

Counting is adding to integers in a dictionary, under no lock; Prometheus' own types are only made
when somebody scrapes (its Counter and Histogram would cost 1.5-3 µs an action, this about 0.5).
Labels cannot grow without bound: what is not in an enumeration, or is one upstream too many, is
counted as `other`.

    midflight_actions_total{kind,upstream,state,code}     actions that ended
    midflight_action_seconds{kind}                        histogram, from decoded to ended
    midflight_decision_seconds                            histogram
    midflight_<gauge>, midflight_<counter>_total          what the services and the server name
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from midflight.domain.action import ActionKind
from midflight.domain.decision import DenyCode
from midflight.domain.records import Terminal

OTHER: Final = "other"
# A decision takes 5-150 µs, an action from 0.3 ms to the minutes of a long tool call.
_DECISION_BOUNDS = (10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 10e-3, 50e-3, 0.25)
_ACTION_BOUNDS = (0.5e-3, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 0.1, 0.25, 1.0, 5.0, 30.0, 120.0, 600.0)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,60}")
_MAX_NAMES = 200
_MAX_UPSTREAMS = 500
_KINDS = frozenset(kind.value for kind in ActionKind)
_STATES = frozenset(state.value for state in Terminal)
_CODES = frozenset({"", *(code.value for code in DenyCode)})

_Labels = tuple[str, str, str, str]


class _Spread:
    """A histogram: how many fell under each bound, and their sum in seconds."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def buckets(self) -> tuple[Sequence[tuple[str, float]], float]:
        """Cumulative counts by upper bound, and the sum, as Prometheus has them."""
        total = 0
        rows: list[tuple[str, float]] = []
        bounds = [*(f"{bound:g}" for bound in self._bounds), "+Inf"]
        for bound, count in zip(bounds, self._counts, strict=True):
            total += count
            rows.append((bound, total))
        return rows, self._sum


class PrometheusTelemetry:
    """Implements `services/ports/telemetry.py`.

    `action`, `decided` and `count` belong to the event loop's thread; `gauge` may come from any.
    """

    def __init__(self, upstreams: Iterable[str] = (), *, version: str = "") -> None:
        """`upstreams` are the configured names; others are added as they come, up to 500."""
        self._upstreams = set(upstreams)
        self._version = version
        self._actions: dict[_Labels, list[int]] = {}
        # Labels as told, so that the hot path checks and rounds each combination only once.
        self._slots: dict[_Labels, tuple[list[int], _Spread]] = {}
        self._durations: dict[str, _Spread] = {}
        self._decisions = _Spread(_DECISION_BOUNDS)
        self._gauges: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Families(self))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def action(self, *, kind: str, upstream: str, state: str, code: str, seconds: float) -> None:
        """One action ended."""
        told = (kind, upstream, state, code)
        slot = self._slots.get(told)
        if slot is None:
            slot = self._slot(told)
        slot[0][0] += 1
        slot[1].observe(seconds)

    def decided(self, *, seconds: float) -> None:
        """One decision was made."""
        self._decisions.observe(seconds)

    def gauge(self, name: str, value: float) -> None:
        """Set a gauge."""
        if name in self._gauges or self._admits(name, self._gauges):
            self._gauges[name] = value

    def count(self, name: str, amount: int = 1) -> None:
        """Add to a counter."""
        if name in self._counts:
            self._counts[name] += amount
        elif self._admits(name, self._counts):
            self._counts[name] = amount

    def exposition(self) -> bytes:
        """All metrics in the text format 0.0.4; takes milliseconds, so not on the hot path."""
        return generate_latest(self._registry)

    def families(self) -> Iterator[Metric]:
        """The present values as Prometheus' types."""
        if self._version:
            yield InfoMetricFamily("midflight", "This build.", {"version": self._version})
        actions = CounterMetricFamily(
            "midflight_actions", "Actions that ended.", labels=("kind", "upstream", "state", "code")
        )
        for labels, (number,) in list(self._actions.items()):
            actions.add_metric(labels, number)
        yield actions
        durations = HistogramMetricFamily(
            "midflight_action_seconds", "From decoded to ended.", labels=("kind",)
        )
        for kind, spread in list(self._durations.items()):
            durations.add_metric((kind,), *spread.buckets())
        yield durations
        decisions = HistogramMetricFamily("midflight_decision_seconds", "Making one decision.")
        decisions.add_metric((), *self._decisions.buckets())
        yield decisions
        for name, value in list(self._gauges.items()):
            yield GaugeMetricFamily(f"midflight_{name}", _told(name), value)
        for name, number in list(self._counts.items()):
            yield CounterMetricFamily(f"midflight_{name}", _told(name), number)

    def _slot(self, told: _Labels) -> tuple[list[int], _Spread]:
        kind, upstream, state, code = told
        if upstream not in self._upstreams and len(self._upstreams) < _MAX_UPSTREAMS:
            self._upstreams.add(upstream)
        labels = (
            kind if kind in _KINDS else OTHER,
            upstream if upstream in self._upstreams else OTHER,
            state if state in _STATES else OTHER,
            code if code in _CODES else OTHER,
        )
        number = self._actions.setdefault(labels, [0])
        spread = self._durations.get(labels[0])
        if spread is None:
            spread = self._durations[labels[0]] = _Spread(_ACTION_BOUNDS)
        slot = (number, spread)
        if labels == told:  # what was rounded is as many as strangers like
            self._slots[told] = slot
        return slot

    def _admits(self, name: str, known: dict[str, float] | dict[str, int]) -> bool:
        return len(known) < _MAX_NAMES and _NAME.fullmatch(name) is not None


class _Families(Collector):
    """What the registry asks for metrics."""

    def __init__(self, telemetry: PrometheusTelemetry) -> None:
        self._telemetry = telemetry

    def collect(self) -> Iterator[Metric]:
        """The present values."""
        return self._telemetry.families()


def _told(name: str) -> str:
    return name.replace("_", " ").capitalize() + "."


__all__ = ["OTHER", "PrometheusTelemetry"]
