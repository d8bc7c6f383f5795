"""Pickled data files of unknown origin, read without running anything of theirs.

A pickle is a program for a small stack machine, and it may name any function of any module and call it. Here it runs on
a machine of our own, which knows no more than data files need: plain values, containers, and NumPy's arrays of
numbers. Every other name is refused before it is looked up, no size is believed without its bytes, and the keys of
dicts are text or numbers, since hashing nested tuples can take for ever.
"""

import codecs
import io
import math
import mmap
import pickletools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np

from holoprop.data.dataset import DataError

# The largest published file has a fiftieth of it.
_MOST_INSTRUCTIONS = 10_000_000


def read_pickle(content: bytes | mmap.mmap, path: Path) -> Any:
    """Read a pickle of arrays, dicts, lists, tuples, numbers and strings; strings of Python 2 come as bytes.

    **Arguments:** `content`: the file, in memory or mapped into it; `path`: what it is called in messages.

    **Raises:** `DataError`, one line, if it asks for anything else, is truncated or corrupt; nothing of it is run.
    """
    try:
        return _Machine(content).run()
    except _RefusedError as refused:
        raise DataError(
            f"{path} asks for {refused}, but a data file holds arrays and plain values only; nothing of it was run: "
            "fetch the official file"
        ) from None
    # A damaged pickle can fail in any of these ways, deep inside.
    except (EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise DataError(f"{path} is no whole pickle ({type(error).__name__}); fetch it again") from None
    except (MemoryError, OverflowError, RecursionError) as error:
        raise DataError(f"{path} claims more than it holds ({type(error).__name__}); fetch it again") from None


class _RefusedError(Exception):
    """A name or an instruction that data have no use for; its text, from the file, becomes one short line."""

    def __str__(self) -> str:
        return str(self.args[0]).encode("unicode_escape").decode("ascii")[:80]


class _ArrayClass:
    """Stands for `numpy.ndarray` where a pickle names it: to be passed on, not to be called."""


class _Dtype:
    """A dtype of numbers; its byte order arrives after it."""

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = dtype


def _reconstruct(kind: Any, shape: Any, code: Any) -> np.ndarray:
    """Return the empty array that numpy's own function would, to be filled by its state."""
    del shape, code
    if kind is not _ArrayClass:
        raise _RefusedError("an array of an unknown class")
    return np.ndarray((0,), np.uint8)


def _dtype(code: Any, *flags: Any) -> _Dtype:
    """Return a dtype of numbers: no objects, whose items could be anything, and no records."""
    del flags
    name = code.decode("ascii") if isinstance(code, bytes) else code
    if not isinstance(name, str) or not re.fullmatch(r"[<>=|]?(b1|[iu][1248]|f[248])", name):
        raise _RefusedError(f"an array of {str(name)[:20]!r}")
    return _Dtype(np.dtype(name))


def _scalar(kind: Any, raw: Any) -> Any:
    """Return one number, as NumPy's own numbers are written."""
    if not isinstance(kind, _Dtype) or not isinstance(raw, bytes) or len(raw) != kind.dtype.itemsize:
        raise ValueError("a number of another size than its dtype")
    return np.frombuffer(raw, kind.dtype)[0].item()


def _encode(text: Any, encoding: Any) -> bytes:
    """Return bytes as Python 3 writes them into pickles that Python 2 can read."""
    if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
        raise _RefusedError("a conversion of text")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """Return none, as Python 3 writes them into pickles that Python 2 can read."""
    return b""


_ADMITTED: dict[tuple[str, str], Any] = {
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _no_bytes,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("numpy", "ndarray"): _ArrayClass,
    ("numpy", "dtype"): _dtype,
}
_CALLED = (_encode, _no_bytes, _reconstruct, _scalar, _dtype)
_VALUES = frozenset(
    (
        *("INT", "BININT", "STRING", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "UNICODE"),
        *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    )
)
_ESCAPED = rb"(?:[^\\\n%b]|\\(?:x[0-9a-fA-F]{2}|[\\'\"abfnrtv]))*"
_QUOTED = re.compile(rb"'" + _ESCAPED % b"'" + rb"'\n|\"" + _ESCAPED % b'"' + rb"\"\n")
_OPCODES = {ord(each.code): each for each in pickletools.opcodes}
_BININT1, _BININT2, _BINPUT, _LONG_BINPUT, _SHORT_BINSTRING = b"KMqrU"


def _quoted(line: bytes) -> bytes:
    """Return a string as the first pickles wrote it, in quotes, with escapes for what is no letter."""
    if not _QUOTED.fullmatch(line):
        raise ValueError
    return codecs.escape_decode(line[1:-2])[0]


def _word(line: bytes) -> str:
    """Return a name, which takes a line."""
    if not line.endswith(b"\n"):
        raise EOFError
    return line[:-1].decode("ascii")


class _Machine:
    """The stack machine, about to follow the instructions in `content`."""

    def __init__(self, content: bytes | mmap.mmap) -> None:
        self.content = content
        # Either kind of file gives no more than it has, however much is asked of it.
        self.file = io.BytesIO(content) if isinstance(content, bytes) else content
        self.stack: list[Any] = []
        self.marks: list[int] = []
        # A dict, so that a forged index costs no more than a right one.
        self.memo: dict[int, Any] = {}
        # What conversions may make: a text that is stored once could be converted over and over.
        self.allowance = 2 * len(content) + 1024

    def run(self) -> Any:
        """Follow the instructions up to the last, and return what is then on top of the stack."""
        content, size, stack, memo = self.content, len(self.content), self.stack, self.memo
        place = 0
        for _ in range(_MOST_INSTRUCTIONS):
            code = content[place]
            # Nearly all of a file is labels and names: these do without the general way, ten times as slow.
            if code == _BININT1:
                stack.append(content[place + 1])
                place += 2
            elif code == _BININT2:
                stack.append(content[place + 1] | content[place + 2] << 8)
                place += 3
            elif code == _BINPUT:
                memo[content[place + 1]] = stack[-1]
                place += 2
            elif code == _LONG_BINPUT and place + 5 <= size:
                memo[int.from_bytes(content[place + 1 : place + 5], "little")] = stack[-1]
                place += 5
            elif code == _SHORT_BINSTRING:
                end = place + 2 + content[place + 1]
                if end > size:
                    raise EOFError
                stack.append(content[place + 2 : end])
                place = end
            else:
                instruction = _OPCODES[code]
                self.file.seek(place + 1)
                if instruction.name == "STRING":
                    argument = _quoted(self.file.readline())
                elif instruction.name in ("GLOBAL", "INST"):
                    argument = " ".join(_word(self.file.readline()) for _ in range(2))
                elif instruction.name == "PERSID":
                    argument = _word(self.file.readline())
                else:
                    argument = None if instruction.arg is None else instruction.arg.reader(cast(Any, self.file))
                place = self.file.tell()
                if instruction.name == "STOP":
                    return stack.pop()
                self.follow(instruction.name, argument)
        raise MemoryError

    def follow(self, name: str, argument: Any) -> None:
        """Follow one instruction."""
        if name in _VALUES:
            self.stack.append(argument)
        elif name == "BINSTRING":
            self.stack.append(argument.encode("latin-1"))
        elif name in _INSTRUCTIONS:
            _INSTRUCTIONS[name](self, argument)
        else:
            raise _RefusedError(str(argument or name).replace(" ", "."))

    def since_mark(self) -> list[Any]:
        """Take what was put on the stack since the last mark."""
        place = self.marks.pop()
        items = self.stack[place:]
        del self.stack[place:]
        return items

    def top(self, kind: type) -> Any:
        """Return what is on top, which must be of the kind."""
        if type(self.stack[-1]) is not kind:
            raise TypeError
        return self.stack[-1]

    def take(self, count: int) -> list[Any]:
        """Take the last so many values."""
        items = self.stack[-count:]
        if len(items) < count:
            raise IndexError
        del self.stack[-count:]
        return items

    def mark(self, argument: Any) -> None:
        del argument
        self.marks.append(len(self.stack))

    def drop(self, argument: Any) -> None:
        del argument
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.stack.pop()

    def store(self, argument: Any) -> None:
        self.memo[len(self.memo) if argument is None else argument] = self.stack[-1]

    def append(self, items: list[Any]) -> None:
        self.top(list).extend(items)

    def update(self, pairs: list[Any]) -> None:
        target = self.top(dict)
        if len(pairs) % 2 or any(type(key) not in (str, bytes, int) for key in pairs[::2]):
            raise TypeError
        target.update(zip(pairs[::2], pairs[1::2], strict=True))

    def new_dict(self, argument: Any) -> None:
        del argument
        pairs = self.since_mark()
        self.stack.append({})
        self.update(pairs)

    def look_up(self, argument: Any) -> None:
        """Push what an admitted name stands for; nothing is imported."""
        place = argument.partition(" ")[::2] if argument else self.take(2)
        if not all(isinstance(part, str) for part in place):
            raise TypeError
        module, name = place
        if (module, name) not in _ADMITTED:
            raise _RefusedError(f"{module}.{name}")
        self.stack.append(_ADMITTED[module, name])

    def call(self, argument: Any) -> None:
        """Call one of our own functions."""
        del argument
        function, arguments = self.take(2)
        if not any(function is each for each in _CALLED) or type(arguments) is not tuple:
            raise TypeError
        result = function(*arguments)
        if isinstance(result, bytes):
            self.allowance -= len(result)
            if self.allowance < 0:
                raise MemoryError
        self.stack.append(result)

    def fill(self, argument: Any) -> None:
        """Give an array its shape, dtype and bytes, or a dtype its byte order."""
        del argument
        (state,) = self.take(1)
        target = self.stack[-1]
        if type(state) is not tuple:
            raise TypeError
        if type(target) is _Dtype:
            order = state[1].decode("ascii") if isinstance(state[1], bytes) else state[1]
            if order not in ("<", ">", "=", "|"):
                raise ValueError
            target.dtype = target.dtype.newbyteorder(order)
        elif type(target) is np.ndarray:
            _, shape, kind, fortran, raw = state
            known = type(shape) is tuple and all(type(size) is int and size >= 0 for size in shape)
            if not known or type(kind) is not _Dtype or type(raw) is not bytes:
                raise TypeError
            if math.prod(shape) * kind.dtype.itemsize != len(raw):
                raise ValueError
            # Large ones share these bytes.
            target.__setstate__(cast(Any, (1, shape, kind.dtype, bool(fortran), raw)))
        else:
            raise _RefusedError("a state of something else than an array")


def _push(value: Any) -> Callable[[_Machine, Any], None]:
    return lambda machine, argument: machine.stack.append(value)


def _tuple_of(count: int) -> Callable[[_Machine, Any], None]:
    return lambda machine, argument: machine.stack.append(tuple(machine.take(count)))


_INSTRUCTIONS: dict[str, Callable[[_Machine, Any], Any]] = {
    "PROTO": lambda machine, argument: None,
    "FRAME": lambda machine, argument: None,
    "NONE": _push(None),
    "NEWTRUE": _push(True),
    "NEWFALSE": _push(False),
    "MARK": _Machine.mark,
    "POP": _Machine.drop,
    "POP_MARK": lambda machine, argument: machine.since_mark(),
    "DUP": lambda machine, argument: machine.stack.append(machine.stack[-1]),
    "EMPTY_LIST": lambda machine, argument: machine.stack.append([]),
    "LIST": lambda machine, argument: machine.stack.append(machine.since_mark()),
    "APPEND": lambda machine, argument: machine.append(machine.take(1)),
    "APPENDS": lambda machine, argument: machine.append(machine.since_mark()),
    "EMPTY_TUPLE": _push(()),
    "TUPLE": lambda machine, argument: machine.stack.append(tuple(machine.since_mark())),
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "EMPTY_DICT": lambda machine, argument: machine.stack.append({}),
    "DICT": _Machine.new_dict,
    "SETITEM": lambda machine, argument: machine.update(machine.take(2)),
    "SETITEMS": lambda machine, argument: machine.update(machine.since_mark()),
    "PUT": _Machine.store,
    "BINPUT": _Machine.store,
    "LONG_BINPUT": _Machine.store,
    "MEMOIZE": _Machine.store,
    "GET": lambda machine, argument: machine.stack.append(machine.memo[argument]),
    "BINGET": lambda machine, argument: machine.stack.append(machine.memo[argument]),
    "LONG_BINGET": lambda machine, argument: machine.stack.append(machine.memo[argument]),
    "GLOBAL": _Machine.look_up,
    "STACK_GLOBAL": _Machine.look_up,
    "REDUCE": _Machine.call,
    "BUILD": _Machine.fill,
}
