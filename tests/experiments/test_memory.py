"""How much memory was taken. Oracle: an array of a known size, in a process of its own."""

import subprocess
import sys

from holoprop.experiments.memory import peak_memory

_PROGRAM = """
from holoprop.experiments.memory import peak_memory
before = peak_memory()
block = bytearray(b"x") * (3 * 2**28)
del block
print(before, peak_memory())
"""


def test_the_peak_is_that_of_what_was_held_and_stays() -> None:
    told = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True).stdout
    before, after = map(float, told.split())
    assert 0.005 < before < 0.6 and 0.75 <= after < 0.76 + before


def test_children_that_have_ended_count() -> None:
    subprocess.run([sys.executable, "-c", "bytearray(b'x') * 2**20"], check=True)
    assert peak_memory() > 0.05
