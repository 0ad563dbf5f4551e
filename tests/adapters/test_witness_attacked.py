"""A witness whose files were lost or bent, or that is asked to sign for no trail."""

from __future__ import annotations

import pytest
from tests.adapters.witness_stage import (
    LEAVES,
    ORIGIN,
    VERIFIER,
    end,
    is_signed,
)

from stead.adapters.witness_files import notes_of
from stead.errors import InvalidCheckpointError, InvalidRequestError, LedgerCorruptError
from stead.ledger.checkpoint import Checkpoint, signed_checkpoint
from stead.ledger.witness_wire import Ask, Extend, Refusal, Standing, Why


@pytest.mark.parametrize(
    "left",
    [
        lambda text: text[:0],
        lambda text: text[:40],
        lambda text: "\0" * len(text),
        lambda text: "x" * len(text),
        lambda text: text.replace("\u2014", "-"),
        lambda text: text[: len(text) // 2 + 20],
        lambda text: text[: text.index("stead/", 1)],
    ],
)
@pytest.mark.parametrize("has_elsewhere", [True, False])
def test_a_witness_that_lost_notes_does_not_begin_anew(
    open_witness, state, tmp_path, left, has_elsewhere
):
    elsewhere = tmp_path / "elsewhere" if has_elsewhere else None
    witness = open_witness(elsewhere)
    witness.answer(Extend(ORIGIN, 0, LEAVES[:7]))
    witness.answer(Extend(ORIGIN, 7, LEAVES[7:9]))
    end(witness)
    if has_elsewhere:
        (state / "edge").unlink()  # what was kept elsewhere alone shows it
    notes = state / "notes"
    notes.write_text(left(notes.read_text()))
    before = {path.name: path.read_bytes() for path in state.iterdir()}
    for _ in range(2):
        with pytest.raises((LedgerCorruptError, InvalidRequestError)) as caught:
            open_witness(elsewhere)
        assert "evidence" in caught.value.advice
    after = {path.name: path.read_bytes() for path in state.iterdir()}
    assert before["leaves"] == after["leaves"]
    # A torn note is cut off; what cannot be one is left alone.
    assert before["notes"].startswith(after["notes"])


def test_leaves_beyond_a_batch_are_not_cut_off(open_witness, state):
    witness = open_witness()
    witness.answer(Extend(ORIGIN, 0, LEAVES[:7]))
    end(witness)
    (state / "edge").unlink()
    for notes, more in (("", 16_385), ((state / "notes").read_text(), 16_392)):
        (state / "notes").write_text(notes)
        (state / "leaves").write_bytes(bytes(32 * more))
        with pytest.raises(LedgerCorruptError):
            open_witness()
        assert 32 * more == (state / "leaves").stat().st_size


@pytest.mark.parametrize(
    "text",
    ["my precious words\n", "stead\n", "\0" * 10, "a\n\n\u2014 b c\n", "x" * 20_000],
)
def test_a_file_elsewhere_that_holds_something_else_is_left_alone(
    open_witness, tmp_path, text
):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text(text)
    with pytest.raises(InvalidRequestError) as caught:
        open_witness(elsewhere)
    assert caught.value.advice
    assert text == elsewhere.read_text()


def test_a_file_elsewhere_that_is_replaced_meanwhile_is_left_alone(
    open_witness, tmp_path
):
    elsewhere = tmp_path / "elsewhere"
    witness = open_witness(elsewhere)
    witness.answer(Extend(ORIGIN, 0, LEAVES[:7]))
    elsewhere.write_text("my precious words\n")
    answer = witness.answer(Extend(ORIGIN, 7, LEAVES[7:9]))
    assert (Refusal, Why.NOT_NOW) == (type(answer), answer.why)
    assert "my precious words\n" == elsewhere.read_text()


def test_an_edge_that_cannot_be_kept_costs_no_history(open_witness, state):
    witness = open_witness()
    witness.answer(Extend(ORIGIN, 0, LEAVES[:7]))
    (state / ".edge").mkdir()  # writing it fails
    assert is_signed(witness.answer(Extend(ORIGIN, 7, LEAVES[7:9])), 9)
    assert "no edge could be kept" in witness.reports[0]
    other = witness.answer(Extend(ORIGIN, 7, (bytes(32), bytes(32))))
    assert Why.OTHER_HISTORY is other.why
    end(witness)
    assert is_signed(open_witness().answer(Ask(ORIGIN)), 9)


@pytest.mark.parametrize("is_written", [True, False, None])
def test_after_a_note_that_may_be_kept_it_answers_nothing_until_it_looked(
    open_witness, state, is_written
):
    witness = open_witness()
    witness.answer(Extend(ORIGIN, 0, LEAVES[:7]))
    folder = witness.folder
    keep, read = folder.keep_note, folder.last_note

    def fail(note=""):
        raise OSError(5, "Input/output error")

    def keep_note(note):
        if is_written is None:
            with (state / "notes").open("a") as file:
                file.write(note[:90])
        elif is_written:
            keep(note)
        fail()

    folder.keep_note, folder.last_note = keep_note, fail
    asked = Extend(ORIGIN, 7, LEAVES[7:9])
    for question in (asked, Ask(ORIGIN), Extend(ORIGIN, 7, (bytes(32),))):
        assert Why.NOT_NOW is witness.answer(question).why
    folder.keep_note, folder.last_note = keep, read
    # Another history of that size is signed only if none was.
    answer = witness.answer(Extend(ORIGIN, 7, (bytes(32), bytes(32))))
    if is_written:
        assert (Why.OTHER_HISTORY, 9) == (answer.why, answer.size)
        assert is_signed(witness.answer(asked), 9)
    else:
        assert isinstance(answer, Standing)
    sizes = [signed_checkpoint(n, VERIFIER, ORIGIN).size for n in notes_of(state)]
    assert [7, 9] == sizes


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "anything",
        "S-1-5-21-1-2-3",
        "stead/",
        "stead/S-1-5-21-1-2-0x3",
        ORIGIN + "\n",
        " " + ORIGIN,
        f"{ORIGIN}\n1000000\nRkZGRkZGRkZGRkZGRkZGRkZGRkZGRkZGRkZGRkZGRkY=",
        ORIGIN + "\0",
    ],
)
def test_an_origin_that_is_none_is_not_signed(witness, state, origin):
    for question in (Extend(origin, 0, LEAVES[:2]), Ask(origin)):
        assert Why.OTHER_ORIGIN is witness.answer(question).why
    assert 0 == (state / "notes").stat().st_size
    assert [] == [line for line in witness.reports if set(line) & set("\n\0")]
    assert is_signed(witness.answer(Extend(ORIGIN, 0, LEAVES[:2])), 2)
    with pytest.raises(InvalidCheckpointError):
        Checkpoint(origin, 2, bytes(32))


def test_a_witness_of_one_trail_takes_no_other(open_witness, state):
    other = "stead/S-1-5-21-9-9-9"
    pinned = open_witness(origin=ORIGIN)
    assert Why.OTHER_ORIGIN is pinned.answer(Extend(other, 0, LEAVES[:2])).why
    assert is_signed(pinned.answer(Extend(ORIGIN, 0, LEAVES[:2])), 2)
    end(pinned)
    with pytest.raises(InvalidRequestError, match="not of stead/S-1-5-21-9-9-9"):
        open_witness(origin=other)
