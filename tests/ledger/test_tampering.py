"""Somebody has the store, and no key: what he does is found, or the limit is shown.

Each attack is made on a trail that a witness signed at 10, 20 and 30 records and that
has five more since. In the same run the chain alone, as a naive trail has it, is asked:
it finds nothing, because the attacker makes every digest anew.
"""

from __future__ import annotations

import shutil

import pytest
from tests.ledger.staging import Stage, bent

from stead.adapters.ed25519 import Ed25519Signer
from stead.errors import LedgerUnavailableError, WitnessDisagreesError
from stead.ledger.checkpoint import Checkpoint, Note
from stead.ledger.findings import Wrong
from stead.ledger.tree import CompactRange, leaf_hash


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trail")
    folder.chmod(0o700)
    stage = Stage(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stead.adapters.store.evidence.SPACING", 5)
        for _ in range(3):
            stage.grow(10)
    stage.grow(5, witnessed=False)
    stage.back_up()
    return folder


@pytest.fixture
def stage(template, tmp_path):
    folder = tmp_path / "trail"
    shutil.copytree(template, folder)
    folder.chmod(0o700)
    return Stage(folder)


def _found(stage, **how):
    fault = stage.examine(**how).fault
    assert fault is not None
    return fault.wrong, fault.first, fault.last


def test_an_untouched_trail_verifies_and_is_vouched_for(stage):
    for how in ({}, {"leaves": True}, {"elsewhere": True}):
        report = stage.examine(**how)
        assert (None, 35, 30) == (report.fault, report.count, report.vouched.size)
    assert stage.examine(key=False).vouched is None
    assert stage.naive() is None


def test_a_record_changed_with_every_digest_made_anew_is_found(stage):
    bodies = stage.bodies()
    bodies[14] = bent(bodies[14])
    stage.forge(bodies)
    assert stage.naive() is None
    assert (Wrong.CHANGED, 15, 15) == _found(stage, leaves=True)
    assert (Wrong.CHANGED, 11, 20) == _found(stage)
    assert 10 == stage.examine().vouched.size


def test_a_record_changed_with_its_own_digest_is_found_without_a_witness(stage):
    stage.sql("UPDATE entry SET body = ? WHERE sequence = 15", bent(stage.bodies()[14]))
    assert 15 == stage.naive()
    assert (Wrong.CHANGED, 15, 15) == _found(stage, leaves=True)
    assert (Wrong.CHANGED, 14, 15) == _found(stage)


def test_a_rewritten_suffix_is_found(stage):
    bodies = stage.bodies()
    stage.forge([*bodies[:22], *map(bent, bodies[22:])])
    assert stage.naive() is None
    assert (Wrong.CHANGED, 23, 23) == _found(stage, leaves=True)
    assert (Wrong.CHANGED, 21, 30) == _found(stage)


def test_without_its_checkpoints_a_rewritten_suffix_is_found_with_those_elsewhere(
    stage,
):
    bodies = stage.bodies()
    stage.forge([*bodies[:22], *map(bent, bodies[22:])])
    stage.forget_checkpoints_above(0)
    assert stage.naive() is None
    # Nothing is vouched for any more, and that is said; it is no proof of a change.
    assert stage.examine().vouched is None
    assert (Wrong.CHANGED, 21, 30) == _found(stage, elsewhere=True)
    assert (Wrong.CHANGED, 23, 23) == _found(stage, elsewhere=True, leaves=True)


def test_an_old_backup_that_is_gone_on_with_is_found_by_witness_and_by_verify(
    tmp_path,
):
    tmp_path.chmod(0o700)
    stage = Stage(tmp_path)
    stage.grow(10)
    copy = stage.back_up()
    stage.grow(10)
    stage.restore(copy)
    with pytest.raises(WitnessDisagreesError, match="signed 20 records"):
        stage.witness()
    stage.grow(15, witnessed=False, object_name="forged")
    assert stage.naive() is None
    with pytest.raises(WitnessDisagreesError, match="first 20 records are not those"):
        stage.witness()
    assert (Wrong.CHANGED, 11, 20) == _found(stage, elsewhere=True)
    assert (Wrong.CHANGED, 11, 11) == _found(stage, elsewhere=True, leaves=True)


def test_a_server_that_does_not_compare_is_refused_by_the_witness(stage):
    from tests.ledger.staging import SIGNER, VERIFIER

    from stead.adapters.store import Store
    from stead.adapters.witness_files import WitnessFolder
    from stead.ledger.witness import Witness
    from stead.ledger.witness_wire import Extend, Refusal, Why

    leaves = tuple(map(leaf_hash, map(bent, stage.bodies())))
    with Store.open(stage.place) as store, WitnessFolder(stage.state) as folder:
        origin = f"stead/{store.accounts.domain()}"
        witness = Witness(folder, SIGNER, VERIFIER, stage.reports.append)
        for start, why in ((20, Why.OTHER_HISTORY), (31, Why.GAP)):
            answer = witness.answer(Extend(origin, start, leaves[start:]))
            assert isinstance(answer, Refusal)
            assert (why, 30) == (answer.why, answer.size)
        other = witness.answer(Extend("stead/S-1-5-21-9-9-9", 30, leaves[30:]))
        assert Why.OTHER_ORIGIN is other.why
    assert 3 == len(stage.reports)
    assert all(report.startswith("REFUSED to sign") for report in stage.reports)


def test_a_cut_tail_is_found_up_to_the_last_checkpoint(stage):
    stage.forge(stage.bodies()[:25])
    assert stage.naive() is None
    assert (Wrong.TRUNCATED, 26, 26) == _found(stage, leaves=True)
    assert (Wrong.TRUNCATED, 21, 26) == _found(stage)
    assert 20 == stage.examine().vouched.size
    with pytest.raises(WitnessDisagreesError):
        stage.witness()


def test_a_cut_tail_is_found_by_the_tree_if_that_was_left(stage):
    stage.sql("DELETE FROM entry WHERE sequence > 33")
    assert stage.naive() is None
    assert (Wrong.TRUNCATED, 31, 34) == _found(stage, leaves=True)
    assert (Wrong.TRUNCATED, 31, 34) == _found(stage)


def test_what_came_after_the_last_checkpoint_is_the_limit(stage):
    stage.forge(stage.bodies()[:31])
    assert stage.naive() is None
    report = stage.examine(leaves=True, elsewhere=True)
    assert (None, 30) == (report.fault, report.vouched.size)


def test_a_removed_middle_is_found(stage):
    bodies = stage.bodies()
    stage.forge(bodies[:12] + bodies[15:])
    assert stage.naive() is None
    assert (Wrong.MISSING, 13, 13) == _found(stage, leaves=True)
    assert (Wrong.CHANGED, 11, 20) == _found(stage)


def test_rows_that_were_taken_out_are_missing(stage):
    stage.sql("DELETE FROM entry WHERE sequence BETWEEN 13 AND 15")
    assert (Wrong.MISSING, 13, 13) == _found(stage, leaves=True)
    assert (Wrong.MISSING, 13, 13) == _found(stage)


def test_two_that_changed_places_are_found(stage):
    bodies = stage.bodies()
    bodies[12], bodies[16] = bodies[16], bodies[12]
    stage.forge(bodies)
    assert stage.naive() is None
    assert (Wrong.REORDERED, 13, 13) == _found(stage, leaves=True)
    assert (Wrong.CHANGED, 11, 20) == _found(stage)


def test_a_doubled_record_is_found(stage):
    bodies = stage.bodies()
    stage.forge([*bodies[:13], bodies[4], *bodies[13:]])
    assert stage.naive() is None
    assert (Wrong.DOUBLED, 14, 14) == _found(stage, leaves=True)
    assert (Wrong.CHANGED, 11, 20) == _found(stage)


def test_a_record_that_was_put_in_is_found(stage):
    bodies = stage.bodies()
    stage.forge([*bodies[:13], bent(bodies[4]), *bodies[13:]])
    assert stage.naive() is None
    assert (Wrong.INSERTED, 14, 14) == _found(stage, leaves=True)


def test_an_edited_tree_is_found_and_the_server_does_not_go_on_with_it(stage):
    stage.set_tree([b"anything"] * 35)
    assert stage.naive() is None
    assert (Wrong.CHANGED, 31, 35) == _found(stage)
    with pytest.raises(WitnessDisagreesError, match="tree is not that of its records"):
        stage.witness()
    stage.set_tree([b"anything"] * 36)
    with pytest.raises(LedgerUnavailableError, match="36 records and the store 35"):
        stage.grow(1)


def test_edited_checkpoints_are_found_and_do_not_hide_an_edited_record(stage):
    root = CompactRange().extend(map(leaf_hash, stage.bodies()[:20])).root()
    text = str(Checkpoint("stead/S-1-5-21-9-9-9", 20, root))
    stranger = Ed25519Signer("witness", bytes(32))
    for note in ("", "rubbish", text, str(Note(text, (stranger.sign(text),)))):
        stage.sql("UPDATE checkpoint SET note = ? WHERE size = 20", note)
        assert (Wrong.CHECKPOINT, 0, 0) == _found(stage)
        assert 30 == stage.examine().vouched.size
    bodies = stage.bodies()
    bodies[14] = bent(bodies[14])
    stage.forge(bodies)
    assert (Wrong.CHANGED, 11, 30) == _found(stage)
    assert (Wrong.CHANGED, 15, 15) == _found(stage, leaves=True, elsewhere=True)


def test_a_checkpoint_signed_with_another_key_vouches_for_nothing(stage):
    bodies = [bent(body) for body in stage.bodies()]
    stage.forge(bodies)
    stage.forget_checkpoints_above(0)
    tree = CompactRange().extend(map(leaf_hash, bodies))
    origin = stage.origin()
    text = str(Checkpoint(origin, 35, tree.root()))
    stranger = Ed25519Signer("witness", bytes(32))
    note = str(Note(text, (stranger.sign(text),)))
    stage.sql("INSERT INTO checkpoint VALUES (35, ?, ?)", note, tree.to_bytes())
    assert stage.naive() is None
    report = stage.examine()
    assert (Wrong.CHECKPOINT, None) == (report.fault.wrong, report.vouched)
    with pytest.raises(WitnessDisagreesError, match="not signed by witness"):
        stage.witness()


def test_a_replayed_old_checkpoint_hides_nothing_from_the_witness(stage):
    old = stage.sql("SELECT note, edge FROM checkpoint WHERE size = 10")[0]
    stage.forge(stage.bodies()[:12])
    stage.forget_checkpoints_above(10)
    assert [old] == stage.sql("SELECT note, edge FROM checkpoint")
    assert stage.naive() is None
    assert 10 == stage.examine().vouched.size  # and it says so
    assert (Wrong.TRUNCATED, 11, 13) == _found(stage, elsewhere=True)
    assert (Wrong.TRUNCATED, 13, 13) == _found(stage, elsewhere=True, leaves=True)
    with pytest.raises(WitnessDisagreesError, match="signed 30 records"):
        stage.witness()


def test_a_witness_that_forgot_is_not_believed(stage):
    for name in ("leaves", "notes", "edge"):
        (stage.state / name).unlink()
    with pytest.raises(
        WitnessDisagreesError, match="signed 30 records, and knows of 0"
    ):
        stage.witness()


def test_two_histories_under_one_key_are_found(stage):
    from tests.ledger.staging import SIGNER

    origin = stage.origin()
    text = str(Checkpoint(origin, 20, bytes(32)))
    note = str(Note(text, (SIGNER.sign(text),)))
    assert (Wrong.WITNESS, 20, 20) == _found(stage, notes=[note])


def test_a_changed_file_of_leaves_does_not_accuse_the_trail(stage):
    leaves = stage.state / "leaves"
    data = bytearray(leaves.read_bytes())
    data[32 * 14] ^= 1
    leaves.write_bytes(data)
    assert (Wrong.WITNESS, 1, 30) == _found(stage, leaves=True)


def test_records_removed_behind_a_forged_seal_are_found(stage):
    bodies = stage.bodies()
    edge = CompactRange().extend(map(leaf_hash, bodies[:20])).to_bytes()
    digest = stage.entries()[19].digest
    stage.sql(
        "INSERT INTO segment VALUES (1, 1, 20, ?, ?, 0, '', 21, 22)", digest, edge
    )
    stage.sql("DELETE FROM entry WHERE sequence <= 20")
    assert (Wrong.REMOVAL, 1, 20) == _found(stage)
    assert (Wrong.REMOVAL, 1, 20) == _found(stage, leaves=True)


@pytest.mark.parametrize("told", [1, 19, 20, 21, 35, 36, 1 << 62, -1])
def test_a_removal_that_no_record_tells_is_found_wherever_the_seal_points(stage, told):
    edge = CompactRange().extend(map(leaf_hash, stage.bodies()[:20])).to_bytes()
    digest = stage.entries()[19].digest
    stage.sql(
        "INSERT INTO segment VALUES (1, 1, 20, ?, ?, 0, '', 21, ?)", digest, edge, told
    )
    stage.sql("DELETE FROM entry WHERE sequence <= 20")
    assert (Wrong.REMOVAL, 1, 20) == _found(stage)
    assert (Wrong.REMOVAL, 1, 20) == _found(stage, leaves=True)
