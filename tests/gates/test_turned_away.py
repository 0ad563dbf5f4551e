"""Clients that are turned away are counted, and reported now and then."""

import asyncio
import logging

from stead.gates.pipe.turned_away import Tally, log_turned_away


def test_many_are_one_report_and_those_after_it_another():
    async def scenario():
        reports = []
        told = asyncio.Event()

        def report(count, last):
            reports.append((count, last))
            told.set()

        tally = Tally(report, 0.01)
        for number in range(1000):
            tally.add(f"pid {number}")
        assert [] == reports
        await asyncio.wait_for(told.wait(), 60)
        tally.add("pid x")
        tally.tell()
        tally.tell()
        return reports

    assert [(1000, "pid 999"), (1, "pid x")] == asyncio.run(scenario())


def test_nothing_to_report_is_not_reported():
    reports = []
    Tally(lambda count, last: reports.append((count, last)), 1.0).tell()
    assert [] == reports


def test_by_default_it_is_a_warning_in_the_log(caplog):
    with caplog.at_level(logging.WARNING):
        log_turned_away(3, "uid 7 pid 8: too many connections")
    expected = "3 clients turned away, the last: uid 7 pid 8: too many connections"
    assert [expected] == caplog.messages
