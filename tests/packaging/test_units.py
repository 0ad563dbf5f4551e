"""What is shipped for a service manager is what the broker and its servers need."""

import configparser
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tests.privileged.broker_stage import (
    ALICE,
    NOTES,
    Raw,
    Stage,
    accept,
    begin,
    connect,
    ids_of,
    told,
)

from stead.privileged.broker_config import DEFAULT_PATH, DEFAULT_SOCKET
from stead.privileged.broker_file import from_document
from stead.privileged.system_uids import DEFAULT_GUARD_UID

__all__ = ["begin", "connect"]  # fixtures

PACKAGING = Path(__file__).parents[2] / "packaging"
UNITS = sorted(PACKAGING.glob("systemd/*"))


def unit(name):
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read(PACKAGING / "systemd" / name)
    return parser


def test_there_are_a_broker_its_socket_and_an_example():
    assert [
        "stead-broker.service", "stead-broker.socket", "stead-notes.service",
    ] == [each.name for each in UNITS]  # fmt: skip


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd")
def test_systemd_finds_nothing_wrong(tmp_path):
    for each in UNITS:
        text = each.read_text().replace("/opt/stead/bin/python", sys.executable)
        text = text.replace("/opt/stead/bin/stead", sys.executable)
        (tmp_path / each.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no",
         *(str(tmp_path / each.name) for each in UNITS)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
    )  # fmt: skip
    # Without the account of the example it says so, and nothing else is about us.
    about = [line for line in done.stderr.splitlines() if "stead" in line]
    assert [] == about
    assert 0 == done.returncode


def test_the_units_name_what_the_code_uses():
    service, socket_unit = unit("stead-broker.service"), unit("stead-broker.socket")
    command = service["Service"]["ExecStart"].split()
    assert ["-I", "-m", "stead.privileged.broker"] == command[1:4]
    assert DEFAULT_PATH == command[-1]
    assert DEFAULT_SOCKET == socket_unit["Socket"]["ListenSequentialPacket"]
    server = unit("stead-notes.service")["Service"]
    assert server["ExecStart"].endswith(f"--broker {DEFAULT_SOCKET}")
    assert "" == server["CapabilityBoundingSet"]
    assert "yes" == server["NoNewPrivileges"]
    # What is hidden from the broker would be hidden from clients' programs.
    for word in ("ProtectHome", "PrivateTmp", "ProtectSystem", "NoNewPrivileges"):
        assert word not in service["Service"]


def test_the_example_of_a_configuration_is_one():
    config = from_document(tomllib.loads((PACKAGING / "broker.toml").read_text()))
    (service,) = config.services.values()
    server = unit("stead-notes.service")["Service"]
    assert f"--pipe {service.gates[0]} " in server["ExecStart"]
    assert DEFAULT_GUARD_UID == config.guard_uid


@pytest.mark.skipif(not shutil.which("systemd-sysusers"), reason="needs systemd")
@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="makes files of root's")
def test_the_guard_is_reserved_by_name(tmp_path):
    (tmp_path / "etc").mkdir()
    shutil.copy(PACKAGING / "sysusers.d" / "stead.conf", tmp_path / "stead.conf")
    subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", str(tmp_path / "stead.conf")],
        check=True,
        capture_output=True,
    )
    lines = (tmp_path / "etc" / "passwd").read_text().splitlines()
    found = {line.split(":")[0]: line.split(":") for line in lines}
    assert str(DEFAULT_GUARD_UID) == found["stead-guard"][2]
    assert found["stead-guard"][6].endswith("nologin")
    assert "stead-notes" in found


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="the kernel judges real uids")
@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs util-linux")
def test_the_broker_lives_with_the_capabilities_of_its_unit(tmp_path, begin, connect):
    """All of its work is done with the bounding set that the unit leaves it."""
    words = unit("stead-broker.service")["Service"]["CapabilityBoundingSet"].split()
    kept = ",".join(f"+{re.sub('^CAP_', '', word).lower()}" for word in words)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    stage = Stage(tmp_path)
    stage.start("setpriv", f"--bounding-set=-all,{kept}", "--inh-caps=-all")

    def serves(talk):
        raw = Raw(stage.socket)
        raw.hello()
        arrivals = raw.listen()
        talk.say("listens")
        index, _client = accept(arrivals)
        channel = raw.start(index, "sleep", "600")
        talk.say(told(channel)["started"])
        talk.hear()
        channel.shutdown(1)
        talk.say(told(channel))

    server = begin(NOTES, serves)
    server.hear()
    connect(ALICE, stage.gate)
    assert [ALICE] * 3 == ids_of(server.hear())[0]
    server.tell()
    assert {"ended": -9} == server.hear()
    assert 0 == stage.stop()
