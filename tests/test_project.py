"""The project's own promises: which way imports point, what is documented, what stays light, what is pinned.

Oracle throughout: the source tree itself, read as syntax trees, and the metadata files.
"""

import ast
import dataclasses
import importlib.metadata
import inspect
import re
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path

import holoprop

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "holoprop"
SOURCES = sorted(PACKAGE.rglob("*.py"))

# From top to bottom: each may import those after it, never those before.
LAYERS = (
    "cli",
    "report",
    "bench",
    "experiments",
    "bibliography",
    "train",
    "data",
    "symmetry",
    "gradient",
    "settling",
    "network",
)

# What `import holoprop` must not load: a bare accelerator node need not have any of it.
HEAVY = (
    "matplotlib",
    "plotly",
    "pooch",
    "pyarrow",
    "pydantic",
    "ray",
    "rich",
    "sklearn",
    "tensorboardX",
    "tomli_w",
    "typer",
    "wandb",
)


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of every import in a file, those inside functions included."""
    package = ("holoprop", *path.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*above, *filter(None, (node.module,))))
            # `from holoprop import x` may name a subpackage, so x belongs to the path.
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def _normalised(requirement: str) -> str:
    """The bare name of a requirement, spelt as package indices compare names."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~;\s]", requirement, maxsplit=1)[0]).lower()


def _project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


METHODS = (
    holoprop.AbstractActivation,
    holoprop.AbstractConnection,
    holoprop.AbstractCost,
    holoprop.AbstractEstimator,
    holoprop.AbstractNetwork,
    holoprop.AbstractSolver,
    holoprop.Readout,
)


def _parts(value: object) -> list[str]:
    """What a caller passes to a function, or finds in an object."""
    if inspect.isclass(value):
        fields = dataclasses.fields(value) if dataclasses.is_dataclass(value) else ()
        return [field.name for field in fields if not field.name.startswith("_")]
    return list(inspect.signature(value).parameters) if inspect.isfunction(value) else []


def _raises(value: object) -> bool:
    """Whether a function, or the constructor of a class, has a `raise` in it or calls a check."""
    if not inspect.isclass(value) and not inspect.isfunction(value):
        return False
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(value))).body
    if isinstance(body, ast.ClassDef):
        constructors = ("__init__", "__check_init__", "__post_init__")
        parts = [part for part in body.body if isinstance(part, ast.FunctionDef) and part.name in constructors]
    else:
        parts = [body]
    nodes = [node for part in parts for node in ast.walk(part)]
    called = [node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    return any(isinstance(node, ast.Raise) for node in nodes) or any(
        name.startswith(("check_", "require_")) for name in called
    )


def _exported() -> dict[str, object]:
    return {name: getattr(holoprop, name) for name in holoprop.__all__}


def test_imports_point_only_downward() -> None:
    """Oracle: the order of `LAYERS`."""
    upward = []
    for path in SOURCES:
        layer = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if layer not in LAYERS:
            continue
        for line, name in _imports(path):
            parts = name.split(".")
            inside = parts[0] == "holoprop" and len(parts) > 1 and parts[1] in LAYERS
            if inside and LAYERS.index(parts[1]) < LAYERS.index(layer):
                upward.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert len(SOURCES) > 1
    assert not upward


def test_every_part_of_the_package_has_its_layer() -> None:
    """A part missing in `LAYERS` would escape the test above."""
    parts = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in SOURCES}
    assert parts - {"__init__", "__main__"} <= set(LAYERS)


def test_no_file_is_over_400_lines() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for folder in ("holoprop", "tests", "bench", "examples")
        for path in (ROOT / folder).rglob("*.py")
    }
    assert {path: lines for path, lines in lengths.items() if lines > 400} == {}


