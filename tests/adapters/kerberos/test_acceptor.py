"""Clients that show tickets: who they are, and everything that is no proof of it."""

import os
import random
import time

import gssapi
import pytest
from gssapi.raw import ChannelBindings, accept_sec_context
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.adapters.kerberos.stage import (
    DELEGATE,
    HTTP,
    KERBEROS,
    MUTUAL,
    SPNEGO,
    principal,
)

from stead.adapters.kerberos.acceptor import KerberosPackage
from stead.adapters.kerberos.proof import TrustedRealm, principal_of
from stead.adapters.kerberos.service import KerberosService
from stead.authority.packages import ChannelBinding
from stead.errors import (
    EvidenceRefusedError,
    NoCredentialsError,
    UnsafeConfigurationError,
)
from stead.model.token import ImpersonationLevel

IDENTIFY = MUTUAL | 0x2000
BOUND = ChannelBinding("tls-server-end-point", b"a certificate's hash")
NTLM = b"NTLMSSP\0\1\0\0\0\x97\x82\x08\xe2" + bytes(24)


@pytest.fixture(scope="module")
def package(stage):
    return KerberosPackage(stage.service())


def naive(stage, blob, **options):
    """What the library makes of a message, as most servers ask it."""
    creds = gssapi.Credentials(
        usage="accept", store={"keytab": f"FILE:{stage.keytab}", "rcache": "none:"}
    )
    return accept_sec_context(blob, creds, **options)


def accepted(package, blob, binding=None):
    return package.begin(binding).step(blob).client


def refused(package, blob, binding=None):
    exchange = package.begin(binding)
    with pytest.raises(EvidenceRefusedError) as caught:
        exchange.step(blob)
    with pytest.raises(EvidenceRefusedError):  # it is over
        exchange.step(blob)
    return caught.value


@pytest.mark.parametrize("mech", [KERBEROS, SPNEGO])
def test_a_ticket_says_who_its_client_is(stage, package, mech):
    context = stage.context(mech=mech)
    step = package.begin(None).step(context.step())
    client = step.client
    assert ("kerberos", "STEAD.TEST", "alice") == (
        client.package, client.issuer, client.name,
    )  # fmt: skip
    assert (ImpersonationLevel.IMPERSONATION, None, None) == (
        client.level, client.credentials, client.sids,
    )  # fmt: skip
    assert (False, False, ()) == (
        client.is_bound, client.is_verified_by_service, client.actors,
    )  # fmt: skip
    assert (("principal", "alice@STEAD.TEST"),) == client.details
    assert 3000 < client.expires / 1e9 - time.time() < 4000
    # The server proves itself with its reply.
    assert context.step(step.reply) is None
    assert "alice@STEAD.TEST" == str(context.initiator_name)


def test_its_name_says_what_it_takes(stage, package):
    assert "negotiate" == package.name
    plain = KerberosPackage(stage.service(), negotiates=False)
    assert "kerberos" == plain.name
    assert "alice" == accepted(plain, stage.context().step()).name
    refused(plain, stage.context(mech=SPNEGO).step())


def test_a_client_says_how_far_it_lets_the_server_go(stage, package):
    delegating = accepted(package, stage.context(flags=DELEGATE).step())
    assert ImpersonationLevel.DELEGATION is delegating.level
    held = delegating.credentials
    assert ("alice@STEAD.TEST", False) == (held.principal, held.is_constrained)
    heard = stage.back_end_hears(held.initiate("HTTP@back").step())
    assert "alice@STEAD.TEST" == heard
    delegating.close()
    for flags in (IDENTIFY, IDENTIFY | DELEGATE):
        looked_at = accepted(package, stage.context(flags=flags).step())
        assert (ImpersonationLevel.IDENTIFICATION, None) == (
            looked_at.level, looked_at.credentials,
        )  # fmt: skip


def test_what_a_client_did_not_delegate_is_not_taken_for_delegated(stage):
    """Neither the library's field nor its flag tells; ours looks at the ticket."""
    service = stage.service()
    both = service.both(negotiates=True)
    blob = stage.context().step()  # nothing is delegated
    library = accept_sec_context(blob, both)
    assert library.delegated_creds is not None
    assert gssapi.RequirementFlag.delegate_to_peer in library.flags
    package = KerberosPackage(service, targets=("HTTP@back",))
    for mech in (KERBEROS, SPNEGO):
        client = accepted(package, stage.context(mech=mech).step())
        assert ImpersonationLevel.IMPERSONATION is client.level
        held = client.credentials
        assert ("alice@STEAD.TEST", True) == (held.principal, held.is_constrained)
        with pytest.raises(NoCredentialsError, match="may not go"):
            held.initiate("HTTP@elsewhere")
        # This realm's database knows no constrained delegation: nobody may.
        with pytest.raises(NoCredentialsError) as caught:
            held.initiate("HTTP@back").step()
        assert "constrained" in caught.value.advice
        client.close()


