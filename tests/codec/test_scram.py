"""SCRAM's messages and keys: the example of RFC 7677, and no error but one."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead.codec import scram
from stead.errors import RemoteProtocolError
from stead.model.scram_verifier import ScramVerifier

# RFC 7677 3
FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
CHALLENGE = (
    b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
    b"s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
)
FINAL = (
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
    b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
)
SIGNATURE = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
MESSAGES = (FIRST, CHALLENGE, FINAL, SIGNATURE)
READERS = (
    scram.read_client_first,
    scram.read_server_first,
    scram.read_client_final,
    scram.read_server_final,
)


def test_the_example_of_the_specification_is_computed():
    first, asked = scram.read_client_first(FIRST), scram.read_server_first(CHALLENGE)
    final = scram.read_client_final(FINAL)
    said = scram.conversation(first, asked, final.bare)
    keys = scram.keys_of(b"pencil", asked.salt, asked.iterations)
    assert final.proof == scram.proof_of(keys, said)
    verifier = scram.make_verifier(b"pencil", asked.salt, asked.iterations)
    assert scram.is_proof(verifier, said, final.proof)
    assert not scram.is_proof(verifier, said + b"x", final.proof)
    signature = scram.signature_of(verifier.server_key, said)
    assert SIGNATURE == scram.write_server_final(signature)
    assert signature == scram.read_server_final(SIGNATURE)


def test_the_example_is_written():
    first = scram.write_client_first("user", "rOprNGfwEbeRWgbNEkqO", "n")
    assert scram.read_client_first(FIRST) == first
    asked = scram.read_server_first(CHALLENGE)
    assert asked == scram.write_server_first(asked.nonce, asked.salt, 4096)
    bare = scram.write_client_final_bare("n,,", b"", asked.nonce)
    proof = scram.read_client_final(FINAL).proof
    assert FINAL == scram.write_client_final(bare, proof)


@pytest.mark.parametrize("name", ["alice", "a,b=c", "=2C", "李", "a b"])
def test_a_name_is_read_as_it_was_written(name):
    first = scram.write_client_first(name, "abc", "p=tls-exporter")
    assert (name, "p", "tls-exporter") == (first.name, first.flag, first.kind)
    assert "p=tls-exporter,," == first.header


def test_a_name_may_be_left_to_the_protocol_around():
    assert "" == scram.read_client_first(b"n,,n=,r=abc").name


def test_what_extends_a_message_is_kept_and_not_understood():
    assert "n=a,r=b,x=1" == scram.read_client_first(b"y,,n=a,r=b,x=1").bare
    final = scram.read_client_final(FINAL.replace(b",p=", b",x=1,y=2,p="))
    assert final.bare.endswith(",x=1,y=2")
    assert scram.read_server_final(SIGNATURE + b",x=1")
    assert 4096 == scram.read_server_first(CHALLENGE + b",x=1").iterations


@pytest.mark.parametrize(
    "message",
    [
        b"", b"n", b"n,,", b"n,,n=a", b"x,,n=a,r=b", b"N,,n=a,r=b", b"p,,n=a,r=b",
        b"p=,,n=a,r=b", b"p=tls unique,,n=a,r=b", b"n,a=bob,n=a,r=b", b"n,x,n=a,r=b",
        b"n,,r=b,n=a", b"n,,m=x,n=a,r=b", b"n,,n=a,r=b,m=x", b"n,,n=a,r=",
        b"n,,n=a,r=\x7f", b"n,,n=a,r=b,x", b"n,,n=a,r=b,", b"n,,n=a=b,r=b",
        b"n,,n=a=2c,r=b", b"n,,n=\xff,r=b", b"n,,n=a\0,r=b", b"n,,n=a,r=\xc3\xa9",
        b"n,,n=a,r=" + b"x" * scram.LONGEST_MESSAGE,
    ],
)  # fmt: skip
def test_what_is_no_first_message_is_refused(message):
    with pytest.raises(RemoteProtocolError):
        scram.read_client_first(message)


@pytest.mark.parametrize(
    "message",
    [
        b"e=other-error", b"r=a,s=QUJD,i=0", b"r=a,s=QUJD,i=04096",
        b"r=a,s=QUJD,i=4095", b"r=a,s=QU JD,i=4096",
        b"r=a,s=QUJD,i=-4096", b"r=a,s=QUJD,i=10000001", b"r=a,s=QUJD,i=" + b"9" * 5000,
        b"r=a,s=,i=4096", b"r=a,s=QUJ,i=4096", b"r=a,s=QUJDRR==,i=4096",
        b"r=a,i=4096,s=QUJD", b"s=QUJD,r=a,i=4096", b"r=a,s=QUJD",
        b"r=a,s=QUJD,i=4096,m=x", b"r=a,s=\xc3\xa9,i=4096", b"m=x,r=a,s=QUJD,i=4096",
        "r=a,s=QUJD,i=\u0664\u0660\u0669\u0666".encode(),
    ],
)  # fmt: skip
def test_what_is_no_challenge_is_refused(message):
    with pytest.raises(RemoteProtocolError):
        scram.read_server_first(message)


@pytest.mark.parametrize(
    "message",
    [
        b"", b"c=biws,r=a", b"c=biws,r=a,p=QUJD", b"r=a,c=biws," + FINAL[-46:],
        FINAL[:-1], FINAL + b",x=1", FINAL.replace(b"c=biws", b"c=biw"),
        FINAL.replace(b",p=", b",m=x,p="), FINAL.replace(b"r=", b"r=\n"),
        FINAL.replace(b"c=", b"d="), FINAL.replace(b"p=", b"q="),
        FINAL.replace(b"VQ=", b"VR="),  # the same bytes in another spelling
    ],
)  # fmt: skip
def test_what_is_no_answer_is_refused(message):
    with pytest.raises(RemoteProtocolError):
        scram.read_client_final(message)


@pytest.mark.parametrize(
    "message", [b"", b"e=invalid-proof", b"v=", b"v=\n", b"x=1,v=QUJD", b"v=QUJD,x"]
)
def test_what_is_no_proof_of_the_server_is_refused(message):
    with pytest.raises(RemoteProtocolError):
        scram.read_server_final(message)


@given(st.binary(max_size=80), st.sampled_from(READERS))
def test_no_bytes_raise_anything_else(message, read):
    said = ""
    try:
        read(message)
    except RemoteProtocolError as error:
        said = str(error)
    assert "\n" not in said


@given(
    st.sampled_from(list(zip(MESSAGES, READERS, strict=True))),
    st.integers(0, 120),
    st.binary(max_size=4),
    st.integers(0, 4),
)  # fmt: skip
def test_no_mutation_raises_anything_else(case, place, inserted, dropped):
    message, read = case
    mutated = message[:place] + inserted + message[place + dropped :]
    try:
        made = read(mutated)
    except RemoteProtocolError:
        return
    # Whatever is read was there: nothing is made up, and nothing is spelled two ways.
    if isinstance(made, scram.ClientFinal):
        assert base64.b64encode(made.proof) in mutated


def test_no_key_is_shown():
    keys = scram.keys_of(b"pencil", b"salt" * 4, 4096)
    assert repr(keys) == "ScramKeys()"
    verifier = ScramVerifier(b"salt", 4096, b"stored-key", b"server-key")
    assert "key" not in repr(verifier)
    final = scram.read_client_final(FINAL)
    assert "proof" not in repr(final)
    assert "dHzb" not in repr(final)
