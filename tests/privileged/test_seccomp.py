"""The filter's program, executed by a small interpreter of the kernel's instructions.

So both architectures are shown on either. That the kernel takes the program and means
the same by it is shown by the attacks.
"""

import errno
import struct

import pytest

from stead.privileged import seccomp
from stead.privileged.syscalls import AUDIT_ARCHITECTURES, LAST_KNOWN, architecture

ALLOWED = 0x7FFF_0000
GUARD, SEAL, PROCESS = 65530, 0x1234_5678_9ABC_DEF0, 4711
KEEP = 0xFFFF_FFFF
SWITCHES = ("setresuid", "setresgid")


def denied(number=errno.EPERM):
    return 0x0005_0000 | number


def execute(program, data):
    """Run a classic BPF program over seccomp_data and return its verdict."""
    lines = list(struct.iter_unpack("=HBBI", program))
    at = word = 0
    while True:
        code, yes, no, value = lines[at]
        at += 1
        if code == 0x20:
            word = struct.unpack_from("<I", data, value)[0]
        elif code == 0x15:
            at += yes if word == value else no
        elif code == 0x25:
            at += yes if word > value else no
        else:
            assert code == 0x06
            return value


@pytest.fixture(params=["x86_64", "aarch64"])
def verdict(request):
    """Give what judges a call by name or number on one architecture."""
    machine = architecture(request.param)
    table = seccomp.rules(GUARD, SEAL, PROCESS)
    program = seccomp.assemble(table, machine)

    def judge(call, *arguments, convention=machine.audit_arch):
        number = machine.numbers.get(call, call)
        words = (*arguments, *(0,) * (6 - len(arguments)))
        return execute(program, struct.pack("<IIQ6Q", number, convention, 0, *words))

    judge.names = set(machine.numbers)
    return judge


def test_every_denied_call_is_denied(verdict):
    for name in set(seccomp.DENIED) & verdict.names:
        assert denied() == verdict(name), name


def test_every_denied_call_has_a_number_somewhere():
    known = {n for m in AUDIT_ARCHITECTURES for n in architecture(m).numbers}
    assert set() == set(seccomp.DENIED) - known


def test_what_python_and_libc_need_is_allowed(verdict):
    for name in ("openat2", "getresuid", "getresgid", "getgroups", "capget"):
        assert ALLOWED == verdict(name), name


@pytest.mark.parametrize("name", SWITCHES)
def test_our_own_switches_pass_with_the_seal(name, verdict):
    assert ALLOWED == verdict(name, GUARD, 70001, KEEP, SEAL)
    assert ALLOWED == verdict(name, 0, 0, KEEP, SEAL)
    assert ALLOWED == verdict("setgroups", 3, 0xDEAD_BEEF, 0, SEAL)


@pytest.mark.parametrize("name", SWITCHES)
@pytest.mark.parametrize(
    "arguments",
    [
        (0, 0, KEEP),  # os.setresuid(0, 0, -1) of another thread, spread by libc
        (0, 0, KEEP, SEAL ^ 1),
        (0, 0, KEEP, SEAL ^ 1 << 63),
        (0, 0, 0, SEAL),
        (0, 70001, KEEP, SEAL),
        (KEEP, 0, KEEP, SEAL),
        (GUARD, 70001, 70001, SEAL),
        (GUARD, 70001, KEEP | 1 << 32, SEAL),
        (GUARD | 1 << 32, 70001, KEEP, SEAL),
        (1 << 32, 0, KEEP, SEAL),
        (70001, 70001, KEEP, SEAL),
    ],
)
def test_every_other_switch_is_denied(name, arguments, verdict):
    assert denied() == verdict(name, *arguments)


def test_groups_change_with_the_seal_only(verdict):
    assert denied() == verdict("setgroups", 1, 0xDEAD_BEEF)
    assert denied() == verdict("setgroups", 1, 0xDEAD_BEEF, SEAL)


def test_a_thread_signals_its_own_process_only(verdict):
    assert ALLOWED == verdict("tgkill", PROCESS, 1, 6)
    assert denied() == verdict("tgkill", PROCESS + 1, 1, 6)


@pytest.mark.parametrize(("option", "name"), [(15, "PR_SET_NAME"), (16, "PR_GET_NAME")])
def test_a_thread_may_be_named(option, name, verdict):
    assert ALLOWED == verdict("prctl", option), name


@pytest.mark.parametrize(
    ("option", "name"),
    [
        (4, "PR_SET_DUMPABLE"),
        (8, "PR_SET_KEEPCAPS"),
        (22, "PR_SET_SECCOMP"),
        (24, "PR_CAPBSET_DROP"),
        (28, "PR_SET_SECUREBITS"),
        (47, "PR_CAP_AMBIENT"),
    ],
)
def test_nothing_else_of_prctl_is_allowed(option, name, verdict):
    assert denied() == verdict("prctl", option), name


def test_another_architectures_calls_are_denied(verdict):
    i386 = 0x4000_0003
    assert denied() == verdict("getresuid", convention=i386)


def test_calls_newer_than_the_table_do_not_exist(verdict):
    assert ALLOWED == verdict(LAST_KNOWN)
    assert denied(errno.ENOSYS) == verdict(LAST_KNOWN + 1)


def test_the_x32_twin_of_a_call_does_not_exist(verdict):
    assert denied(errno.ENOSYS) == verdict(0x4000_0000 | 59)


def test_a_rule_that_no_jump_can_skip_is_refused():
    rule = seccomp.Rule("kill", (((16, 0),),) * 200)
    with pytest.raises(ValueError, match="longer than a jump"):
        seccomp.assemble((rule,), architecture("x86_64"))