@pytest.mark.parametrize("mech", [KERBEROS, SPNEGO])
def test_a_message_counts_once_in_all_processes(stage, package, mech, monkeypatch):
    monkeypatch.setenv("KRB5RCACHENAME", "none:")
    blob = stage.context(mech=mech).step()
    for _ in range(2):
        seen = naive(stage, blob)
        assert "alice@STEAD.TEST" == str(gssapi.Name(seen.initiator_name))
    assert "alice" == accepted(package, blob).name
    assert "is a replay" in str(refused(package, blob))
    refused(KerberosPackage(stage.service()), blob)  # as another process would


@pytest.mark.parametrize("mech", [KERBEROS, SPNEGO])
def test_a_message_is_bound_to_the_channel_where_there_is_one(stage, package, mech):
    def blob(data):
        binding = None if data is None else ChannelBindings(application_data=data)
        return stage.context(mech=mech, channel_bindings=binding).step()

    told = b"tls-server-end-point:a certificate's hash"
    ours = ChannelBindings(application_data=told)
    # A client that binds nothing is let in by the library: its message serves for
    # every channel, so whoever is between can send it on.
    assert naive(stage, blob(None), channel_bindings=ours).initiator_name
    assert "not bound" in str(refused(package, blob(None), BOUND))
    refused(package, blob(b"tls-server-end-point:another's"), BOUND)
    client = accepted(package, blob(told), BOUND)
    assert client.is_bound
    # Without a channel a client may bind what it likes.
    assert "alice" == accepted(package, blob(told)).name


def test_the_server_itself_is_no_client_of_its_own(stage, package):
    own = gssapi.Credentials(
        name=principal(HTTP), usage="initiate",
        store={"client_keytab": f"FILE:{stage.keytab}", "ccache": "MEMORY:own"},
    )  # fmt: skip
    blob = stage.context(creds=own).step()
    assert f"{HTTP}@STEAD.TEST" == str(gssapi.Name(naive(stage, blob).initiator_name))
    error = refused(package, stage.context(creds=own).step())
    assert "this server itself" in str(error)


def test_what_the_library_lets_pass_is_looked_at_again(stage, package):
    """Each would be somebody else's authentication, or nobody's."""
    blob = stage.context().step()
    accepted = package.accept(blob, None, None)
    assert "alice" == package.client(accepted, [blob], must_be_bound=False).name
    for changed in (
        {"mech": SPNEGO},
        {"initiator_name": None},
        {"flags": int(gssapi.RequirementFlag.anonymity)},
        {"delegated_creds": stage.ticket("bob")},
    ):
        with pytest.raises(EvidenceRefusedError):
            package.client(accepted._replace(**changed), [blob], must_be_bound=False)


@pytest.mark.parametrize("name", [b"a\xffe@STEAD.TEST", b"a" * 300, b"a\nb@STEAD.TEST"])
def test_a_name_that_cannot_be_written_down_is_nobodys(name):
    found = gssapi.raw.import_name(name, gssapi.NameType.kerberos_principal)
    with pytest.raises(EvidenceRefusedError):
        principal_of(found)


def test_a_realm_that_is_not_named_is_not_believed(stage):
    elsewhere = stage.service(
        realms=[TrustedRealm(name="OTHER.TEST", requires_pac=False)]
    )
    error = refused(KerberosPackage(elsewhere), stage.context().step())
    assert "not believed" in str(error)


def test_a_ticket_that_tells_no_groups_does_not_do_where_they_are_told(stage):
    told = TrustedRealm(name="STEAD.TEST")
    package = KerberosPackage(stage.service(realms=[told]))
    assert "groups" in str(refused(package, stage.context().step()))


def test_a_ticket_for_another_key_of_the_file_is_not_for_this_service(stage):
    keytab = stage.realm.add_service("ldap/localhost")
    stage.realm._administer(f"ktadd -norandkey -k {keytab} {HTTP}")
    realms = [TrustedRealm(name="STEAD.TEST", requires_pac=False)]
    replays = stage.folder / "replays"

    def blob():
        return stage.context(target="ldap/localhost").step()

    one = KerberosService(keytab, HTTP, realms=realms, replay_cache=replays)
    refused(KerberosPackage(one), blob())
    every = KerberosService(
        keytab, HTTP, realms=realms, replay_cache=replays, any_key=True
    )
    assert "alice" == accepted(KerberosPackage(every), blob()).name


def test_a_client_lasts_as_long_as_its_ticket(stage, package):
    short = stage.realm.log_on("bob", "lion", options="-l 60s")
    creds = gssapi.Credentials(usage="initiate", store={"ccache": short})
    blob = stage.context(creds=creds).step()
    client = accepted(package, blob)
    # The library adds what clocks may differ by; nothing is added to that.
    assert client.expires / 1e9 - time.time() <= 361


