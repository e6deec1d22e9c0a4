"""Measuring honestly: every number with its sample, its interval and its machine.

>>> from inferkit import benchmark
>>> from inferkit.datasets import load_digits
>>> from inferkit.predictor import digit_reader
>>> result = benchmark.measure_latency(digit_reader(), load_digits().images, n=100)
>>> print(result.p99_ms, benchmark.samples_needed(99))  # 100 samples do not support a p99
None 662
"""

from ._compare import Comparison, Ratio, compare, wilson_interval
from ._energy import EnergyResult, measure_energy, price_per_million
from ._entry import Entry
from ._in_child import ChildError, ChildResult, run_in_child
from ._latency import LatencyResult, measure_latency
from ._ledger import Ledger
from ._memory import MemoryResult, measure_memory
from ._percentiles import Percentile, SampleTooSmallError, percentile, percentile_interval, samples_needed
from ._queries import OUTCOMES, Queries
from ._scenarios import SCENARIOS, ScenarioResult, run_scenario
from ._store import LedgerError
from ._throughput import ThroughputResult, measure_throughput
from ._timing import CallError, ClockError
from ._words import energy_words, time_words

__all__ = [
    "OUTCOMES",
    "SCENARIOS",
    "CallError",
    "ChildError",
    "ChildResult",
    "ClockError",
    "Comparison",
    "EnergyResult",
    "Entry",
    "LatencyResult",
    "Ledger",
    "LedgerError",
    "MemoryResult",
    "Percentile",
    "Queries",
    "Ratio",
    "SampleTooSmallError",
    "ScenarioResult",
    "ThroughputResult",
    "compare",
    "energy_words",
    "measure_energy",
    "measure_latency",
    "measure_memory",
    "measure_throughput",
    "percentile",
    "percentile_interval",
    "price_per_million",
    "run_in_child",
    "run_scenario",
    "samples_needed",
    "time_words",
    "wilson_interval",
]
