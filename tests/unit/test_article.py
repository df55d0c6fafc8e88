"""Every statement of the article freshfetch grew from, and every mistake of its sketches.

Those that have a test elsewhere are listed here; ``test_every_statement_has_its_test`` checks the list.

S1: ../faults/test_time.py::test_37_a_device_whose_clock_is_wrong_works_as_any_other
S2: test_refresh_and_replay.py::test_a_good_token_is_used_without_any_refresh
S3: test_heartbeat.py::test_nobody_there_means_no_beat
S4: test_heartbeat.py::test_eight_hours_of_work_cost_at_most_one_beat_per_interval
S5: test_article.py::test_a_heartbeat_is_a_get_that_carries_the_token
S6: ../faults/test_network.py::test_43_a_heartbeat_that_meets_an_expired_token_refreshes_at_once
S7: test_heartbeat.py::test_a_network_error_is_reported_and_the_loop_goes_on
S8: test_article.py::test_an_expired_token_is_redeemed_at_once
S9: test_article.py::test_a_refresh_is_a_post_of_json
S10: test_article.py::test_both_tokens_are_kept_in_one_record
S11: test_outcomes.py::test_tokens_are_read_under_all_their_names
S12: ../faults/test_security.py::test_46_the_own_origin_gets_the_token_however_it_is_written
S13: test_article.py::test_a_refused_refresh_is_told_with_its_status_and_asks_to_sign_in
S14: test_article.py::test_a_refresh_without_an_answer_is_told_apart_from_a_refused_one
S15: test_refresh_and_replay.py::test_a_revoked_token_costs_one_refresh_and_six_refusals_for_a_thousand_requests
S16: test_article.py::test_the_refresh_token_expires_too
S17: test_callers.py::test_other_answers_can_be_named_expired
S18: ../faults/test_refusals.py::test_16_a_post_that_was_refused_is_replayed_once_and_byte_by_byte
S19: test_outcomes.py::test_the_waits_between_attempts_widen_and_stay_within_their_windows
S20: test_article.py::test_while_a_refresh_is_under_way_no_new_request_leaves
S21: test_queue.py::test_held_requests_leave_in_the_order_of_the_calls
S22: test_events.py::test_the_states_of_a_days_work
S23: test_callers.py::test_the_answer_holds_what_pyfetch_gives
S24: ../faults/test_refusals.py::test_14_a_new_token_that_is_refused_too_is_the_callers_answer
S25: ../faults/test_refusals.py::test_18_failures_among_two_hundred_released_requests_touch_nobody_else
S26: test_queue.py::test_held_requests_leave_in_the_order_of_the_calls
S27: ../faults/test_refusals.py::test_18_failures_among_two_hundred_released_requests_touch_nobody_else
S28: test_article.py::test_what_was_queued_carries_the_new_token
S29: test_article.py::test_the_articles_own_example_works
S30: ../faults/test_queue_and_callers.py::test_20_the_oldest_makes_room_and_is_told_so_at_once
S31: test_queue.py::test_whatever_happens_everyone_is_settled_once_and_the_caps_hold
S32: test_queue.py::test_the_release_never_exceeds_the_concurrency
S33: test_queue.py::test_ten_thousand_held_requests_are_all_answered_in_order
S34: test_article.py::test_the_server_has_the_routes_that_the_article_needs
B1: test_article.py::test_the_heartbeat_uses_the_renewed_token
B2: test_outcomes.py::test_tokens_are_read_under_all_their_names
B3: test_refresh_and_replay.py::test_the_rotated_refresh_token_is_kept
B4: ../faults/test_network.py::test_43_a_heartbeat_answered_in_any_other_way_refreshes_nothing_and_goes_on
B5: ../faults/test_network.py::test_43_a_heartbeat_that_outlasts_its_interval_is_never_doubled
B6: test_callers.py::test_a_token_is_never_made_of_nothing
B7: ../faults/test_refusals.py::test_14_a_new_token_that_is_refused_too_is_the_callers_answer
B8: ../faults/test_refusals.py::test_15_what_is_no_expired_token_is_the_callers_answer
B9: test_article.py::test_the_articles_own_example_works
B10: ../faults/test_refusals.py::test_16_a_post_that_was_refused_is_replayed_once_and_byte_by_byte
B11: ../faults/test_queue_and_callers.py::test_23_all_who_waited_are_told_the_same_cause_in_order
B12: test_article.py::test_an_answer_is_not_taken_for_data
B13: test_queue.py::test_ten_thousand_held_requests_are_all_answered_in_order
B14: test_queue.py::test_the_release_never_exceeds_the_concurrency
B15: test_queue.py::test_held_requests_leave_in_the_order_of_the_calls
B16: test_article.py::test_while_a_refresh_is_under_way_no_new_request_leaves
B17: ../faults/test_tabs.py::test_26_tabs_that_all_expire_in_the_same_moment_share_one_refresh
B18: test_heartbeat.py::test_coming_back_costs_one_check_at_once
B19: ../faults/test_refresh_answers.py::test_01_an_answer_lost_after_rotation_is_asked_for_again_within_the_grace
B20: ../faults/test_refusals.py::test_19_the_auth_servers_routes_are_never_intercepted_or_queued
B21: ../faults/test_security.py::test_46_another_origin_gets_no_token_however_it_is_written
B22: ../faults/test_queue_and_callers.py::test_20_the_oldest_makes_room_and_is_told_so_at_once
B23: test_heartbeat.py::test_nobody_there_means_no_beat
B24: ../faults/test_refresh_answers.py::test_08_nothing_but_the_servers_own_word_ends_a_session
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from freshfetch import (
    HeartbeatPolicy,
    RefreshFailed,
    RefreshStarted,
    SessionExpired,
    SessionExpiredError,
    State,
)
from tests.world import World, eager_retry, parsed, seconds_since_start, until

HERE = Path(__file__).parent
REFRESH = "/api/auth/refresh"


def test_every_statement_has_its_test() -> None:
    """S1 to S34 and B1 to B24 are listed above, each with a test that exists."""
    listed = dict(line.split(": ") for line in (__doc__ or "").splitlines() if "::" in line)
    assert list(listed) == [f"S{n}" for n in range(1, 35)] + [f"B{n}" for n in range(1, 25)]
    for place in listed.values():
        file, _, name = place.partition("::")
        tree = parsed(HERE / file)
        assert name in {getattr(node, "name", "") for node in tree.body}, place


async def test_a_heartbeat_is_a_get_that_carries_the_token(world: World) -> None:
    """S5: ``GET /api/heartbeat`` with ``Authorization: Bearer`` and the stored access token."""
    tab = await world.signed_in_tab(heartbeat=HeartbeatPolicy())
    async with tab.session:
        await until(lambda: world.journal("/api/heartbeat"))
    [beat] = [request for request in tab.wire.sent if request.path == "/api/heartbeat"]
    assert beat.method == "GET"
    assert beat.headers["authorization"] == f"Bearer {world.record().access_token}"


async def test_an_expired_token_is_redeemed_at_once(world: World) -> None:
    """S8: between the refusal and the refresh request no time passes but the answer's."""
    tab = await world.signed_in_tab()
    await world.expire()
    began = seconds_since_start()
    await tab.session.fetch("/api/data")
    assert [entry.path for entry in world.journal()] == ["/api/data", REFRESH, "/api/data"]
    assert seconds_since_start() - began == pytest.approx(3 * tab.wire.delay, abs=0.001)