def test_every_public_name_is_documented() -> None:
    """Every name in ``__all__``, and every public method and property of the classes among them."""
    bare = []
    for name, value in _exported().items():
        if inspect.isclass(value):
            # A dataclass without a docstring gets its signature for one; that documents nothing.
            doc = vars(value).get("__doc__") or ""
            bare += [name] if not doc or doc.startswith(f"{name}(") else []
            for attribute, member in vars(value).items():
                method = inspect.isfunction(member) or isinstance(member, property | classmethod | staticmethod)
                # getdoc looks through the bases: an implementation inherits the words of what it implements.
                if method and not attribute.startswith("_") and not inspect.getdoc(getattr(value, attribute)):
                    bare.append(f"{name}.{attribute}")
        elif callable(value) and not inspect.getdoc(value):
            bare.append(name)
    assert bare == []


# Docstrings that still owe something, by name.
OWING = {
    "Stencil: source",
    "TrainState: net, optimizer_state, memory",
    "initial_train_state: net, estimator, optimizer, batch_size",
}


def test_docstrings_say_what_is_due() -> None:
    """Arguments and attributes by name; Raises where something is raised; Returns; a method's equation and source.

    Oracle: the signatures, and the syntax trees of constructors and functions.
    """
    owing = set()
    for name, value in _exported().items():
        doc = inspect.getdoc(value) or ""
        nameless = [part for part in _parts(value) if not re.search(rf"`(?:[^`]*[^\w`.])?{part}\b[^`]*`", doc)]
        if nameless:
            owing.add(f"{name}: {', '.join(nameless)}")
        if _raises(value) and "**Raises:**" not in doc:
            owing.add(f"{name}: Raises")
        if inspect.isfunction(value) and not re.search(r"\*\*Returns:\*\*|^Return ", doc):
            owing.add(f"{name}: Returns")
        if inspect.isclass(value) and issubclass(value, METHODS) and not inspect.isabstract(value):
            if not re.search(r"`[^`]*[=←][^`]*`|\n {4,}.*[=←]", doc):
                owing.add(f"{name}: equation")
            if not issubclass(value, holoprop.AbstractActivation) and not re.search(r"Source: |\bP[12]\b|arXiv", doc):
                owing.add(f"{name}: source")
    assert sorted(owing - OWING) == []


def test_no_public_function_shares_a_modules_name() -> None:
    """Else `holoprop.x` would mean the one or the other, depending on what was imported last."""
    modules = {path.stem for path in SOURCES} | {path.parent.name for path in SOURCES if path.name == "__init__.py"}
    functions = {name for name, value in _exported().items() if callable(value) and not inspect.isclass(value)}
    assert functions
    assert functions & modules == set()


def test_all_is_free_of_repeats_and_private_names() -> None:
    names = list(holoprop.__all__)
    assert len(names) == len(set(names))
    assert [name for name in names if name.startswith("_") and name != "__version__"] == []


def test_importing_holoprop_loads_the_numerics_only() -> None:
    """Oracle: ``sys.modules`` of a fresh interpreter."""
    script = f"import sys, holoprop; print([name for name in {HEAVY!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (run.returncode, run.stdout.strip()) == (0, "[]"), run.stderr


def test_every_imported_package_is_a_declared_dependency() -> None:
    """Oracle: which installed distribution offers each imported module, by the installer's own records."""
    offered_by = importlib.metadata.packages_distributions()
    project = _project()
    # An extra of users is a dependency of what is imported where it is used; those of developers are not.
    extras = [names for extra, names in project["optional-dependencies"].items() if extra not in ("dev", "browser")]
    declared = {_normalised(name) for names in (project["dependencies"], *extras) for name in names}
    undeclared = set()
    for path in SOURCES:
        for line, name in _imports(path):
            top = name.split(".")[0]
            if top == "holoprop" or top in sys.stdlib_module_names:
                continue
            if declared.isdisjoint(_normalised(distribution) for distribution in offered_by.get(top, ())):
                undeclared.add(f"{path.relative_to(ROOT)}:{line} imports {top}")
    assert sorted(undeclared) == []


def test_constraints_pin_every_declared_dependency_and_name_no_host() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.!+]+( *; .+)?", pin)] == []
    assert [line for line in lines if "://" in line] == []
    project = _project()
    declared = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    assert {_normalised(name) for name in declared} - {_normalised(pin) for pin in pins} == set()


def test_citation_names_the_version_of_the_package() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.+)$", citation, re.MULTILINE) == [_project()["version"]]
