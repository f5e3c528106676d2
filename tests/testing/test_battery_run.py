"""A run of many faults: what goes on beside what, what is performed twice, and what people are told."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import trio

from trio_chat.testing.battery.__main__ import main
from trio_chat.testing.battery.fault import Complaint, Fault, Outcome, unperformed
from trio_chat.testing.battery.faults.clients_gone import added
from trio_chat.testing.battery.progress import ProgressWatch
from trio_chat.testing.battery.run import Run
from trio_chat.testing.battery.worker import attempt
from trio_chat.testing.verdict import Verdict

if TYPE_CHECKING:
    from trio_chat.testing.battery.scene import Scene

LATE, WRONG = Complaint("it was slow", late=True), Complaint("it was wrong")


async def never(scene: Scene) -> None:
    """What no test here performs."""


class Stage:
    """Performs faults by waiting for a while, and writes down what begins and ends. Lives as long as a test.

    Attributes:
        story: what has happened, with `+` for begins and `-` for ends.
        told: what comes of them, in turn; nothing more to come is fine.
    """

    def __init__(self, **told: list[Complaint]) -> None:
        self.story: list[str] = []
        self.told = told
        self.seconds = {"a": 5.0, "b": 1.0, "c": 1.0}

    def begins(self, fault: Fault) -> None:
        """Write it down."""
        self.story.append(f"+{fault.code}")

    def ends(self, fault: Fault, outcome: Outcome) -> None:
        """Write it down."""
        self.story.append(f"-{fault.code}")

    async def do(self, fault: Fault) -> Outcome:
        """Take some seconds. What came of it is what the test says."""
        await trio.sleep(self.seconds.get(fault.code, 1.0))
        outcome = unperformed(fault, "", late=False, seconds=1.0)
        told = self.told.get(fault.code)
        return Outcome(
            code=fault.code,
            title=fault.title,
            verdict=Verdict((), {}),
            complaints=(told.pop(0),) if told else (),
            notes=(),
            recovery=0.0,
            latency=outcome.latency,
            load=outcome.load,
            seconds=1.0,
        )


def faults(codes: str, *, alone: str = "") -> list[Fault]:
    """Make faults with codes of one letter."""
    return [Fault(code, f"fault {code}", never, alone=code in alone) for code in codes]


async def test_so_many_at_a_time(autojump_clock: trio.testing.MockClock) -> None:
    """The next begins when one is over. What came of them is in the order of the report."""
    stage = Stage()
    run = Run(faults("abcd"), 2, stage, stage.do)
    await run.perform()

    assert stage.story == ["+a", "+b", "-b", "+c", "-c", "+d", "-d", "-a"]
    assert [outcome.code for outcome in run.outcomes] == ["a", "b", "c", "d"]


async def test_who_measures_finely_is_alone(autojump_clock: trio.testing.MockClock) -> None:
    """When all others are over."""
    stage = Stage()
    await Run(faults("abc", alone="a"), 2, stage, stage.do).perform()

    assert stage.story[-2:] == ["+a", "-a"]


async def test_what_was_late_is_performed_once_more_alone(autojump_clock: trio.testing.MockClock) -> None:
    """At the end; and what was wrong is not."""
    stage = Stage(a=[LATE], b=[WRONG], c=[LATE, LATE])
    run = Run(faults("abcd", alone="d"), 4, stage, stage.do)
    await run.perform()

    assert stage.story[-6:] == ["+d", "-d", "+a", "-a", "+c", "-c"]
    assert [outcome.held for outcome in run.outcomes] == [True, False, False, True]
    assert [bool(outcome.first) for outcome in run.outcomes] == [True, False, True, False]


async def test_what_is_over_stays_when_a_run_is_cancelled(autojump_clock: trio.testing.MockClock) -> None:
    """There is a report of it."""
    stage = Stage()
    run = Run(faults("ab"), 2, stage, stage.do)
    with trio.move_on_after(2):
        await run.perform()

    assert [outcome.code for outcome in run.outcomes] == ["b"]


@pytest.mark.parametrize(("error", "late"), [(trio.TooSlowError("slow"), True), (RuntimeError("x"), False)])
async def test_what_cannot_be_performed_is_an_outcome(
    error: Exception, late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever goes wrong with a fault, the others go on; what only took too long is late."""

    async def fail(fault: Fault, **given: object) -> Outcome:
        async with trio.open_nursery():
            raise error

    monkeypatch.setattr("trio_chat.testing.battery.worker.perform", fail)
    outcome = await attempt(faults("a")[0])

    assert (outcome.held, outcome.late) == (False, late)
    assert repr(error) in outcome.complaints[0].what


