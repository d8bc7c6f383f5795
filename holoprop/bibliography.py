"""What to cite: the sources that each part of the package rests on, as data, and their BibTeX.

`WORKS` holds the entries, `SOURCES` says which of them a public class or function rests on. Classes of a user's own
rest on what the class they extend does, and on what their fields hold.
"""

import dataclasses
import inspect
import types
from collections.abc import Iterator
from typing import Any, NamedTuple

from holoprop.settling.substrate import Programmed


class Work(NamedTuple):
    """A source. **Attributes:** `kind`: BibTeX's entry type; `fields`: its fields, in the order they are printed."""

    kind: str
    fields: dict[str, str]


WORKS: dict[str, Work] = {
    "laborieux2022holomorphic": Work(
        "inproceedings",
        {
            "title": "Holomorphic Equilibrium Propagation Computes Exact Gradients Through Finite Size Oscillations",
            "author": "Laborieux, Axel and Zenke, Friedemann",
            "booktitle": "Advances in Neural Information Processing Systems",
            "volume": "35",
            "year": "2022",
            "eprint": "2209.00530",
            "archiveprefix": "arXiv",
        },
    ),
    "laborieux2024improving": Work(
        "inproceedings",
        {
            "title": "Improving equilibrium propagation without weight symmetry through {Jacobian} homeostasis",
            "author": "Laborieux, Axel and Zenke, Friedemann",
            "booktitle": "International Conference on Learning Representations",
            "year": "2024",
            "eprint": "2309.02214",
            "archiveprefix": "arXiv",
        },
    ),
    "scellier2017equilibrium": Work(
        "article",
        {
            "title": "Equilibrium Propagation: Bridging the Gap between Energy-Based Models and Backpropagation",
            "author": "Scellier, Benjamin and Bengio, Yoshua",
            "journal": "Frontiers in Computational Neuroscience",
            "volume": "11",
            "pages": "24",
            "year": "2017",
            "doi": "10.3389/fncom.2017.00024",
            "eprint": "1602.05179",
            "archiveprefix": "arXiv",
        },
    ),
    "laborieux2021scaling": Work(
        "article",
        {
            "title": "Scaling Equilibrium Propagation to Deep {ConvNets} by Drastically Reducing Its Gradient "
            "Estimator Bias",
            "author": "Laborieux, Axel and Ernoult, Maxence and Scellier, Benjamin and Bengio, Yoshua and Grollier, "
            "Julie and Querlioz, Damien",
            "journal": "Frontiers in Neuroscience",
            "volume": "15",
            "year": "2021",
            "doi": "10.3389/fnins.2021.633674",
            "eprint": "2006.03824",
            "archiveprefix": "arXiv",
        },
    ),
    "ernoult2020continual": Work(
        "misc",
        {
            "title": "Equilibrium Propagation with Continual Weight Updates",
            "author": "Ernoult, Maxence and Grollier, Julie and Querlioz, Damien and Bengio, Yoshua and Scellier, "
            "Benjamin",
            "year": "2020",
            "eprint": "2005.04168",
            "archiveprefix": "arXiv",
        },
    ),
    "kendall2020training": Work(
        "misc",
        {
            "title": "Training End-to-End Analog Neural Networks with Equilibrium Propagation",
            "author": "Kendall, Jack and Pantone, Ross and Manickavasagam, Kalpana and Bengio, Yoshua and Scellier, "
            "Benjamin",
            "year": "2020",
            "eprint": "2006.01981",
            "archiveprefix": "arXiv",
        },
    ),
    "anderson1965iterative": Work(
        "article",
        {
            "title": "Iterative Procedures for Nonlinear Integral Equations",
            "author": "Anderson, Donald G.",
            "journal": "Journal of the ACM",
            "volume": "12",
            "number": "4",
            "pages": "547--560",
            "year": "1965",
            "doi": "10.1145/321296.321305",
        },
    ),
    "walker2011anderson": Work(
        "article",
        {
            "title": "{Anderson} Acceleration for Fixed-Point Iterations",
            "author": "Walker, Homer F. and Ni, Peng",
            "journal": "SIAM Journal on Numerical Analysis",
            "volume": "49",
            "number": "4",
            "pages": "1715--1735",
            "year": "2011",
            "doi": "10.1137/10078356X",
        },
    ),
    "almeida1987learning": Work(
        "inproceedings",
        {
            "title": "A learning rule for asynchronous perceptrons with feedback in a combinatorial environment",
            "author": "Almeida, Luis B.",
            "booktitle": "Proceedings of the IEEE First International Conference on Neural Networks",
            "volume": "2",
            "pages": "609--618",
            "year": "1987",
        },
    ),
    "pineda1987generalization": Work(
        "article",
        {
            "title": "Generalization of back-propagation to recurrent neural networks",
            "author": "Pineda, Fernando J.",
            "journal": "Physical Review Letters",
            "volume": "59",
            "number": "19",
            "pages": "2229--2232",
            "year": "1987",
            "doi": "10.1103/PhysRevLett.59.2229",
        },
    ),
    "elayedam2025scaling": Work(
        "misc",
        {
            "title": "Scaling Equilibrium Propagation to Deeper Neural Network Architectures",
            "author": "Elayedam, Sankar Vinayak and Srinivasan, Gopalakrishnan",
            "year": "2025",
            "eprint": "2509.26003",
            "archiveprefix": "arXiv",
        },
    ),
    "scurria2026equilibrium": Work(
        "misc",
        {
            "title": "Equilibrium Propagation for Non-Conservative Systems",
            "author": "Scurria, Antonino Emanuele and Mognetti, Bortolo Matteo and Vanden Abeele, Dimitri and Massar, "
            "Serge",
            "year": "2026",
            "eprint": "2602.03670",
            "archiveprefix": "arXiv",
        },
    ),
    "kolen1994backpropagation": Work(
        "inproceedings",
        {
            "title": "Backpropagation without weight transport",
            "author": "Kolen, John F. and Pollack, Jordan B.",
            "booktitle": "Proceedings of the IEEE International Conference on Neural Networks",
            "volume": "3",
            "pages": "1375--1380",
            "year": "1994",
            "doi": "10.1109/ICNN.1994.374486",
        },
    ),
    "akrout2019deep": Work(
        "inproceedings",
        {
            "title": "Deep Learning without Weight Transport",
            "author": "Akrout, Mohamed and Wilson, Collin and Humphreys, Peter C. and Lillicrap, Timothy and Tweed, "
            "Douglas",
            "booktitle": "Advances in Neural Information Processing Systems",
            "volume": "32",
            "year": "2019",
            "eprint": "1904.05391",
            "archiveprefix": "arXiv",
        },
    ),
    "elfwing2018sigmoid": Work(
        "article",
        {
            "title": "Sigmoid-Weighted Linear Units for Neural Network Function Approximation in Reinforcement "
            "Learning",
            "author": "Elfwing, Stefan and Uchibe, Eiji and Doya, Kenji",
            "journal": "Neural Networks",
            "volume": "107",
            "pages": "3--11",
            "year": "2018",
            "eprint": "1702.03118",
            "archiveprefix": "arXiv",
        },
    ),
}
"""Every source, by its BibTeX key."""

