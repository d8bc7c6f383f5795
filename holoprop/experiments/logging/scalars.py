"""What a log takes from the records of `metrics.jsonl`, and when in the run's own time each of them was written.

A run that is resumed has these records as if it had never stopped, so a log that begins with them has them too.
"""

from typing import Any

_NOT_LOGGED = ("kind", "step", "epoch")


def scalars(record: dict[str, Any]) -> dict[str, float]:
    """Return the numbers of a record by `step/…` or `epoch/…` and their names; what is `null` is left out."""
    return {
        f"{record['kind']}/{name}": float(value)
        for name, value in record.items()
        if name not in _NOT_LOGGED and isinstance(value, bool | int | float)
    }


def training_seconds(records: list[dict[str, Any]]) -> list[float]:
    """Return for each record the seconds that had been spent in training when it was written.

    A record has those of its epoch: `before + seconds`, where `before` sums over the epochs that had ended.
    """
    times, before = [], 0.0
    for record in records:
        times.append(before + (record.get("seconds") or 0.0))
        if record["kind"] == "epoch":
            before = times[-1]
    return times
