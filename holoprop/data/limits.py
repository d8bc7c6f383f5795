"""What a file can hold: nothing is unpacked, or set aside, because a file claims it."""

MAX_BYTES = 2**31
"""No array of a published set comes near; what claims more is a forged header or a decompression bomb."""

DEFLATE_RATIO = 1032
"""Two deflated bits stand for at most 258 bytes, so no stream grows by more than 1032 : 1."""