_HEP, _EP, _VECTOR_FIELD = "laborieux2022holomorphic", "scellier2017equilibrium", "laborieux2024improving"

SOURCES: dict[str, tuple[str, ...]] = {
    # estimators
    "Holomorphic": (_HEP,),
    "Oscillation": (_HEP,),
    "OnlineOscillation": (_HEP,),
    "OneSided": (_EP,),
    "Centered": (_EP, "laborieux2021scaling"),
    "Stencil": (_EP, "laborieux2021scaling"),
    "Continual": ("ernoult2020continual",),
    "ForwardResponse": (_VECTOR_FIELD,),
    "Unrolled": (_HEP,),
    "Backpropagation": (_HEP,),
    "Implicit": ("almeida1987learning", "pineda1987generalization"),
    "Substrate": ("kendall2020training",),
    "ResistorNetwork": ("kendall2020training",),
    "Homeostatic": (_VECTOR_FIELD,),
    "homeostasis": (_VECTOR_FIELD,),
    "symmetry_measure": (_VECTOR_FIELD,),
    "analyse_jacobian": (_VECTOR_FIELD,),
    "error_alignment": (_VECTOR_FIELD,),
    "feedback_angle": (_VECTOR_FIELD,),
    "KolenPollack": ("kolen1994backpropagation", "akrout2019deep"),
    "stability_map": (_HEP,),
    "circle_orbit": (_HEP,),
    # networks and their parts
    "AbstractEnergyNetwork": (_EP,),
    "SquaredError": (_EP,),
    "Skip": ("elayedam2025scaling",),
    "DoubleSilu": (_HEP,),
    "Silu": ("elfwing2018sigmoid",),
    # solvers
    "Anderson": ("anderson1965iterative", "walker2011anderson"),
    "Noise": (_HEP,),
    "TimeSteps": (_HEP,),
}
"""By the name of a public class or function: what it rests on besides its fields' sources."""


