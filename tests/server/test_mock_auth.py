"""Signing in, refreshing, rotation, reuse, grace and signing out, as a client sees them."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from mock_server.settings import Settings

if TYPE_CHECKING:
    import httpx

    from mock_server.state import Server


async def test_signing_in_answers_with_both_tokens_and_their_lifetimes(client: httpx.AsyncClient) -> None:
    """A sign-in answers in the article's shape, with lifetimes in seconds."""
    answer = await client.post("/api/auth/login", json={"username": "grace", "password": "hopper"})
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {"accessToken", "refreshToken", "expiresIn", "refreshExpiresIn"}
    assert (body["expiresIn"], body["refreshExpiresIn"]) == (1800, 86400 * 14)


@pytest.mark.parametrize("name,password", [("ada", "hopper"), ("nobody", "lovelace"), ("ada", ""), ("ada", "lövelace")])
async def test_wrong_credentials_are_refused_alike(client: httpx.AsyncClient, name: str, password: str) -> None:
    """An unknown name and a wrong password get the same 401, and no challenge that looks like an expired token."""
    answer = await client.post("/api/auth/login", json={"username": name, "password": password})
    assert answer.status_code == 401
    assert answer.json()["error"] == "invalid_credentials"
    assert "www-authenticate" not in answer.headers


async def test_each_sign_in_is_a_family_of_its_own(sign_in: Any) -> None:
    """Signing out one device leaves the same person's other device signed in."""
    phone, desk = await sign_in(), await sign_in()
    await phone.client.post("/api/auth/logout", json={"refreshToken": phone.tokens["refreshToken"]})
    assert not await phone.is_in()
    assert await desk.is_in()


async def test_a_refresh_gives_new_tokens_and_the_old_access_token_lives_on(ada: Any, effects: Any) -> None:
    """Rotation spends the refresh token; requests in flight with the old access token are not hurt."""
    before = ada.tokens
    await ada.refresh()
    assert ada.tokens["refreshToken"] != before["refreshToken"]
    assert ada.tokens["accessToken"] != before["accessToken"]
    old = await ada.ask("GET", "/api/heartbeat", headers={"Authorization": f"Bearer {before['accessToken']}"})
    assert old.status_code == 200
    assert effects() == ["signed_in", "refreshed"]


@pytest.mark.parametrize("path", ["login", "refresh"])
async def test_no_answer_with_tokens_may_be_cached(client: httpx.AsyncClient, ada: Any, path: str) -> None:
    """Answers that hold tokens say no-store."""
    login = {"username": "ada", "password": "lovelace"}
    body = login if path == "login" else {"refreshToken": ada.tokens["refreshToken"]}
    answer = await client.post(f"/api/auth/{path}", json=body)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("token", ["", "nonsense", "a.b.c", "ü"])
async def test_an_unknown_refresh_token_is_an_invalid_grant(client: httpx.AsyncClient, token: str) -> None:
    """A refresh token that was never issued is refused with 400, not 401."""
    answer = await client.post("/api/auth/refresh", json={"refreshToken": token})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


async def test_a_spent_token_after_the_grace_time_revokes_the_whole_family(
    ada: Any, clock: Any, effects: Any, sign_in: Any
) -> None:
    """Reuse ends the sign-in, access tokens included, and is journaled; other sign-ins go on."""
    other, spent = await sign_in(), ada.tokens["refreshToken"]
    await ada.refresh()
    clock.turn(10.001)
    answer = await ada.redeem(spent)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert not await ada.is_in()
    assert (await ada.redeem()).status_code == 400
    assert effects().count("reuse_detected") == 1
    assert await other.is_in()


async def test_within_the_grace_time_the_predecessor_gets_the_same_successor_again(
    ada: Any, clock: Any, effects: Any
) -> None:
    """A lost answer is repeated: same refresh token, a working access token, and the line never forks."""
    spent = ada.tokens["refreshToken"]
    await ada.refresh()
    clock.turn(10)
    again = await ada.redeem(spent)
    assert again.status_code == 200
    assert again.json()["refreshToken"] == ada.tokens["refreshToken"]
    assert again.json()["refreshExpiresIn"] == 86400 * 14 - 10
    ada.tokens = again.json()
    assert await ada.is_in()
    clock.turn(3600)
    await ada.refresh()
    assert effects() == ["signed_in", "refreshed", "grace_reissued", "refreshed"]


