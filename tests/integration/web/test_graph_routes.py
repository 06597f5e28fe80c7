"""Follow and unfollow over HTTP (X33, O4)."""


async def test_follow_counts_once_when_repeated(front, ada):
    bob = await front.person("bob")
    path = f"/api/v1/users/{bob.id}"
    first = await front.client.post(f"{path}/follow", headers=ada.headers)
    assert first.status == 200
    assert await first.json() == {"user_id": bob.id, "following": True, "follower_count": 1}
    again = await front.client.post(f"{path}/follow", headers=ada.headers)
    assert (again.status, (await again.json())["error"]["code"]) == (400, "DUPLICATE_FOLLOW")
    assert await front.deps.graph.following(ada.id) == {bob.id}
    for _ in range(2):
        left = await front.client.post(f"{path}/unfollow", headers=ada.headers)
        assert (await left.json())["follower_count"] == 0
    assert not await front.deps.graph.following(ada.id)


async def test_follow_is_refused_when_it_is_oneself_or_nobody(front, ada):
    own = await front.client.post(f"/api/v1/users/{ada.id}/follow", headers=ada.headers)
    assert (own.status, (await own.json())["error"]["code"]) == (400, "SELF_FOLLOW")
    for nobody in ("c42e388f-5a59-4ef0-b7e9-8b6d240f9b54", "nobody"):
        answer = await front.client.post(f"/api/v1/users/{nobody}/follow", headers=ada.headers)
        assert (answer.status, (await answer.json())["error"]["code"]) == (404, "USER_NOT_FOUND")
