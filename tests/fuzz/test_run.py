"""The fuzzer itself: it runs, and it notices what it is there to notice."""

import importlib.util
import sys
from pathlib import Path

import pytest


@pytest.fixture
def fuzzer():
    path = Path(__file__).with_name("run.py")
    spec = importlib.util.spec_from_file_location("stead_fuzz", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_every_reader_refuses_what_is_malformed_and_nothing_else_escapes(fuzzer):
    assert 0 == fuzzer.run(3.0, seed=1)


def test_every_seed_is_accepted_as_it_is(fuzzer):
    for target in fuzzer.targets():
        for seed in target.seeds:
            target.read(seed)


def test_an_error_that_is_not_ours_is_noticed(fuzzer, monkeypatch, capsys):
    def careless(data):
        raise ZeroDivisionError

    broken = fuzzer.Target("careless", (b"seed",), careless)
    monkeypatch.setattr(fuzzer, "targets", lambda: [broken])

    assert 1 == fuzzer.run(3.0, seed=1)
    assert "careless broke with seed 1 on b'" in capsys.readouterr().out


def test_a_reader_that_breaks_its_law_is_noticed(fuzzer, monkeypatch, capsys):
    def forgetful(data):
        assert data == b""

    broken = fuzzer.Target("forgetful", (b"seed",), forgetful)
    monkeypatch.setattr(fuzzer, "targets", lambda: [broken])

    assert 1 == fuzzer.run(3.0, seed=1)
    assert "forgetful broke" in capsys.readouterr().out