def citation(*objects: Any) -> str:
    """Return the BibTeX of holoprop and of the sources that `objects` rest on.

    **Arguments:** `objects`: any of networks, estimators, solvers, their classes, functions such as `stability_map`,
    and lists or other containers of these. Without any: the two papers that the package as a whole rests on.

    **Returns:** entries one after the other, holoprop's first, each source once.

    **Raises:** `ValueError` for something that is no part of a holoprop computation, such as a number.

    ```python
    print(hp.citation(net, hp.Holomorphic(points=4, solver=hp.Anderson())))
    ```
    """
    keys: list[str] = []
    for each in objects:
        if not _belongs(each):
            raise ValueError(
                f"citation takes networks, estimators, solvers and functions of holoprop, got {each!r}: call "
                "citation() for the package as a whole"
            )
        keys += _keys(each)
    if not objects:
        keys = [_HEP, _VECTOR_FIELD]
    # In the order in which they were met, each once.
    return "\n\n".join([_bibtex("holoprop", _software()), *(_bibtex(key, WORKS[key]) for key in dict.fromkeys(keys))])


def _software() -> Work:
    from holoprop import __version__  # which imports this module

    return Work(
        "misc",
        {
            "title": "holoprop: exact gradients from settling networks by holomorphic equilibrium propagation",
            "author": "{holoprop contributors}",
            "version": __version__,
        },
    )


def _bibtex(key: str, work: Work) -> str:
    lines = "".join(f"  {name} = {{{value}}},\n" for name, value in work.fields.items())
    return f"@{work.kind}{{{key},\n{lines}}}"


def _belongs(value: Any) -> bool:
    ours = type(value).__module__.split(".")[0] == "holoprop"
    return ours or isinstance(value, type | types.FunctionType | list | tuple | dict) or dataclasses.is_dataclass(value)


def _keys(value: Any) -> Iterator[str]:
    """The sources of an object, of the classes that it extends, and of what it holds."""
    if isinstance(value, types.FunctionType):
        yield from SOURCES.get(value.__name__, ())
        return
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, list | tuple) and not dataclasses.is_dataclass(value):
        for each in value:
            yield from _keys(each)
        return
    for each in inspect.getmro(value if inspect.isclass(value) else type(value)):
        if each.__module__.split(".")[0] == "holoprop":
            yield from SOURCES.get(each.__name__, ())
    if getattr(value, "form", None) == "vector-field":
        yield _VECTOR_FIELD
    if getattr(value, "asymmetry", None) == "correct":
        yield "scurria2026equilibrium"
    if isinstance(value, Programmed):
        yield from _keys(value.device)
        return
    if getattr(value, "is_energy", None) is False and getattr(value, "feedback", True) is not False:
        yield _VECTOR_FIELD
    elif getattr(value, "is_energy", None) is True:
        yield _EP
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from _keys(getattr(value, field.name, None))
