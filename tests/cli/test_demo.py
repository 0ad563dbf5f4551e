"""`stead demo`: what its screen says, and that nothing of it stays behind."""

import os
import random
import re
import secrets
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

import stead

MARK = "STEAD_TEST_MARK"
SOURCE = Path(stead.__file__).resolve().parents[1]
TRAIL_LINE = re.compile(
    r"  #(\d+) +(\w+) +(success|failure)  client (.+?) +server (\w+)  chain (.+?)"
    r"(?:  object (.+))?"
)
ASKED = re.compile(r"  (\w+) +\w+, [\w ]+?  +(.+?)  +((?:granted|refused): .*)")
LOGON = "log on, start `id`"
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Place:
    """Where a demo may put its folder, and a mark that all its processes carry."""

    folder: Path
    mark: str

    @property
    def environment(self):
        return os.environ | {"TMPDIR": str(self.folder), MARK: self.mark}

    @property
    def unmeasured(self):
        """Return an environment without coverage, for what a signal interrupts.

        An interrupt that Python raises while coverage's collector holds its own lock
        leaves that lock taken, and the program waits for itself from then on.
        """
        return {
            name: value
            for name, value in self.environment.items()
            if not name.startswith("COVERAGE_")
        }

    def processes(self):
        """List the processes that came of the demo, whatever they are called."""
        wanted = f"{MARK}={self.mark}".encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                # A process that has ended and is not waited for has no environment.
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
        return found

    def left_behind(self):
        return [*self.folder.iterdir(), *self.processes()]

    def is_clean(self, within=90.0):
        deadline = time.monotonic() + within
        while self.left_behind():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)  # between two looks, not for timing
        return True


@pytest.fixture
def place():
    folder = Path(tempfile.mkdtemp(prefix="stead-test-"))
    folder.chmod(0o755)
    made = Place(folder, secrets.token_hex(8))
    yield made
    for pid in made.processes():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(folder)


def run(place, *program, **environment):
    return subprocess.run(
        program or [sys.executable, "-m", "stead", "demo"],
        capture_output=True, text=True, check=False, timeout=120,
        env=place.environment | environment,
    )  # fmt: skip


def start(place):
    return subprocess.Popen(
        [sys.executable, "-m", "stead", "demo"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=place.unmeasured, start_new_session=True,
    )  # fmt: skip


def part(screen, begins, ends):
    """Return the lines of a screen between two that begin so."""
    lines = screen.splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith(begins)) + 1
    last = next(n for n in range(first, len(lines)) if lines[n].startswith(ends))
    return lines[first:last]


def trail_of(screen):
    lines = part(screen, "the trail", "trail verified: ")
    return [TRAIL_LINE.fullmatch(x) for x in lines if x.startswith("  #")]


@pytest.mark.root
def test_the_demo_shows_the_kernel_judging_each_client_under_its_own_uid(place):
    began = time.monotonic()
    done = run(place)
    print(f"the demo took {time.monotonic() - began:.1f} s")

    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout.startswith("Linux judges files as the client")
    rows = part(done.stdout, "who asked what", "code that opens")
    asked = {
        row.group(1, 2): row[3] for row in map(ASKED.fullmatch, filter(None, rows))
    }
    assert "granted: alice's own note" == asked["alice", "read alice.txt"]
    assert asked["alice", "read bob.txt"].startswith("refused: access is denied (")
    assert asked["bob", "write the plan"].startswith("refused: access is denied (")
    assert "granted: archived" == asked["alice", "archive (SeBackupPrivilege)"]
    assert asked["bob", "archive (SeBackupPrivilege)"].startswith(
        "refused: a required privilege is not held by the client ("
    )
    assert asked["carol", "read carol.txt"].startswith(
        "refused: a required impersonation level was not provided ("
    )
    assert "granted: dora's own note" == asked["dora", "read dora.txt"]
    assert asked["dora", "read alice.txt"].startswith("refused: access is denied (")
    shown = re.fullmatch(r"granted: uid=(\d+) gid=\1 .*", asked["alice", LOGON])
    assert re.search(rf"alice uid {shown[1]}\b", done.stdout)
    guess = asked["alice", "log on by a guess"]
    assert guess.startswith("refused: logon failure (record ")
    assert "granted: 3" == asked["alice", "request margin"]
    assert asked["bob", "request margin"].startswith("refused: access is denied (")
    assert_loses_the_prices("bob", rows)
    assert_explains(done.stdout)
    assert_names_everybody(done.stdout)
    assert {"alice", "bob", "carol", "dora", "-", "uid 0"} == {
        line[4] for line in trail_of(done.stdout)
    }
    assert place.is_clean()


def test_the_demo_without_root_says_first_what_is_not_enforced(place):
    done = run(place, *unprivileged(place))

    assert (0, "") == (done.returncode, done.stderr)
    first = done.stdout.splitlines()
    assert first[0].startswith("Files are NOT judged as the client here")
    assert any(line.startswith("  because the process is uid ") for line in first)
    asked = part(done.stdout, "who asked what", "code that opens")
    by_pipe = [line for line in asked if "  pipe, " in line]
    assert {"alice"} == {line.split()[0] for line in by_pipe}
    assert any("pipe, identification" in line for line in by_pipe)
    reads = [line for line in asked if re.search(r"  read \w+\.txt ", line)]
    assert reads
    assert [] == [line for line in reads if "refused: " not in line]
    assert any(f"{LOGON} " in line and "starts nothing" in line for line in asked)
    assert_loses_the_prices("alice", asked)
    raw = part(done.stdout, "code that opens", "one refusal")
    assert "`open` is refused inside the impersonation block" in raw[0]
    assert "client.open" not in raw[1]  # which this server does not offer
    assert_explains(done.stdout)
    assert_names_everybody(done.stdout)
    assert place.is_clean()


