"""Numbers as a page words them: times, powers of ten, dates."""

from datetime import UTC, datetime


def duration(seconds: float) -> str:
    """Return seconds in words: `4.1 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 100:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    return f"{hours} h {left} min" if hours else f"{minutes} min {rest} s"


def scientific(value: float) -> str:
    """Return `4.4·10⁻⁴` for 4.4e-4."""
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    return f"{mantissa}·{power_of_ten(int(exponent))}" if value else "0"


def power_of_ten(exponent: int) -> str:
    """Return `10⁻⁶` for -6: plain text, which needs no typesetting."""
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def date(value: object) -> str:
    """Return an ISO date and time as `2026-11-20 21:32:07 UTC`; anything else as it is."""
    try:
        return f"{datetime.fromisoformat(str(value)).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    except ValueError:
        return str(value)


def shown(value: object) -> str:
    """Return a setting in words: `yes` and `no`, a dash where there is none."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value is None else str(value)
