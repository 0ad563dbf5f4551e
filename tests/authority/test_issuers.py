"""What could not be meant of an issuer is refused where it is written."""

import time

import pytest

from stead.authority.issuers import Issuer, Issuers
from stead.errors import InvalidRequestError, UnsafeConfigurationError
from stead.model.sid import Sid

DOMAIN = Sid.from_string("S-1-5-21-1-2-3")
OWN = Sid.from_string("S-1-5-21-9-9-9")


@pytest.mark.parametrize(
    ("settings", "said", "advice"),
    [
        ({"name": ""}, "has a name", "realm"),
        ({"domains": "S-1-5-21-1-2-3"}, "one by one", r"`domains=\[...\]`"),
        ({"host_lasts": -1.0}, "0 to 60 seconds", "host_lasts=1.0"),
        ({"host_lasts": 60.1}, "0 to 60 seconds", "leave it out"),
        ({"host_lasts": float("nan")}, "0 to 60 seconds", "each time"),
        ({"same_people_as": "B"}, "names no accounts", "`names_accounts=True`"),
        ({"packages": "kerberos"}, "one by one", r"`packages=\[...\]`"),
        ({"domains": ["S-1-5-21-1-2-3"]}, "no domain's SID", "Sid.from_string"),
        ({"domains": [Sid.from_string("S-1-5-32")]}, "no domain's SID", "S-1-5-21-a"),
        ({"group_domains": "S-1-5-21-1-2-3"}, "one by one", r"`domains=\[...\]`"),
        (
            {"domains": [OWN], "group_domains": [Sid.from_string("S-1-5-32")]},
            "no domain's SID",
            "S-1-5-21-a",
        ),
        ({"group_domains": [DOMAIN]}, "members of an issuer's own", "`domains`"),
    ],
)
def test_an_issuer_is_refused_with_what_to_write(settings, said, advice):
    with pytest.raises(InvalidRequestError, match=said) as caught:
        Issuer(**{"name": "AD.EXAMPLE", **settings})
    assert caught.match(f"what to do: .*{advice}")


def test_a_server_has_issuers_each_by_one_name():
    ad = Issuer("AD.EXAMPLE", domains=[DOMAIN])
    assert [ad] == list(Issuers([ad], OWN, time.monotonic_ns))
    for issuers, said in (
        ("AD.EXAMPLE", "not names"),
        (["AD.EXAMPLE"], "not names"),
        ([ad, Issuer("AD.EXAMPLE")], "have one name"),
        ([Issuer("EVIL", domains=[OWN])], "the store's own accounts"),
        (
            [Issuer("EVIL", domains=[DOMAIN], group_domains=[OWN])],
            "the store's own accounts",
        ),
    ):
        with pytest.raises(InvalidRequestError, match=said) as caught:
            Issuers(issuers, OWN, time.monotonic_ns)
        assert caught.value.advice


@pytest.mark.parametrize(
    "issuers",
    [
        [Issuer("ad", domains=[DOMAIN]), Issuer("pki"), Issuer("idp")],
        [Issuer("ad", names_accounts=True), Issuer("pki"), Issuer("idp")],
        [
            Issuer("pki", names_accounts=True, same_people_as="ad"),
            Issuer("ad", names_accounts=True),
            Issuer("idp", names_accounts=True, same_people_as="ad"),
        ],
    ],
    ids=["none names accounts", "one does", "all mean the same people"],
)
def test_issuers_that_name_the_same_people_may_all_name_accounts(issuers):
    assert issuers == list(Issuers(issuers, OWN, time.monotonic_ns))


@pytest.mark.parametrize(
    ("same_people", "said", "advice"),
    [
        ({"ad": "", "pki": ""}, "`ad` and `pki` both name", '`same_people_as="ad"`'),
        ({"ad": "", "pki": "ad", "idp": ""}, "`ad` and `idp`", "of `idp`"),
        ({"ad": "", "pki": "other"}, "`ad` and `pki`", '`same_people_as="ad"`'),
        ({"ad": "", "pki": "ad", "idp": "pki"}, "`ad` and `idp`", "account alias"),
        ({"pki": "ad"}, "the same people as `ad`", "among the `issuers`"),
        ({"ad": "pki", "pki": "ad"}, "by itself", "`names_accounts=True`"),
        ({"pki": "pki"}, "by itself", "`names_accounts=True`"),
    ],
)
def test_two_issuers_name_accounts_only_where_they_mean_the_same_people(
    same_people, said, advice
):
    issuers = [
        Issuer(name, names_accounts=True, same_people_as=other)
        for name, other in same_people.items()
    ]
    with pytest.raises(UnsafeConfigurationError, match=said) as caught:
        Issuers(issuers, OWN, time.monotonic_ns)
    assert advice in caught.value.advice
