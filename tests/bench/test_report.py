"""What a report says, to people and to programs."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console

from trio_chat.bench.latency import Summary
from trio_chat.bench.report import Report, Stage
from trio_chat.bench.tally import Verdict

WELL = Report(
    url="ws://127.0.0.1:8000/ws",
    wire="native",
    rooms=1,
    members=2000,
    rate=100.0,
    window=None,
    size=100,
    interrupted=False,
    connected=Stage(0.5, 4000.0),
    joined=Stage(0.25, 8000.0),
    seconds=2.0,
    sent=200,
    acked={"redis": 150, "memory": 50},
    refused={},
    deliveries=400_000,
    delivery_ms=Summary(1.0, 2.5, 1234.5),
    ack_ms=Summary(0.5, 1.5, 3.5),
    verdict=Verdict(),
    lost={},
    limited=False,
    late_ms=0.5,
    client_cpu=0.25,
    limits={"requestsPerSecond": 20, "requestBurst": 40},
)


def report(**changes: Any) -> Report:
    return Report(**{name: getattr(WELL, name) for name in Report.__struct_fields__} | changes)


def printed(shown: Report) -> str:
    paper = io.StringIO()
    Console(file=paper, width=80).print(shown.table())
    return " ".join(paper.getvalue().split())


def test_the_table_has_the_figures_people_ask_for() -> None:
    """Eighty columns are enough, and each line says its unit."""
    text = printed(WELL)

    assert "connected 0.50 s 4,000 a second" in text
    assert "sent 200 messages, in 2.00 s" in text
    assert "acknowledged 200 stored in memory: 50, redis: 150" in text
    assert "messages/s 100.0 acknowledged" in text
    assert "deliveries/s 200,000.0 400,000 in all" in text
    assert "delivery 1.00 / 2.50 / 1,234 ms: p50 / p99 / max" in text
    assert "acknowledgement 0.50 / 1.50 / 3.50 ms: p50 / p99 / max" in text
    assert "verdict well all arrived, once each, in order" in text
    assert "refused" not in text


def test_the_title_says_what_was_done() -> None:
    """So that a report can be read a year later."""
    where = "ws://127.0.0.1:8000/ws, native"

    assert WELL.title() == f"{where}: 1 room of 2,000 members, 100 messages/s, 100 characters each"
    assert (
        "2 rooms of 1 member, 4 under way in each room, 1 character each"
        in report(rooms=2, members=1, rate=None, window=4, size=1).title()
    )


def test_programs_get_everything_as_one_object() -> None:
    """Plain names and numbers, the notes included."""
    said = json.loads(WELL.to_json())

    assert said["passed"] is True
    assert said["messages_per_second"] == 100
    assert said["deliveries_per_second"] == 200_000
    assert said["delivery_ms"] == {"p50": 1.0, "p99": 2.5, "max": 1234.5}
    assert said["acked"] == {"redis": 150, "memory": 50}
    assert said["verdict"] == {"unanswered": 0, "missing": 0, "repeated": 0, "misplaced": 0, "strange": 0}
    assert said["notes"] == list(WELL.notes())
    assert {*Report.__struct_fields__} < {*said}


def test_a_program_finds_null_where_nothing_was_measured() -> None:
    """Rather than a zero; and there was no speed."""
    said = json.loads(report(seconds=0.0, acked={}, deliveries=0, delivery_ms=None, ack_ms=None).to_json())

    assert (said["delivery_ms"], said["ack_ms"]) == (None, None)
    assert (said["messages_per_second"], said["deliveries_per_second"]) == (0, 0)
    assert said["passed"] is False


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"verdict": Verdict(missing=1200)}, "MISSING: 1,200 deliveries did not happen."),
        ({"verdict": Verdict(repeated=1)}, "REPEATED: 1 "),
        ({"verdict": Verdict(misplaced=1)}, "OUT OF ORDER: in 1 "),
        ({"verdict": Verdict(strange=1)}, "STRANGE: 1 "),
        ({"verdict": Verdict(unanswered=1)}, "UNANSWERED: 1 "),
        ({"lost": {"the connection was cut": 3}}, "LOST: 3 of 2,000 connections: the connection was cut"),
        ({"acked": {}}, "NOTHING was acknowledged."),
    ],
)
def test_each_fault_is_said_first_and_fails_the_run(changes: dict[str, Any], note: str) -> None:
    """In a word that catches the eye, with how many there were."""
    faulty = report(**changes)

    assert next(faulty.notes()).startswith(note)
    assert not faulty.passed
    assert "verdict NOT WELL see below" in printed(faulty)


@pytest.mark.parametrize("changes", [{"refused": {"rate_limited": 7}}, {"limited": True}])
def test_whoever_met_a_limit_reads_what_to_do(changes: dict[str, Any]) -> None:
    """Which limit it was, and how to measure beyond."""
    text = " ".join(report(**changes).notes())

    assert "rate_limited: the server allows each connection 20 requests a second, 40 at once" in text
    assert "start the server with RATE_LIMITS=off or PRESET=standard" in text


def test_refusals_alone_do_not_fail_the_run() -> None:
    """They are what the server promises; the table counts them by code."""
    refused = report(refused={"rate_limited": 7, "overloaded": 1})

    assert refused.passed
    assert "refused 8 overloaded: 1, rate_limited: 7" in printed(refused)


def test_a_busy_client_says_that_the_figures_are_its_own() -> None:
    """Otherwise that it has a part in them."""
    [idle] = WELL.notes()
    [busy] = report(client_cpu=0.97).notes()

    assert "is Python, on this machine, and has used 25% of a core" in idle
    assert "97% of a core: the figures are the limit of this client, not of the server" in busy


def test_a_rate_that_could_not_be_kept_is_said() -> None:
    """The latencies contain it, which explains them."""
    assert "Messages were sent up to 1,500 ms after they were due" in next(report(late_ms=1500.0).notes())


def test_an_interrupted_run_says_so() -> None:
    """And why something may be missing from it."""
    well, cut = (
        next(one for one in report(interrupted=True, verdict=verdict).notes() if "Interrupted" in one)
        for verdict in (Verdict(), Verdict(missing=1))
    )

    assert "under way" not in well
    assert "under way" in cut