async def test_a_refresh_is_a_post_of_json(world: World) -> None:
    """S9: ``POST /api/auth/refresh``, JSON, ``{"refreshToken": ...}``; no token, redirect, cookie or cache."""
    tab = await world.signed_in_tab()
    spent = world.record().refresh_token
    await tab.session.refresh()
    request = tab.wire.sent[-1]
    assert (request.method, request.path) == ("POST", REFRESH)
    assert request.headers["content-type"] == "application/json"
    assert "authorization" not in request.headers
    assert request.body is not None
    assert json.loads(request.body.content) == {"refreshToken": spent}
    assert dict(request.options) == {
        "redirect": "error",
        "credentials": "omit",
        "cache": "no-store",
        "referrerPolicy": "no-referrer",
    }


async def test_both_tokens_are_kept_in_one_record(world: World) -> None:
    """S10: the long-lived and the short-lived token are stored together, and are renewed together."""
    tab = await world.signed_in_tab()
    before = world.record()
    assert before.refresh_token is not None
    assert before.refresh_expires_at is not None
    assert before.expires_at is not None
    assert before.refresh_expires_at - before.expires_at > 1_000_000
    await tab.session.refresh()
    after = world.record()
    assert after.access_token != before.access_token
    assert after.refresh_token != before.refresh_token
    assert after.generation == before.generation + 1


async def test_a_refused_refresh_is_told_with_its_status_and_asks_to_sign_in(world: World) -> None:
    """S13: a 503 is told as RefreshFailed with 503; ``invalid_grant`` as SessionExpired, and the state says sign in."""
    tab = await world.signed_in_tab(retry=eager_retry())
    await world.expire()
    await world.fault(REFRESH, "status", status=503, times=1)
    assert (await tab.session.fetch("/api/data")).ok
    assert [event.status for event in tab.seen(RefreshFailed)] == [503]
    await world.revoke()
    with pytest.raises(SessionExpiredError):
        await tab.session.fetch("/api/data")
    assert [event.reason for event in tab.seen(SessionExpired)] == ["invalid_grant"]
    assert tab.session.state is State.SIGN_IN_REQUIRED


