"""How much memory a computation took."""

import sys


def peak_memory() -> float:
    """Return the most memory that this process has held so far, or one of its ended children, in GiB.

    NaN where the operating system does not tell.
    """
    try:
        import resource
    except ModuleNotFoundError:  # not of Unix's family
        return float("nan")
    most = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    # Of the systems that tell, one alone counts in bytes.
    return most / 2**30 if sys.platform == "darwin" else most / 2**20