def assert_loses_the_prices(who, rows):
    """Whoever may hear of a price hears of one, and then that this has ended."""
    asked = [row for row in map(ASKED.fullmatch, filter(None, rows)) if row[1] == who]
    heard = [row[3] for row in asked if row[2] == "news of acme"]
    assert re.fullmatch(r"granted: \d+", heard[0])
    assert heard[1].startswith("refused: access is denied (record ")
    assert 2 == len(heard)


def assert_explains(screen):
    seen = part(screen, "one refusal, all that bob saw", "and as an administrator")
    why = part(screen, "and as an administrator", "the trail")
    assert re.fullmatch(r"  access is denied \(record \d+\)", seen[0])
    assert "  bob asks plan for WRITE: refused" == why[0]
    assert "WRITE is denied by entry 1 of the DACL, (D;;DC;;;S-1-5-21-" in why[1]
    assert "      by membership: bob -> summer -> interns" == why[2]
    record = re.search(r"record (\d+)", seen[0])[1]
    (line,) = [x for x in trail_of(screen) if x[1] == record]
    assert ("failure", "bob", "plan") == (line[3], line[4], line[7])


def assert_names_everybody(screen):
    lines = trail_of(screen)
    assert len(lines) > 30
    assert None not in lines
    for line in lines:
        client = line[4]
        expected = "notes" if client == "-" else f"notes > {client}"
        assert ("notes", expected) == (line[5], line[6].rstrip())
    assert re.search(
        r"^trail verified: \d+ records, head [0-9a-f]{16}", screen, re.MULTILINE
    )


def unprivileged(place):
    """Return what runs the demo as a uid without power.

    For root, the interpreter and the code are mounted where that uid can reach them,
    in a mount namespace of the program's own; nothing of it stays.
    """
    if os.geteuid() != 0:
        return [sys.executable, "-m", "stead", "demo"]
    roots = {
        "python": sys.base_prefix,
        "site": sysconfig.get_path("purelib"),
        "source": str(SOURCE),
    }
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    # A file system of its own over the place: what lies on it is gone with it.
    over = "/mnt"
    script = [f"mount -t tmpfs -o mode=755 none {over}"]
    for name, root in roots.items():
        script += [f"mkdir {over}/{name}", f"mount --bind '{root}' {over}/{name}"]
    paths = (
        f"PYTHONPATH={over}/source:{over}/site PYTHONDONTWRITEBYTECODE=1 "
        f"LD_LIBRARY_PATH={over}/python/lib"  # for an interpreter with a shared library
    )
    become = "setpriv --reuid 70333 --regid 70333 --clear-groups"
    script += [f"exec {become} env {paths} {over}/python/bin/{version} -m stead demo"]
    place.folder.chmod(0o1777)
    return ["unshare", "--mount", "sh", "-ec", "\n".join(script)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_demo_that_is_interrupted_ends_quietly_and_leaves_nothing(place, number):
    with start(place) as demo:
        assert demo.stdout.readline()  # the server runs, the clients begin
        os.killpg(demo.pid, number)  # as a terminal does
        _, err = demo.communicate(timeout=120)

    assert 130 == demo.returncode
    assert "Traceback" not in err
    assert place.is_clean()


@pytest.mark.parametrize("seed", range(6))
def test_a_demo_that_is_killed_at_any_moment_leaves_nothing(place, seed):
    """What cleans up is another process, which notices that the demo is gone."""
    with start(place) as demo:
        with suppress(subprocess.TimeoutExpired):
            demo.wait(random.Random(seed).uniform(0.3, 2.5))  # noqa: S311 - no secret
        demo.kill()
        demo.communicate(timeout=120)

    assert place.is_clean()


def test_a_demo_whose_server_is_killed_says_so_and_leaves_nothing(place):
    with start(place) as demo:
        assert demo.stdout.readline()
        line = demo.stdout.readline()
        os.kill(int(re.search(r"process (\d+)", line)[1]), signal.SIGKILL)
        _, err = demo.communicate(timeout=120)

    assert 1 == demo.returncode
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("stead: ")
    assert place.is_clean()


def test_a_demo_that_lacks_a_library_says_which_and_leaves_nothing(place):
    program = (
        "import sys; sys.modules['fastapi'] = None; "
        "from stead.cli.main import main; main()"
    )

    done = run(place, sys.executable, "-c", program, "demo")

    assert (1, "") == (done.returncode, done.stdout)
    assert (
        "stead: the demo's server needs fastapi\n"
        "  what to do: pip install 'stead[all]'\n"
    ) == done.stderr
    assert place.is_clean()


def test_a_demo_whose_server_cannot_start_says_so_and_leaves_nothing(place, private):
    """A library that is there and broken fails in the server's own process."""
    (private / "fastapi.py").write_text("raise SystemExit('broken on purpose')\n")

    done = run(place, PYTHONPATH=f"{private}:{SOURCE}")

    assert (1, "") == (done.returncode, done.stdout)
    assert (
        "broken on purpose\nstead: the demo's server did not start; it says why above\n"
        == done.stderr
    )
    assert place.is_clean()


def test_a_demo_without_a_place_for_its_folder_says_so(place):
    program = (
        "import tempfile; tempfile.tempdir = '/nonexistent'; "
        "from stead.cli.main import main; main()"
    )

    done = run(place, sys.executable, "-c", program, "demo")

    assert (1, "") == (done.returncode, done.stdout)
    assert done.stderr.startswith("stead: no temporary folder can be made\n")