async def test_two_tabs_that_race_within_the_grace_time_both_stay_in(ada: Any, effects: Any, clock: Any) -> None:
    """Each of two tabs may be the late one, time and again, and nobody is taken for a thief."""
    late = ada.tokens["refreshToken"]
    for _ in range(5):
        await ada.refresh()
        answer = await ada.redeem(late)
        assert answer.status_code == 200
        late = answer.json()["refreshToken"]
        clock.turn(600)
    assert "reuse_detected" not in effects()


async def test_only_the_immediate_predecessor_has_a_grace_time(ada: Any, effects: Any) -> None:
    """The token before the predecessor is reuse, however recent."""
    oldest = ada.tokens["refreshToken"]
    await ada.refresh()
    await ada.refresh()
    assert (await ada.redeem(oldest)).status_code == 400
    assert effects()[-1] == "reuse_detected"


async def test_a_grace_time_of_zero_is_strict_even_in_the_same_instant(ada: Any, change: Any, effects: Any) -> None:
    """With grace 0 a second use is reuse although no time has passed."""
    await change(grace=0)
    spent = ada.tokens["refreshToken"]
    await ada.refresh()
    assert (await ada.redeem(spent)).status_code == 400
    assert effects()[-1] == "reuse_detected"


async def test_without_rotation_a_refresh_token_stays_and_keeps_its_expiry(ada: Any, change: Any, clock: Any) -> None:
    """A refresh answers with the same refresh token, and with what is left of its lifetime."""
    await change(rotation=False)
    clock.turn(100)
    answer = (await ada.redeem()).json()
    assert answer["refreshToken"] == ada.tokens["refreshToken"]
    assert answer["refreshExpiresIn"] == 86400 * 14 - 100
    assert (await ada.redeem()).status_code == 200


async def test_a_refresh_token_expires_and_rotation_renews_it(ada: Any, change: Any, clock: Any) -> None:
    """Who refreshes in time stays signed in beyond one refresh lifetime; who does not, does not."""
    await change(refreshLifetime=100)
    await ada.refresh()
    clock.turn(99)
    await ada.refresh()
    clock.turn(99)
    await ada.refresh()
    clock.turn(100)
    answer = await ada.redeem()
    assert (answer.status_code, answer.json()["error_description"]) == (400, "The refresh token expired.")


async def test_the_grace_time_does_not_outlive_the_refresh_token(ada: Any, change: Any, clock: Any) -> None:
    """A predecessor is not answered with a successor that has expired."""
    await change(refreshLifetime=5)
    spent = ada.tokens["refreshToken"]
    await ada.refresh()
    clock.turn(5)
    assert (await ada.redeem(spent)).status_code == 400


async def test_signing_out_ends_the_family_once(ada: Any, client: httpx.AsyncClient, effects: Any) -> None:
    """After sign-out neither token works; a repeat is answered alike and has no second effect."""
    for _ in range(2):
        answer = await client.post("/api/auth/logout", json={"refreshToken": ada.tokens["refreshToken"]})
        assert (answer.status_code, answer.content) == (204, b"")
    assert not await ada.is_in()
    assert (await ada.redeem()).status_code == 400
    assert effects() == ["signed_in", "signed_out"]


async def test_signing_out_with_a_spent_token_ends_the_family_too(ada: Any, client: httpx.AsyncClient) -> None:
    """A tab that missed a refresh can still sign out."""
    spent = ada.tokens["refreshToken"]
    await ada.refresh()
    await client.post("/api/auth/logout", json={"refreshToken": spent})
    assert not await ada.is_in()


async def test_signing_out_with_an_unknown_token_is_no_error(client: httpx.AsyncClient, effects: Any) -> None:
    """A sign-out tells nobody whether a token exists."""
    assert (await client.post("/api/auth/logout", json={"refreshToken": "nonsense"})).status_code == 204
    assert effects() == []


async def test_an_access_token_expires_by_the_clock(ada: Any, clock: Any) -> None:
    """It works until its last instant and not at it."""
    clock.turn(1799.999)
    assert await ada.is_in()
    clock.turn(0.001)
    answer = await ada.ask("GET", "/api/heartbeat")
    assert answer.status_code == 401
    assert answer.json()["error_description"] == "The access token expired."


