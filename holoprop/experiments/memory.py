"""How much memory a computation took."""

import sys
from pathlib import Path


def peak_memory() -> float:
    """Return the most memory that this process has held so far, or one of its ended children, in GiB.

    NaN where the operating system does not tell.
    """
    try:
        import resource
    except ModuleNotFoundError:  # not of Unix's family
        return float("nan")
    own, ended = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    if sys.platform == "darwin":  # which alone counts in bytes
        return max(own, ended) / 2**30
    return max(_own_peak(own), ended) / 2**20


def _own_peak(told: int) -> int:
    """This process's own peak in KiB: Linux tells that of whoever started it, if that was larger, but in `/proc`."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return told
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), told)