async def test_a_refresh_without_an_answer_is_told_apart_from_a_refused_one(world: World) -> None:
    """S14: no answer is RefreshFailed without a status, with the time of the next attempt, and OFFLINE."""
    tab = await world.signed_in_tab(retry=eager_retry())
    await asyncio.sleep(1801)
    tab.wire.cut = True
    call = asyncio.create_task(tab.session.fetch("/api/data"))
    await until(lambda: tab.seen(RefreshFailed))
    [failure] = tab.seen(RefreshFailed)
    assert (failure.status, failure.retry_in) == (None, 1.0)
    assert tab.session.state is State.OFFLINE
    tab.wire.cut = False
    assert (await call).ok


async def test_the_refresh_token_expires_too(world: World) -> None:
    """S16: unused for longer than its life, the refresh token is refused and the person has to sign in."""
    await world.control("settings", refreshLifetime=7200)
    tab = await world.signed_in_tab()
    await asyncio.sleep(7201)
    with pytest.raises(SessionExpiredError):
        await tab.session.fetch("/api/data")
    assert tab.session.state is State.SIGN_IN_REQUIRED
    await tab.session.sign_in("ada", "lovelace")
    assert (await tab.session.fetch("/api/data")).ok


async def test_while_a_refresh_is_under_way_no_new_request_leaves(world: World) -> None:
    """S20: the state is REFRESHING and the server sees nothing new until the new token is there."""
    tab = await world.signed_in_tab()
    await world.expire()
    await world.fault(REFRESH, "delay", delay=5)
    first = asyncio.create_task(tab.session.fetch("/api/data/first"))
    await until(lambda: tab.seen(RefreshStarted))
    more = [asyncio.create_task(tab.session.fetch(f"/api/data/{n}")) for n in range(10)]
    await asyncio.sleep(4)
    assert tab.session.state is State.REFRESHING
    assert [entry.path for entry in world.journal()] == ["/api/data/first", REFRESH]
    assert all(answer.ok for answer in await asyncio.gather(first, *more))


async def test_what_was_queued_carries_the_new_token(world: World) -> None:
    """S28: each request released after the refresh carries the token it brought."""
    tab = await world.signed_in_tab()
    await asyncio.sleep(1801)
    answers = await asyncio.gather(*(tab.session.fetch(f"/api/data/{n}") for n in range(10)))
    new = f"Bearer {world.record().access_token}"
    assert {request.headers["authorization"] for request in tab.wire.sent if "data" in request.path} == {new}
    assert [(await answer.json())["name"] for answer in answers] == [str(n) for n in range(10)]


async def test_the_articles_own_example_works(world: World) -> None:
    """S29: ``/api/data`` is asked for with an expired token; the caller gets the data and did nothing for it."""
    tab = await world.signed_in_tab()
    await asyncio.sleep(1801)
    answer = await tab.session.fetch("/api/data")
    assert (await answer.json())["user"] == "ada"
    assert [entry.path for entry in world.journal()] == [REFRESH, "/api/data"]


async def test_the_server_has_the_routes_that_the_article_needs(world: World) -> None:
    """S34: login, heartbeat, refresh and data answer; without a token data is 401."""
    tab = world.tab()
    assert (await tab.session.fetch("/api/data")).status == 401
    await tab.session.sign_in("ada", "lovelace")
    for path in ("/api/heartbeat", "/api/data"):
        assert (await tab.session.fetch(path)).ok
    await tab.session.refresh()
    assert world.statuses("/api/auth/login") == world.statuses(REFRESH) == [200]


async def test_the_heartbeat_uses_the_renewed_token(world: World) -> None:
    """B1: after a refresh the next heartbeats are accepted; an hour of them costs no second one."""
    await world.control("settings", accessLifetime=100_000)
    tab = await world.signed_in_tab(heartbeat=HeartbeatPolicy())
    async with tab.session:
        await world.expire()
        await asyncio.sleep(3600)
    assert world.statuses("/api/heartbeat").count(401) == 1
    assert world.refreshes() == 1


async def test_an_answer_is_not_taken_for_data(world: World) -> None:
    """B12: a 204 and an HTML page are answers with a status; only asking them for JSON raises, as a ValueError."""
    tab = await world.signed_in_tab()
    gone = await tab.session.fetch("/api/notes/none", method="DELETE")
    assert (gone.status, await gone.text()) == (204, "")
    await world.fault("/api/data", "body", body="<html>")
    page = await tab.session.fetch("/api/data")
    for answer in (gone, page):
        with pytest.raises(ValueError, match="Expecting value"):
            await answer.json()