async def test_the_clock_offset_moves_the_servers_own_clock(ada: Any, change: Any) -> None:
    """A server whose clock is ahead takes a token for expired that was just issued."""
    await change(clockOffset=1800)
    assert not await ada.is_in()
    await change(clockOffset=-86400)
    assert await ada.is_in()


async def test_a_jwt_says_whose_it_is_and_when_it_expires(ada: Any, clock: Any) -> None:
    """A client may read iat and exp from the default access token."""
    claims = jwt.decode(ada.tokens["accessToken"], options={"verify_signature": False})
    assert (claims["sub"], claims["iat"], claims["exp"]) == ("ada", clock(), clock() + 1800)


@pytest.mark.parametrize("forged", ["grace", "none", "key", "header"])
async def test_a_forged_jwt_is_refused(ada: Any, server: Server, forged: str) -> None:
    """Changed claims, no signature, somebody else's key and any header but the server's own are invalid tokens."""
    claims = jwt.decode(ada.tokens["accessToken"], options={"verify_signature": False})
    header, _, signature = ada.tokens["accessToken"].split(".")
    other = jwt.encode(claims | {"sub": "grace"}, "k" * 32)
    token = {
        "grace": f"{header}.{other.split('.')[1]}.{signature}",
        "none": jwt.encode(claims, None, algorithm="none"),
        "key": other,
        "header": jwt.encode(claims, server.families.tokens.key, headers={"more": "[" * 9000}),
    }[forged]
    answer = await ada.ask("GET", "/api/heartbeat", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401
    assert answer.json()["error"] == "invalid_token"


async def test_access_tokens_can_be_opaque(sign_in: Any, change: Any, clock: Any) -> None:
    """An opaque token carries nothing to read, and works and expires like a JWT; both can be out at once."""
    await change(tokenFormat="opaque")
    opaque = await sign_in()
    assert "." not in opaque.tokens["accessToken"]
    await change(tokenFormat="jwt")
    signed = await sign_in()
    assert await opaque.is_in()
    assert await signed.is_in()
    clock.turn(1800)
    assert not await opaque.is_in()


async def test_the_lifetimes_are_those_in_force_when_a_token_is_issued(ada: Any, sign_in: Any, change: Any) -> None:
    """Changing a lifetime concerns the tokens to come."""
    await change(accessLifetime=0.5)
    later = await sign_in()
    assert later.tokens["expiresIn"] == 0.5
    assert (await ada.ask("GET", "/api/heartbeat")).json()["expiresIn"] == 1800


async def test_a_lifetime_of_zero_gives_tokens_that_are_dead_on_arrival(sign_in: Any, change: Any) -> None:
    """The extreme case exists: every answer is 401, at once."""
    await change(accessLifetime=0)
    assert not await (await sign_in()).is_in()


async def test_the_state_of_all_sign_ins_is_plain_json(ada: Any, change: Any, server: Server) -> None:
    """A host can save and restore the families as JSON."""
    await change(tokenFormat="opaque")
    await ada.refresh()
    families = [dataclasses.asdict(family) for family in server.families.by_id.values()]
    state = [families, server.families.refresh_index, server.families.tokens.key, server.families.tokens.opaque]
    assert json.loads(json.dumps(families)) == families
    assert len(json.loads(json.dumps(state))) == 4


async def test_no_repr_holds_a_token(ada: Any, server: Server) -> None:
    """What a debugger or a failing test prints about a family tells no secret."""
    await ada.refresh()
    text = repr(list(server.families.by_id.values())) + repr(list(server.journal.entries))
    assert ada.tokens["refreshToken"] not in text
    assert ada.tokens["accessToken"] not in text


class TestStrictServer:
    """A server that was started with grace 0."""

    @pytest.fixture
    def settings(self) -> Settings:
        """Start strict."""
        return Settings(grace=0)

    async def test_settings_given_at_the_start_hold(self, ada: Any) -> None:
        """Settings passed to create_app are in force from the first request."""
        spent = ada.tokens["refreshToken"]
        await ada.refresh()
        assert (await ada.redeem(spent)).status_code == 400
