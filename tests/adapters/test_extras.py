"""What is imported without its extra says which extra that is."""

import subprocess
import sys
from importlib import import_module

import pytest

from stead.adapters.extras import require_extra
from stead.errors import EnforcementUnavailableError, MissingExtraError


def test_a_library_that_is_there_is_nothing_to_speak_of():
    require_extra("server", "sqlite3", "json")
    assert "sqlite3" in sys.modules  # the store's; and looking imports nothing
    require_extra("x", "antigravity")
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize(
    ("package", "library", "extra"),
    [
        ("stead.adapters.kerberos", "gssapi", "kerberos"),
        ("stead.adapters.oidc", "joserfc", "oidc"),
        ("stead.adapters.certificates", "cryptography", "tls"),
        ("stead.gates.grpc", "grpc", "grpc"),
        ("stead.adapters.store", "sqlalchemy", "server"),
        ("stead.adapters.store", "msgspec", "server"),
        ("stead.gates.pipe", "msgspec", "server"),
        ("stead.testing.certificates", "cryptography", "tls"),
        ("stead.adapters.argon2", "argon2", "password"),
        ("stead.adapters.ed25519", "cryptography", "witness"),
        ("stead.adapters.end_point", "cryptography", "tls"),
        ("stead.adapters.kerberos_ticket", "gssapi", "kerberos"),
        ("stead.adapters.kerberos_verifier", "gssapi", "kerberos"),
        ("stead.adapters.ntlm", "spnego", "ntlm"),
        ("stead.adapters.sinks.otlp", "opentelemetry", "otel"),
        ("stead.gates.pipe.kerberos_client", "gssapi", "kerberos"),
        ("stead.gates.proxy.uvicorn_peer", "uvicorn", "http"),
        ("stead.server.fastapi", "starlette", "http"),
    ],
)
def test_what_is_imported_names_the_extra_that_it_needs(
    monkeypatch, package, library, extra
):
    inside = [name for name in sys.modules if f"{name}.".startswith(f"{package}.")]
    for name in inside:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=f"`{library}` cannot") as caught:
        import_module(package)
    assert f"`pip install 'stead[{extra}]'`" == caught.value.advice
    # Who looks for an optional library, and who looks for what Stead cannot do here.
    assert isinstance(caught.value, ImportError)
    assert library == caught.value.name
    assert isinstance(caught.value, EnforcementUnavailableError)


def test_a_first_program_without_extras_is_told_which_it_needs():
    # As after `pip install stead`: none of the libraries is there.
    program = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(['sqlalchemy', 'msgspec']))\n"
        "from stead import ProtectedServer\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert "`sqlalchemy` and `msgspec` cannot be imported" in ran.stderr
    assert "`pip install 'stead[server]'`" in ran.stderr
