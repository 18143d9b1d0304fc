"""The fake of the Lease API is as strict as the real one: each rule is broken once, over real HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from incumbent.testing.kubernetes import Fault, Harm, KubernetesFake

BASE = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
TIME = "2026-11-29T22:40:00.123456Z"


class Caller:
    def __init__(self, fake: KubernetesFake, http: aiohttp.ClientSession) -> None:
        self.fake = fake
        self._http = http

    async def __call__(self, verb: str, path: str = "", body: object = None, **query: str) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.fake.token}"}
        url = self.fake.url + BASE + path
        async with self._http.request(verb, url, json=body, params=query, headers=headers) as reply:
            return reply.status, await reply.json()

    async def watch(self, **query: str) -> AsyncIterator[dict[str, Any]]:
        headers = {"Authorization": f"Bearer {self.fake.token}"}
        query = {"watch": "1"} | query
        async with self._http.get(self.fake.url + BASE, params=query, headers=headers) as reply:
            assert reply.status == 200, await reply.text()
            async for line in reply.content:
                yield json.loads(line)


@pytest.fixture
async def call() -> AsyncIterator[Caller]:
    async with KubernetesFake(bookmark_s=0.05) as fake, aiohttp.ClientSession() as http:
        yield Caller(fake, http)


async def test_it_listens_where_it_is_told() -> None:
    async with KubernetesFake(host="127.0.0.2") as fake, aiohttp.ClientSession() as http:
        assert fake.url.startswith("http://127.0.0.2:")
        async with http.get(
            fake.url + "/version", headers={"Authorization": f"Bearer {fake.token}"}
        ) as reply:
            assert reply.status == 200


def lease(name: str = "one", /, **spec: object) -> dict[str, Any]:
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": spec}


async def test_a_lease_is_created_read_changed_and_deleted(call: Caller) -> None:
    status, made = await call("POST", body=lease(holderIdentity="a", renewTime=TIME))
    assert status == 201
    assert await call("GET", "/one") == (200, made)
    made["spec"]["holderIdentity"] = "b"
    status, changed = await call("PUT", "/one", made)
    assert status == 200
    assert int(changed["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])
    assert changed["metadata"]["uid"] == made["metadata"]["uid"]
    assert (await call("DELETE", "/one"))[0] == 200
    status, gone = await call("GET", "/one")
    assert (status, gone["kind"], gone["reason"], gone["code"]) == (404, "Status", "NotFound", 404)


async def test_an_update_compares_the_resource_version(call: Caller) -> None:
    _, made = await call("POST", body=lease(leaseTransitions=0))
    newer = made | {"spec": {"leaseTransitions": 1}}
    assert (await call("PUT", "/one", newer))[0] == 200
    status, refused = await call("PUT", "/one", made | {"spec": {"leaseTransitions": 2}})
    assert (status, refused["reason"]) == (409, "Conflict")
    assert (await call("GET", "/one"))[1]["spec"] == {"leaseTransitions": 1}


async def test_a_change_that_changes_nothing_has_no_new_version(call: Caller) -> None:
    _, made = await call("POST", body=lease())
    assert await call("PUT", "/one", made) == (200, made)


async def test_creating_twice_is_refused(call: Caller) -> None:
    await call("POST", body=lease())
    status, refused = await call("POST", body=lease())
    assert (status, refused["reason"]) == (409, "AlreadyExists")


@pytest.mark.parametrize("what", ["uid", "resourceVersion"])
async def test_a_delete_holds_its_preconditions(call: Caller, what: str) -> None:
    _, made = await call("POST", body=lease())
    assert (await call("DELETE", "/one", {"preconditions": {what: "7"}}))[0] == 409
    good = {"preconditions": {what: made["metadata"][what]}}
    assert (await call("DELETE", "/one", good))[0] == 200


@pytest.mark.parametrize(
    ("spec", "status"),
    [
        ({"renewTime": "2026-11-29T22:40:00Z"}, 400),  # no fraction
        ({"renewTime": "2026-11-29T22:40:00.123Z"}, 400),  # milliseconds
        ({"renewTime": "2026-11-29T22:40:00.123456789Z"}, 400),  # nanoseconds
        ({"renewTime": "2026-11-29 22:40:00.123456Z"}, 400),
        ({"renewTime": 7}, 400),
        ({"leaseDurationSeconds": 2.5}, 400),
        ({"leaseDurationSeconds": "15"}, 400),
        ({"leaseDurationSeconds": 1 << 31}, 400),
        ({"holder": "a"}, 400),  # an unknown field
        ({"leaseDurationSeconds": 0}, 422),
        ({"leaseDurationSeconds": -1}, 422),
        ({"leaseTransitions": -1}, 422),
        ({"preferredHolder": "a"}, 422),
        ({"renewTime": TIME, "acquireTime": "2026-11-29T22:40:00.123456+01:00", "holderIdentity": ""}, 201),
    ],
)
async def test_a_spec_is_judged_strictly(call: Caller, spec: dict[str, object], status: int) -> None:
    answered, body = await call("POST", body=lease("one", **spec))
    assert answered == status, body
    if status == 422:
        assert body["reason"] == "Invalid"
        assert body["details"]["causes"][0]["field"].startswith("spec.")


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a-", "a..b", "a/b", "ü", "a" * 254])
async def test_a_name_is_a_dns_subdomain(call: Caller, name: str) -> None:
    assert (await call("POST", body=lease(name)))[0] == 422


@pytest.mark.parametrize("name", ["a", "0", "a.b-c.d", "a" * 253])
async def test_a_good_name_is_taken(call: Caller, name: str) -> None:
    assert (await call("POST", body=lease(name)))[0] == 201


@pytest.mark.parametrize(
    ("labels", "status"),
    [
        ({"incumbent/in": "x" * 63}, 201),
        ({"incumbent/in": ""}, 201),
        ({"incumbent/in": "x" * 64}, 422),
        ({"incumbent/in": "a b"}, 422),
        ({"a/b/c": "x"}, 422),
        ({"Up/case": "x"}, 422),
        ({"/x": "x"}, 422),
        ({"x": 1}, 400),
    ],
)
async def test_labels_have_their_syntax(call: Caller, labels: dict[str, object], status: int) -> None:
    body = lease()
    body["metadata"]["labels"] = labels
    assert (await call("POST", body=body))[0] == status


async def test_annotations_have_256_kib_in_total(call: Caller) -> None:
    body = lease()
    body["metadata"]["annotations"] = {"a": "x" * (128 * 1024 - 1), "b": "x" * (128 * 1024 - 1)}
    assert (await call("POST", body=body))[0] == 201
    body["metadata"] |= {"name": "two"}
    body["metadata"]["annotations"]["c"] = ""
    status, refused = await call("POST", body=body)
    assert status == 422
    assert "262144" in refused["message"]


async def test_a_list_selects_and_is_paged_at_one_revision(call: Caller) -> None:
    for n in range(5):
        body = lease(f"l-{n}")
        body["metadata"]["labels"] = {"in": "even" if n % 2 == 0 else "odd"}
        await call("POST", body=body)
    _, page = await call("GET", limit="2")
    await call("DELETE", "/l-4")
    names, revision = (
        [item["metadata"]["name"] for item in page["items"]],
        page["metadata"]["resourceVersion"],
    )
    while page["metadata"].get("continue"):
        _, page = await call("GET", limit="2", **{"continue": page["metadata"]["continue"]})
        names += [item["metadata"]["name"] for item in page["items"]]
        assert page["metadata"]["resourceVersion"] == revision
    assert names == [f"l-{n}" for n in range(5)]
    for labels, count in (
        ("in in (even,x)", 2),
        ("in notin (even)", 2),
        ("in=odd", 2),
        ("in!=odd", 2),
        ("!in", 0),
    ):
        _, found = await call("GET", labelSelector=labels)
        assert len(found["items"]) == count, labels
    assert (await call("GET", labelSelector="a b c"))[0] == 400
    _, found = await call("GET", fieldSelector="metadata.name=l-1")
    assert [item["metadata"]["name"] for item in found["items"]] == ["l-1"]


async def test_a_continue_token_of_before_a_compaction_is_gone(call: Caller) -> None:
    for n in range(3):
        await call("POST", body=lease(f"l-{n}"))
    _, page = await call("GET", limit="1")
    await call("POST", body=lease("more"))
    call.fake.store.compact()
    status, gone = await call("GET", limit="1", **{"continue": page["metadata"]["continue"]})
    assert (status, gone["reason"]) == (410, "Expired")


async def test_a_lagging_replica_answers_from_its_cache(call: Caller) -> None:
    """resourceVersion=0 takes whatever the watch cache has; without it, a read is of the newest."""
    await call("POST", body=lease())
    call.fake.store.replica_lag = 1
    assert (await call("GET", "/one", resourceVersion="0"))[0] == 404
    assert (await call("GET", resourceVersion="0"))[1]["items"] == []
    assert (await call("GET", "/one"))[0] == 200
    assert (await call("GET", "/one", resourceVersion=str(call.fake.store.revision)))[0] == 200
    assert (await call("GET", "/one", resourceVersion="999999"))[0] == 504


async def test_a_watch_tells_what_happened_after_its_version(call: Caller) -> None:
    _, made = await call("POST", body=lease())
    watch = call.watch(resourceVersion=made["metadata"]["resourceVersion"], labelSelector="in=x")
    made["metadata"]["labels"] = {"in": "x"}
    _, made = await call("PUT", "/one", made)
    assert (await anext(watch))["type"] == "ADDED"
    made["metadata"]["labels"] = {}
    await call("PUT", "/one", made)
    assert (await anext(watch))["type"] == "DELETED"


async def test_a_watch_is_ended_in_time_with_a_bookmark(call: Caller) -> None:
    await call("POST", body=lease())
    watch = call.watch(allowWatchBookmarks="true", timeoutSeconds="0.1")
    events = [event async for event in watch]
    assert events[0]["type"] == "ADDED"
    assert events[-1]["type"] == "BOOKMARK"
    assert events[-1]["object"]["metadata"]["resourceVersion"] == str(call.fake.store.revision)


async def test_a_watch_of_before_a_compaction_is_gone(call: Caller) -> None:
    _, made = await call("POST", body=lease())
    old = made["metadata"]["resourceVersion"]
    watch = call.watch(resourceVersion=old, allowWatchBookmarks="true")
    assert (await anext(watch))["type"] == "BOOKMARK"
    await call("POST", body=lease("two"))
    call.fake.compact()
    events = [event async for event in watch]
    assert events[-1]["type"] == "ERROR"
    assert events[-1]["object"]["code"] == 410
    status, gone = await call("GET", watch="1", resourceVersion=old)
    assert (status, gone["reason"]) == (410, "Expired")


async def test_credentials_expire_and_verbs_are_forbidden(call: Caller) -> None:
    url = call.fake.url + BASE
    async with aiohttp.ClientSession() as http, http.get(url) as reply:
        assert (reply.status, (await reply.json())["reason"]) == (401, "Unauthorized")
    call.fake.forbidden = {"list"}
    assert (await call("GET"))[0] == 403


async def test_a_lost_answer_is_of_something_done(call: Caller) -> None:
    call.fake.faults.append(Fault(Harm.DROP_REPLY, "create", "one"))
    with pytest.raises(aiohttp.ClientError):
        await call("POST", body=lease())
    assert (await call("GET", "/one"))[0] == 200
    call.fake.faults.append(Fault(Harm.REFUSE, "delete", times=2))  # aiohttp asks again by itself
    with pytest.raises(aiohttp.ClientError):
        await call("DELETE", "/one")
    assert (await call("GET", "/one"))[0] == 200


async def test_a_planted_status_says_when_to_come_back(call: Caller) -> None:
    call.fake.faults += [
        Fault(Harm.STATUS, "get", status=429, retry_after_s=3),
        Fault(Harm.STATUS_AFTER, "create", status=500, skip=1),
    ]
    status, refused = await call("GET", "/one")
    assert (status, refused["details"]["retryAfterSeconds"]) == (429, 3)
    assert (await call("POST", body=lease()))[0] == 201
    assert (await call("POST", body=lease("two")))[0] == 500
    assert (await call("GET", "/two"))[0] == 200


async def test_it_comes_back_with_what_it_kept(call: Caller) -> None:
    await call("POST", body=lease())
    url = call.fake.url
    await call.fake.stop()
    with pytest.raises(aiohttp.ClientError):
        await call("GET")
    await call.fake.start()
    assert call.fake.url == url
    assert (await call("GET", "/one"))[0] == 200


async def test_a_restored_backup_turns_the_revision_back(call: Caller) -> None:
    _, made = await call("POST", body=lease())
    await call("POST", body=lease("two"))
    call.fake.store.turn_back(int(made["metadata"]["resourceVersion"]))
    assert (await call("GET", "/two"))[0] == 404
    await asyncio.sleep(0)
    assert str(call.fake.store.revision) == made["metadata"]["resourceVersion"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"apiVersion": "v1", "kind": "Pod"}', b'{"kind": "Lease"}', b"[" * 100_000]
)
async def test_what_is_no_lease_is_a_bad_request(call: Caller, body: bytes) -> None:
    headers = {"Authorization": f"Bearer {call.fake.token}"}
    async with (
        aiohttp.ClientSession() as http,
        http.post(call.fake.url + BASE, data=body, headers=headers) as reply,
    ):
        assert (reply.status, (await reply.json())["kind"]) == (400, "Status")
