"""How every verb speaks: one line for an error, nothing that a terminal acts on."""

import json
import os
import subprocess
import sys
from importlib.metadata import version

import pytest

from stead.cli.opening import opened
from stead.cli.output import printable
from stead.errors import StoreUnavailableError
from stead.model.audit_record import AuditEvent
from stead.server.enforcement import Enforcement
from stead.server.protected_server import ProtectedServer

HOSTILE = "\x1b]0;owned\x07\x9b2Jplan\nfake \u202eline"


@pytest.mark.parametrize(
    "verb",
    [
        ("account", "list"), ("group", "list"), ("privilege", "list"), ("whoami",),
        ("audit", "list"), ("audit", "verify"), ("check", "bob", "plan", "READ"),
        ("doctor",),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_store_that_is_not_there_is_named_and_not_made(process, private, verb):
    missing = private / "missing.db"

    ran = process(*verb, "--store", missing)

    assert (1, "") == (ran.status, ran.out)
    assert f"stead: there is no store `{missing}`" == ran.err.splitlines()[0]
    assert not missing.exists()


def test_it_says_which_version_it_is_and_by_itself_what_it_can_do(process):
    said, helped = process("--version"), process()
    assert (0, f"stead {version('stead')}") == (said.status, said.out.strip())
    assert 2 == helped.status
    assert "Act in a client's stead" in helped.out + helped.err
    assert "--version" in helped.out + helped.err


@pytest.mark.parametrize("content", [b"no store, a letter\n", b"\0" * 8192])
def test_a_file_that_is_no_store_is_one_line_and_left_as_it_is(
    process, private, content
):
    letter = private / "letter.txt"
    letter.write_bytes(content)
    letter.chmod(0o600)

    ran = process("account", "list", "--store", letter)

    assert (1, "") == (ran.status, ran.out)
    assert_one_line(ran.err)
    assert content == letter.read_bytes()


def test_a_store_that_others_may_read_is_refused(process, store):
    store.chmod(0o644)

    ran = process("audit", "list", "--store", store)

    assert (1, "") == (ran.status, ran.out)
    assert_one_line(ran.err)
    assert f"others may read or write `{store}`" in ran.err


def test_the_store_may_be_named_by_the_environment(process, store):
    ran = process("account", "list", "--json", STEAD_STORE=str(store))

    assert 0 == ran.status
    assert ["alice", "bob"] == [row["name"] for row in ran.json]


@pytest.mark.parametrize(
    "arguments",
    [
        ("tea",),
        ("account", "add"),
        ("account", "add", "carol", "--uid", "many"),
        ("check", "bob", "plan"),
        ("audit", "list", "--outcome", "perhaps"),
        ("audit", "list", "--limit", "0"),
        ("whoami", "--level", "deity"),
        ("demo", "--now"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_status_2_and_does_nothing(stead, length, arguments):
    before = length()

    ran = stead(*arguments)

    assert (2, "") == (ran.status, ran.out)
    assert "Usage: " in ran.err
    assert length() < before + 10  # what `audit verify` itself writes, no more


def test_python_m_stead_is_the_command(process):
    """The name in the usage aside, both print the same."""
    command = subprocess.run(
        [sys.executable, "-c", "from stead.cli.main import main; main()", "--help"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip

    as_module = process("--help")

    assert 0 == as_module.status
    assert command.stdout.splitlines()[2:] == as_module.lines[2:]


def test_a_missing_extra_is_one_line_that_names_it():
    program = (
        "import sys; sys.modules['uvicorn'] = None; "
        "from stead.cli.main import main; main()"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, "serve", "--help"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert (1, "") == (done.returncode, done.stdout)
    assert (
        "stead: the command line needs `uvicorn`: pip install 'stead[all]'\n"
        == done.stderr
    )


def test_a_verb_imports_what_it_needs_and_no_server():
    program = (
        "import sys; from stead.cli.main import app\n"
        "heavy = {'sqlalchemy', 'uvicorn', 'stead.server'}\n"
        "try: app(sys.argv[1:])\n"
        "finally: print(*heavy & {*sys.modules})"
    )

    def imported(*words):
        done = subprocess.run(
            [sys.executable, "-c", program, *words],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        return done.stdout.splitlines()[-1].split()

    assert "stead.server" in imported("account", "--help")
    for words in (("--version",), ("sddl", "D:"), ("judge", "--help")):
        assert [] == imported(*words)


def test_what_a_terminal_would_act_on_is_printed_escaped():
    assert r"\x1b]0;owned\x07\x9b2Jplan\nfake \u202eline" == printable(HOSTILE)


def test_no_text_of_a_client_reaches_a_terminal_as_it_is(stead, store):
    """A client's words are kept as they are, and shown as what they are."""
    with ProtectedServer("notes", store=store, enforcement=Enforcement.TOKEN) as server:
        client = server.client_for("alice", authenticated_by=HOSTILE, peer=HOSTILE)
        with pytest.raises(Exception, match="no operation"):
            server.call(client, HOSTILE)
        client.close()

    shown = [
        stead("audit", "list").out,
        stead("audit", "list", "--json").out,
        stead("check", HOSTILE, "plan", "READ").err,
        stead("check", "bob", HOSTILE, "READ").err,
        stead("audit", "list", "--event", HOSTILE).err,
    ]

    for text in shown:
        assert "owned" in text
        assert [] == [c for c in text if c != "\n" and not c.isprintable()]
    peers = [json.loads(line)["record"].get("peer") for line in shown[1].splitlines()]
    assert HOSTILE in peers


def test_the_same_question_is_recorded_for_whoever_ran_the_verb(stead, length):
    before = length()

    stead("check", "bob", "plan", "WRITE")

    lines = stead("audit", "list", "--json", "--after", before).lines
    records = [json.loads(line)["record"] for line in lines]
    logon = next(r for r in records if r["event"] == AuditEvent.LOGON)
    assert f"uid {os.getuid()}" == logon["client"][1]
    assert "stead-cli" == logon["server"][1]


def assert_one_line(err):
    first, *advice = err.splitlines()
    assert first.startswith("stead: ")
    assert len(advice) <= 1
    assert all(line.startswith("  what to do: ") for line in advice)


@pytest.mark.root
def test_a_store_in_a_folder_that_one_may_not_enter_says_what_to_do(tmp_path):
    folder = tmp_path / "private"
    folder.mkdir(mode=0o700)
    child = os.fork()
    if not child:
        code = 1
        try:
            os.setgroups([])
            os.setresuid(65_433, 65_433, 65_433)
            os.chdir("/")
            with pytest.raises(StoreUnavailableError) as caught, opened(f"{folder}/n"):
                pass
            code = 0 if "own user" in caught.value.advice else 2
        finally:
            os._exit(code)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        (("witness", "key", "{}/nowhere/key", "--name", "w"), "no such file"),
        (("witness", "serve", "--key", "{}/none", "--state", "s", "--socket", "w",
          "--uid", "5"), "no such file"),
        (("broker", "--config", "{}", "--dry-run"), "is no file"),
        (("broker", "--config", "none.toml", "--dry-run"), "cannot be read"),
    ],
    ids=lambda each: " ".join(each[:2]) if isinstance(each, tuple) else each,
)  # fmt: skip
def test_what_the_machine_refuses_is_said_without_its_numbers(
    process, private, verb, words
):
    ran = process(*(word.format(private) for word in verb))

    assert (1, "") == (ran.status, ran.out)
    assert ran.err.startswith("stead")
    assert 1 == len(ran.err.splitlines())
    assert "Errno" not in ran.err
    if os.geteuid() == 0 or verb[0] != "broker":
        assert words in ran.err


@pytest.mark.parametrize(
    "verb",
    [("doctor", "--guard-uid", "0"), ("doctor", "--guard-uid", "99999999999"),
     ("serve", "--store", "a.db", "--web", "a:b", "--port", "65536", "--dry-run")],
    ids=" ".join,
)  # fmt: skip
def test_a_number_that_could_be_none_is_wrong_usage(process, verb):
    ran = process(*verb)

    assert (2, "") == (ran.status, ran.out)
    assert "Traceback" not in ran.err
    assert "range" in ran.err or "than or equal to" in ran.err


@pytest.mark.parametrize("verb", ["list", "export"])
def test_who_reads_no_further_has_what_it_wanted(store, private, verb):
    with ProtectedServer("notes", store=store, enforcement=Enforcement.TOKEN) as server:
        for number in range(200):
            server.accounts.add(f"account {number}")
    command = [sys.executable, "-W", "error", "-m", "stead", "audit", verb]
    verbose = subprocess.Popen(
        [*command, "--store", store],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=private,
    )  # fmt: skip

    assert verbose.stdout.readline()
    verbose.stdout.close()
    said = verbose.stderr.read()
    verbose.stderr.close()

    assert "" == said
    assert 1 == verbose.wait(60)
