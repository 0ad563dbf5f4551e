"""What fuzzing found worth keeping is read again in every run of the tests."""

from contextlib import suppress

import pytest
from tests.fuzz import coverage_guided
from tests.fuzz.targets import CORPUS, TOKENS, codec_targets

from stead.errors import SteadError

TARGETS = {target.name: target for target in codec_targets()}


@pytest.mark.parametrize("name", TARGETS)
def test_kept_input_is_refused_with_our_errors_or_holds_the_law(name):
    for path in (CORPUS / name).iterdir():
        with suppress(SteadError):
            TARGETS[name].read(path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_a_corpus_is_small(name):
    sizes = [path.stat().st_size for path in (CORPUS / name).iterdir()]
    assert 0 < len(sizes) <= coverage_guided.MOST_KEPT
    assert max(sizes) <= coverage_guided.LONGEST_KEPT


def test_every_corpus_has_its_target():
    assert set(TARGETS) == {path.name for path in CORPUS.iterdir()}


def test_of_inputs_that_reach_the_same_the_shortest_is_kept():
    read = TARGETS["sid-text"].read
    same = [b"S-1-5-7654", b"S-1-5-76543"]
    assert same[:1] == coverage_guided.distill(read, same[::-1])


def test_inputs_that_reach_something_of_their_own_are_kept():
    read = TARGETS["sddl"].read
    inputs = [b"O:BA", b"D:(A;;GA;;;WD)", b"D:(A;;GA;;;AN)"]
    assert set(inputs[:1] + inputs[2:]) == set(coverage_guided.distill(read, inputs))


def test_no_more_inputs_are_kept_than_a_corpus_holds(monkeypatch):
    monkeypatch.setattr(coverage_guided, "MOST_KEPT", 1)
    read = TARGETS["sddl"].read
    assert [b"D:(A;;GA;;;WD)"] == coverage_guided.distill(
        read, [b"O:BA", b"D:(A;;GA;;;WD)"]
    )


def test_an_input_that_is_long_is_not_kept():
    long = b"O:" + b" " * coverage_guided.LONGEST_KEPT
    assert [] == coverage_guided.distill(TARGETS["sddl"].read, [long])


def test_the_dictionary_is_in_the_spelling_of_the_fuzzer():
    assert r'"\x4f\x3a"' == coverage_guided.dictionary(TOKENS).splitlines()[0]


def test_keeping_distills_what_was_found(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(coverage_guided, "FOUND", tmp_path / "found")
    monkeypatch.setattr("tests.fuzz.targets.CORPUS", tmp_path / "corpus")
    (tmp_path / "found" / "sid-text").mkdir(parents=True)
    for number in (8765, 8764):
        found = tmp_path / "found" / "sid-text" / str(number)
        found.write_bytes(b"S-1-5-%d" % number)
    coverage_guided.keep("sid-text")
    (kept,) = (tmp_path / "corpus" / "sid-text").iterdir()
    assert b"S-1-5-8764" == kept.read_bytes()
    assert "sid-text: 1 of 2 inputs are kept\n" == capsys.readouterr().out


def test_a_target_that_is_not_there_is_named():
    with pytest.raises(SystemExit, match="no target `sid`; there are binary-"):
        coverage_guided.load("sid")


def test_without_atheris_one_is_told_how_to_install_it(monkeypatch):
    monkeypatch.setitem(coverage_guided.sys.modules, "atheris", None)
    with pytest.raises(SystemExit, match="pip install --group fuzz"):
        coverage_guided.imported_atheris()