@pytest.mark.parametrize(
    "blob",
    [
        b"", b"\0", NTLM, b"Negotiate", b"\x60", b"\x60\x82\xff\xff" + b"A" * 20,
        b"\x60\x06\x06\x06\x2b\x06\x01\x05\x05\x02", b"A" * (1 << 18),
        bytes.fromhex("6019060a2b0601050502a00f300da00b3009"),
    ],
)  # fmt: skip
def test_what_is_no_message_is_refused_in_one_way(package, blob):
    refused(package, blob)


def test_an_exchange_of_other_mechanisms_comes_to_no_end(package):
    ntlm_only = bytes.fromhex(
        "601c06062b0601050502a0123010a00e300c060a2b06010401823702020a"
    )
    refused(package, ntlm_only)
    krb_later = bytes.fromhex(
        "602706062b0601050502a01d301ba019301706092a864882f712010202"
        "060a2b06010401823702020a"
    )
    exchange = package.begin(None)
    step = exchange.step(krb_later)
    assert step.client is None
    assert step.reply
    with pytest.raises(EvidenceRefusedError):
        exchange.step(b"\xa1\x02\x30\x00")
    exchange.close()


@pytest.fixture(scope="module")
def blobs(stage):
    context = ChannelBindings(application_data=b"tls-server-end-point:x")
    return [
        stage.context(mech=mech, flags=flags, channel_bindings=context).step()
        for mech in (KERBEROS, SPNEGO)
        for flags in (MUTUAL, DELEGATE)
    ]


@settings(max_examples=300)
@given(data=st.data())
def test_a_message_that_was_changed_gets_no_other_answer(package, blobs, data):
    blob = bytearray(data.draw(st.sampled_from(blobs)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(blob) - 1))
        how = data.draw(st.sampled_from(["flip", "cut", "drop", "repeat", "insert"]))
        if how == "flip":
            blob[at] ^= data.draw(st.integers(1, 255))
        elif how == "cut":
            del blob[max(at, 1) :]
        elif how == "drop":
            del blob[at : at + data.draw(st.integers(1, 9))]
        elif how == "repeat":
            blob[at:at] = blob[: data.draw(st.integers(1, 40))]
        else:
            blob[at:at] = data.draw(st.binary(max_size=9))
        if not blob:
            break
    exchange = package.begin(None)
    try:
        step = exchange.step(bytes(blob))
    except EvidenceRefusedError:
        return
    finally:
        exchange.close()
    # Unchanged in what counts (a length written otherwise): the same client, once.
    assert step.client is None or "alice" == step.client.name


def test_noise_is_refused_whatever_it_begins_with(package):
    chosen = random.Random(86)  # noqa: S311 - the same noise each time
    heads = (
        b"",
        b"\x60",
        NTLM[:12],
        b"\xa1\x82",
        bytes.fromhex("6081ff06062b0601050502"),
    )
    for number in range(1500):
        blob = heads[number % len(heads)] + chosen.randbytes(chosen.randrange(1, 300))
        exchange = package.begin(None)
        with pytest.raises(EvidenceRefusedError):
            exchange.step(blob)


def test_keys_that_others_have_are_refused(stage, tmp_path):
    realms = [TrustedRealm(name="STEAD.TEST", requires_pac=False)]
    copied = tmp_path / "copied.keytab"
    copied.write_bytes(stage.keytab.read_bytes())
    for mode, is_safe in ((0o600, True), (0o640, True), (0o644, False), (0o660, False)):
        copied.chmod(mode)
        if is_safe:
            assert KerberosService(copied, HTTP, realms=realms).own
        else:
            with pytest.raises(UnsafeConfigurationError) as caught:
                KerberosService(copied, HTTP, realms=realms)
            assert "chmod 0600" in caught.value.advice
    link = tmp_path / "link.keytab"
    link.symlink_to(copied)
    copied.chmod(0o600)
    os.chown(copied, 12345, -1)
    for path in (link, copied, tmp_path, tmp_path / "none"):
        with pytest.raises(UnsafeConfigurationError):
            KerberosService(path, HTTP, realms=realms)
    os.chown(copied, 0, -1)
    copied.write_bytes(b"\5\2\0\0")
    for principal_name in (HTTP, "HTTP/other"):
        with pytest.raises(UnsafeConfigurationError):
            KerberosService(copied, principal_name, realms=realms)


def test_keys_that_are_gone_later_are_an_error_of_the_servers(stage, tmp_path):
    copied = tmp_path / "copied.keytab"
    copied.write_bytes(stage.keytab.read_bytes())
    copied.chmod(0o600)
    realms = [TrustedRealm(name="STEAD.TEST", requires_pac=False)]
    package = KerberosPackage(KerberosService(copied, HTTP, realms=realms))
    copied.unlink()
    with pytest.raises(NoCredentialsError):
        package.begin(None).step(stage.context().step())
    with pytest.raises(NoCredentialsError, match="no key"):
        stage.service().both("nobody@STEAD.TEST", negotiates=False)
