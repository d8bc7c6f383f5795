"""The process of one try on this machine: `python -m holoprop.experiments.sweep.worker FOLDER`.

The trial comes as a line of JSON on standard input, and how it ended goes out as one on standard output; all else that
is printed goes to standard error. Standard input stays open for as long as the trial is wanted: when it closes, because
the sweep was interrupted or died, the step under way is finished, a checkpoint written, and the process ends.
"""

import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path

from holoprop.experiments.config import parse_config
from holoprop.experiments.sweep.trial import Ending, attempt


def main(folder: Path) -> int:
    """Run the try that standard input describes, and return the exit status."""
    # Whoever starts us from a script in the background has this signal ignored; training listens to it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    order = json.loads(sys.stdin.readline())
    # The channel is ours alone: what libraries print must not get into it.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as channel:
        os.dup2(2, 1)
        threading.Thread(target=_stop_when_unwanted, daemon=True).start()
        try:
            ending = attempt(parse_config(order["config"]), folder, order["tries"])
        except KeyboardInterrupt:
            return 130
        except Exception as error:
            traceback.print_exc()
            ending = Ending(f"{type(error).__name__}: {' '.join(str(error).split())}", again=True)
        channel.write(json.dumps(ending._asdict()) + "\n")
    return 0


def _stop_when_unwanted() -> None:
    # Not through sys.stdin: a thread that waits in there would hold its lock while the interpreter shuts down.
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
