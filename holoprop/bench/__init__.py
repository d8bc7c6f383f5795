"""Benchmarks, run by `holoprop bench`: ratios measured in one run on one machine.

Everything is measured side by side with a baseline that does the same job as published, so the numbers that matter, the
ratios, depend little on the machine.
"""

from holoprop.bench.growth import GrowthRow, render_growth, run_growth
from holoprop.bench.pipeline import PipelineRow, PipelineSetting, render_pipeline, run_pipeline
from holoprop.bench.registry import benchmark_names, run_benchmarks
from holoprop.bench.row import Row, render_rows
from holoprop.bench.throughput import Throughput, ThroughputRow, render_throughput, run_throughput

__all__ = [
    "GrowthRow",
    "PipelineRow",
    "PipelineSetting",
    "Row",
    "Throughput",
    "ThroughputRow",
    "benchmark_names",
    "render_growth",
    "render_pipeline",
    "render_rows",
    "render_throughput",
    "run_benchmarks",
    "run_growth",
    "run_pipeline",
    "run_throughput",
]
