"""What data sets there are, by name.

Every file of a set that may be downloaded, or the archive it is packed in, is offered by at least two mirrors that are
run apart, where as many are known.
"""

import difflib

from holoprop.data.colour_sources import COLOUR_SOURCES
from holoprop.data.dataset import DataError
from holoprop.data.grey_sources import GREY_SOURCES
from holoprop.data.source import Source

SOURCES: dict[str, Source] = {source.name: source for source in (*GREY_SOURCES, *COLOUR_SOURCES)}


def find_source(name: str) -> Source:
    """Return what is known of the data set `name`.

    **Raises:** `DataError` with the known names, and the likely one, if there is no such set.
    """
    if name in SOURCES:
        return SOURCES[name]
    likely = difflib.get_close_matches(name.lower().replace("_", "-"), SOURCES, n=1)
    hint = f"; did you mean {likely[0]!r}?" if likely else ""
    shown = repr(name) if len(name) <= 60 else repr(name[:57]) + "..."
    raise DataError(f"unknown data set {shown}, known are {', '.join(sorted(SOURCES))}{hint}")