def test_a_log_has_a_line_for_what_is_over() -> None:
    """And what is complained of; nothing that moves."""
    log = io.StringIO()
    (fault,) = faults("a")
    with ProgressWatch(2, 2, log) as watch:
        watch.begins(fault)
        watch.ends(fault, unperformed(fault, "it was slow", late=True, seconds=21.0))
        watch.begins(fault)
        watch.ends(fault, unperformed(fault, "it was wrong", late=False, seconds=12.0))

    assert log.getvalue().splitlines() == [
        "2 faults, 2 at a time",
        "[0/2] a    fault a: late, so once more at the end (21 s)",
        "        it was slow",
        "[1/2] a    fault a: broken, clean (12 s)",
        "        it was wrong",
    ]


def test_whoever_interrupts_a_run_gets_what_there_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One fault is over, and Ctrl-C comes in the next."""

    async def perform(fault: Fault, **given: object) -> Outcome:
        if fault.code == "S3":
            raise KeyboardInterrupt
        return unperformed(fault, "it was wrong", late=False, seconds=1.0)

    monkeypatch.setattr("trio_chat.testing.battery.__main__.perform_apart", perform)

    assert main(["S1", "S3", "--jobs", "1"]) == 130
    assert "| S1 |" in capsys.readouterr().out


@pytest.mark.parametrize(("codes", "status"), [(["S1"], 0), (["R4", "S1"], 1)])
def test_the_table_is_its_output_and_the_rest_is_told_beside_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], codes: list[str], status: int
) -> None:
    """So the table can be piped on. The exit status says whether everything holds; R4 does not."""
    stage = Stage(R4=[WRONG])
    monkeypatch.setattr(
        "trio_chat.testing.battery.__main__.perform_apart", lambda fault, **_: stage.do(fault)
    )
    stage.seconds = dict.fromkeys(codes, 0.0)

    assert main([*codes, "--jobs", "1"]) == status
    said = capsys.readouterr()
    rows = [line.split()[1] for line in said.out.splitlines() if line.startswith("| ")]
    assert [code for code in codes if code in rows] == codes
    assert [
        line.partition("] ")[2].split()[0] for line in said.err.splitlines() if line.startswith("[")
    ] == codes
    assert (f"        {WRONG.what}\n" in said.err) is ("R4" in codes)


def test_without_hypothesis_it_says_what_to_install() -> None:
    """The kit's strategies need it, and whoever runs the battery may have none. Starting a Python takes a moment."""
    program = "import sys; sys.modules['hypothesis'] = None; import trio_chat.testing.battery"
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)

    assert done.returncode == 1
    assert "pip install 'trio-chat[testing]'" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("wrong", [["--jobs", "0"], ["R99"], ["--job"]])
def test_what_is_not_understood_is_said(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """With exit status 2, and nothing is performed."""
    with pytest.raises(SystemExit) as ended:
        main(wrong)

    assert ended.value.code == 2
    assert "usage: python -m trio_chat.testing.battery" in capsys.readouterr().err


def test_help_names_every_fault(capsys: pytest.CaptureFixture[str]) -> None:
    """And how to begin."""
    with pytest.raises(SystemExit):
        main(["--help"])

    told = capsys.readouterr().out
    assert "  C2   readers at 0 and 1 KB/s among 200\n" in told
    assert "exit status" in told


def test_what_slow_readers_add_is_told_from_what_the_machine_adds() -> None:
    """A machine that is busy now and then adds nothing; what is there beside each of them is not taken for its doing."""
    assert added([14, 60, 13], [90, 15, 16]) == 2
    assert added([14, 60, 13], [28, 90, 31]) == 17


def test_what_slow_readers_add_is_seen_though_not_each_time() -> None:
    """A turn that went well by chance excuses no others."""
    assert added([14, 15, 13], [14, 40, 38]) == 24
