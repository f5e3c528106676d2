"""The options of the command, and the plan they make."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import pytest

from trio_chat.bench.plan import Plan, add_bench_arguments, plan_of
from trio_chat.clients.auth import Authenticator
from trio_chat.errors import SettingsError
from trio_chat.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

URL = "ws://127.0.0.1:8000/ws"
SECRET = "a-secret-of-more-than-thirty-two-bytes"


def planned(*argv: str, **settings: Any) -> Plan:
    parser = argparse.ArgumentParser()
    add_bench_arguments(parser)
    return plan_of(parser.parse_args(argv), Settings(**{"auth_mode": "insecure"} | settings), URL)


def problems_of(*argv: str, **settings: Any) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        planned(*argv, **settings)
    return refused.value.problems


def test_without_options_it_is_a_plan_that_any_server_bears() -> None:
    """Ten seconds at a rate that the default limits allow, a user for each connection."""
    plan = planned()

    assert (plan.url, plan.wire, plan.connections, plan.size) == (URL, "native", 100, 100)
    assert (plan.rate, plan.window, plan.messages, plan.seconds) == (100, None, None, 10)
    assert plan.hello(7) == {"user": f"bench-{plan.run}-7"}


def test_a_window_stands_for_no_rate_and_messages_for_no_time() -> None:
    """One of each pair."""
    plan = planned("--window", "3", "--messages", "50")

    assert (plan.rate, plan.window, plan.messages, plan.seconds) == (None, 3, 50, None)


def test_runs_do_not_share_rooms() -> None:
    """Nor users."""
    one, other = planned(), planned()

    assert one.room(0).startswith("bench/")
    assert one.room(0) != one.room(1)
    assert one.room(0) != other.room(0)


def test_every_mistake_is_named_at_once() -> None:
    """As settings do it."""
    assert problems_of("--rooms", "0", "--size", "-1", "--rate", "0", "--window", "1") == [
        "--rooms 0: expected a whole number, at least 1",
        "--size -1: expected a whole number, at least 1",
        "--rate 0: expected a number above 0",
        "--rate, --window: expected one of them",
    ]
    assert problems_of("--messages", "1", "--seconds", "nan") == [
        "--seconds nan: expected a number above 0",
        "--messages, --seconds: expected one of them",
    ]


def test_tokens_are_made_for_the_rooms_of_the_run() -> None:
    """And say who each connection is, for servers of either mode."""
    plan = planned(auth_mode="token", auth_secret=SECRET)

    hello = plan.hello(3)
    identity = Authenticator(Settings(auth_secret=SECRET)).authenticate(hello["token"])
    assert identity.user == hello["user"] == f"bench-{plan.run}-3"
    assert identity.may_join(plan.room(9))
    assert not identity.may_join("bench/other/0")


def test_a_token_that_is_given_is_that_of_all() -> None:
    """Whatever the mode."""
    plan = planned("--token", "t")

    assert plan.hello(0) == plan.hello(1) == {"token": "t"}


def test_tokens_of_a_file_are_used_in_turn(tmp_path: Path) -> None:
    """One a line; empty lines are none."""
    (tmp_path / "tokens").write_text("a\n\nb\n")
    plan = planned("--token-file", str(tmp_path / "tokens"))

    assert [plan.hello(number)["token"] for number in range(3)] == ["a", "b", "a"]


def test_a_file_without_tokens_is_a_mistake(tmp_path: Path) -> None:
    """As is one that is not there, and a token besides."""
    path = str(tmp_path / "tokens")

    [missing] = problems_of("--token-file", path)
    (tmp_path / "tokens").write_text("\n")
    [empty] = problems_of("--token-file", path)

    assert missing.startswith(f"--token-file {path}: cannot be read (")
    assert empty == f"--token-file {path}: expected a token on each line, found none"
    assert problems_of("--token-file", path, "--token", "t") == [
        "--token, --token-file: expected at most one of them"
    ]
