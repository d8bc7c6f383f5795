"""What to cite. Oracles: CITATION.cff, the package's own names, and the rules of BibTeX."""

import re
from pathlib import Path

import jax
import pytest

import holoprop as hp
from holoprop.bibliography import SOURCES, WORKS

ROOT = Path(__file__).parents[1]


def parsed(text: str) -> dict[str, dict[str, str]]:
    """The entries of a BibTeX text by their keys; whatever is left over is an error."""
    entries = {}
    pattern = re.compile(r"@(\w+)\{([\w]+),\n((?:  \w+ = \{.*\},\n)+)\}(?:\n\n|$)")
    position = 0
    for found in pattern.finditer(text):
        assert found.start() == position
        position = found.end()
        fields = dict(re.findall(r"  (\w+) = \{(.*)\},", found[3]))
        assert all(value.count("{") == value.count("}") for value in fields.values())
        assert found[2] not in entries
        entries[found[2]] = {"kind": found[1], **fields}
    assert position == len(text)
    return entries


def test_the_package_as_a_whole_is_what_the_citation_file_says() -> None:
    file = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    entries = parsed(hp.citation())
    assert list(entries) == ["holoprop", "laborieux2022holomorphic", "laborieux2024improving"]
    titles = re.findall(r"title: \"?(.+?)\"?$", re.sub("collection-title.*", "", file), re.MULTILINE)
    assert [each["title"].replace("{", "").replace("}", "") for each in entries.values()] == titles
    assert re.findall(r"arXiv:(\S+)", file) == [e["eprint"] for e in entries.values() if "eprint" in e]
    assert entries["holoprop"]["version"] in file


def test_objects_bring_their_own_sources() -> None:
    net = hp.mlp(3, (4,), 2, key=jax.random.key(0))
    keys = list(parsed(hp.citation(net, hp.Holomorphic())))
    assert keys == [
        "holoprop",
        "scellier2017equilibrium",
        "laborieux2022holomorphic",
        "anderson1965iterative",
        "walker2011anderson",
    ]
    plain = hp.Holomorphic(solver=hp.Alternating(), nudged_solver=hp.Alternating())
    assert list(parsed(hp.citation(plain))) == ["holoprop", "laborieux2022holomorphic"]
    assert "laborieux2021scaling" in parsed(hp.citation(hp.Centered))
    assert "pineda1987generalization" in parsed(hp.citation([hp.Implicit(solver=hp.Picard())]))
    assert "laborieux2022holomorphic" in parsed(hp.citation(hp.stability_map))
    corrected = hp.Homeostatic(hp.Holomorphic(asymmetry="correct"))
    assert {"laborieux2024improving", "scurria2026equilibrium"} <= set(parsed(hp.citation(corrected)))
    assert "scurria2026equilibrium" not in parsed(hp.citation(hp.Holomorphic(form="vector-field")))
    assert "laborieux2024improving" in parsed(hp.citation(hp.Holomorphic(form="vector-field")))


def test_a_users_own_network_rests_on_what_it_extends() -> None:
    class Own(hp.AbstractNetwork):
        w: jax.Array
        activation: hp.AbstractActivation = hp.Silu()
        cost: hp.AbstractCost = hp.SquaredError()
        input_shape, layer_shapes, classes = (2,), ((2,),), 2

        def drive(self, c, s):
            return (c + s[0] @ self.w,)

        def readout(self, s):
            return s[0]

    keys = parsed(hp.citation(Own(jax.numpy.eye(2))))
    assert {"laborieux2024improving", "elfwing2018sigmoid", "scellier2017equilibrium"} <= set(keys)


def test_other_things_are_refused() -> None:
    with pytest.raises(ValueError, match=r"citation takes networks, .*got 3"):
        hp.citation(3)


def test_the_register_names_what_is_there_and_nothing_is_left_uncited() -> None:
    # Two are owed for what a network or an estimator is set to, not for its class.
    used = {key for keys in SOURCES.values() for key in keys} | {"laborieux2024improving", "scurria2026equilibrium"}
    assert used == set(WORKS)
    assert set(SOURCES) - {"ResistorNetwork"} <= set(hp.__all__)
    for key, work in WORKS.items():
        assert {"title", "author", "year"} <= set(work.fields)
        assert work.fields["year"] in key and re.fullmatch(r"\d{4}", work.fields["year"])
        assert key.startswith(work.fields["author"].split(",")[0].lower())
        assert re.fullmatch(r"\d{4}\.\d{4,5}", work.fields.get("eprint", "0000.00000"))
    estimators = [getattr(hp, n) for n in hp.__all__ if isinstance(getattr(hp, n), type)]
    owing = {
        each.__name__
        for each in estimators
        if issubclass(each, hp.AbstractEstimator) and not each.__name__.startswith("Abstract")
    } - set(SOURCES)
    assert owing <= {"Unrolled"}  # backpropagation through time needs no citation of ours
