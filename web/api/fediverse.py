"""What other servers read here: discovery, actors, outboxes, videos (J9, J44, J46, Y1).

The composition root puts a ``Federation`` into the application under ``FEDERATION``. Browsers that open
one of these URLs are sent on to the page of the same thing.
"""

from datetime import UTC, datetime

from aiohttp import hdrs, web
from pydantic import BaseModel, Field

from federation import vocabulary
from federation.discovery import (
    JRD,
    NODEINFO_VERSIONS,
    XRD,
    MalformedResource,
    host_meta,
    nodeinfo,
    nodeinfo_links,
    nodeinfo_type,
    only_relations,
    parse_resource,
)
from federation.model import Author
from federation.negotiation import ACTIVITY_JSON, wants_activity
from federation.site import Federation
from tables.errors import (
    AppError,
    ContentNotFound,
    DatabaseFailure,
    Gone,
    NotAcceptable,
    RangeNotSatisfiable,
    ServiceUnavailable,
    StorageFailure,
    UserNotFound,
    ValidationFailed,
)
from web.api.fediverse_answers import ANY_ORIGIN, FEDERATION, author_of, document, gone, json, video_of
from web.api.fediverse_media import media
from web.http import deps, read_query
from web.pages import page
from web.routes import Handler, RateClass, Route

INBOX_RETRY_SECONDS = 3600.0


class WebFingerQuery(BaseModel):
    """Parameters of WebFinger (RFC 7033 section 4.1)."""

    resource: str = Field(min_length=1, max_length=2048, examples=["acct:ada@video.example"])
    rel: str | None = Field(None, description="May be repeated: only links with one of these relations.")


class OutboxQuery(BaseModel):
    """Parameters of an outbox: without ``page`` the answer is its head."""

    page: str | None = None
    cursor: str | None = Field(None, max_length=128)


# Discovery


async def webfinger(request: web.Request) -> web.Response:
    """Answer whom an ``acct:`` or a URL means (RFC 7033)."""
    site, query = request.app[FEDERATION], read_query(request, WebFingerQuery)
    try:
        subject = parse_resource(site.addresses, query.resource)
    except MalformedResource:
        raise ValidationFailed("resource: not an account or URL", details={"field": "resource"}) from None
    jrd = await site.find(subject) if subject else None
    if jrd is None:
        raise UserNotFound(details={"resource": query.resource[:200]})
    return json(only_relations(jrd, request.query.getall("rel", [])), JRD)


async def nodeinfo_index(request: web.Request) -> web.Response:
    """Answer where the NodeInfo documents are."""
    return json(nodeinfo_links(request.app[FEDERATION].addresses), "application/json; charset=utf-8")


async def nodeinfo_document(request: web.Request) -> web.Response:
    """Answer what runs here and how much it is used."""
    site, version = request.app[FEDERATION], request.match_info["version"]
    usage = await site.directory.usage(datetime.fromtimestamp(deps(request).clock(), UTC))
    return json(nodeinfo(version, site.software_version, usage), nodeinfo_type(version))


async def host_meta_document(request: web.Request) -> web.Response:
    """Answer where WebFinger is (RFC 6415)."""
    body = host_meta(request.app[FEDERATION].addresses).encode()
    return web.Response(body=body, headers={hdrs.CONTENT_TYPE: XRD, **ANY_ORIGIN})


# Actors


async def person(request: web.Request) -> web.Response:
    """Answer the actor document of a person."""
    site, author = request.app[FEDERATION], await author_of(request)
    return document(request, vocabulary.person(site.addresses, author), _profile(site, author))


async def channel(request: web.Request) -> web.Response:
    """Answer the actor document of a person's channel."""
    site, author = request.app[FEDERATION], await author_of(request)
    return document(request, vocabulary.channel(site.addresses, author), _profile(site, author))


async def instance(request: web.Request) -> web.Response:
    """Answer the actor document of the server itself."""
    site = request.app[FEDERATION]
    return document(request, site.instance_actor(), f"{site.addresses.base}/")


async def person_outbox(request: web.Request) -> web.Response:
    """Answer the ``Create`` activities of a person, newest first."""
    site, author = request.app[FEDERATION], await author_of(request)
    return await _outbox(request, author, site.addresses.actor(author.did))


async def channel_outbox(request: web.Request) -> web.Response:
    """Answer the ``Announce`` activities of a channel, newest first."""
    site, author = request.app[FEDERATION], await author_of(request)
    return await _outbox(request, author, site.addresses.channel(author.did))


async def person_graph(request: web.Request) -> web.Response:
    """Answer how many follow, or are followed by, a person over federation."""
    site, author = request.app[FEDERATION], await author_of(request)
    return _graph(request, site.addresses.actor(author.did), author)


async def channel_graph(request: web.Request) -> web.Response:
    """Answer how many follow, or are followed by, a channel over federation."""
    site, author = request.app[FEDERATION], await author_of(request)
    return _graph(request, site.addresses.channel(author.did), author)


async def instance_collection(request: web.Request) -> web.Response:
    """Answer one of the server actor's collections, which are all empty."""
    at = request.app[FEDERATION].addresses
    collection_id = f"{at.instance_actor}/{request.match_info['name']}"
    return document(request, vocabulary.counted(collection_id, 0), f"{at.base}/")


# Objects


async def note(request: web.Request) -> web.Response:
    """Answer a video as the ``Note`` that most servers take."""
    at = request.app[FEDERATION].addresses
    video = await video_of(request)
    if video is None:
        return await gone(request, at.note(request.match_info["video_id"]), "Note")
    return document(request, vocabulary.note(at, video), at.watch(video.video_id))


async def video_object(request: web.Request) -> web.Response:
    """Answer a video as the ``Video`` that PeerTube takes."""
    at = request.app[FEDERATION].addresses
    video = await video_of(request)
    if video is None:
        return await gone(request, at.video(request.match_info["video_id"]), "Video")
    return document(request, vocabulary.video(at, video), at.watch(video.video_id))


async def activity(request: web.Request) -> web.Response:
    """Answer the ``Create`` of a Note, or the ``Announce`` of a Video."""
    at = request.app[FEDERATION].addresses
    build = vocabulary.create if request.match_info["verb"] == "create" else vocabulary.announce
    video = await video_of(request)
    if video is None:
        former = "Create" if build is vocabulary.create else "Announce"
        activity_id = at.activity(request.match_info["verb"], request.match_info["video_id"])
        return await gone(request, activity_id, former)
    return document(request, build(at, video), at.watch(video.video_id))


async def responses(request: web.Request) -> web.Response:
    """Answer how many likes, shares, dislikes or comments a Note or a Video has."""
    at, name = request.app[FEDERATION].addresses, request.match_info["name"]
    video = await video_of(request)
    if video is None:
        raise ContentNotFound
    counts = video.counts
    totals = {"likes": counts.likes, "shares": counts.shares, "dislikes": 0}
    collection_id = f"{at.base}{request.path.rstrip('/')}"
    collection = vocabulary.counted(collection_id, totals.get(name, counts.comments))
    return document(request, collection, at.watch(video.video_id))


# Inboxes


async def inbox(request: web.Request) -> web.Response:
    """Refuse for now, in the way that makes peers try again later instead of giving up.

    Raises:
        ServiceUnavailable: always, with ``Retry-After`` (SERVICE_UNAVAILABLE).
    """
    raise ServiceUnavailable(
        "This server does not take activities yet. Try again later.",
        retry_after_seconds=INBOX_RETRY_SECONDS,
    )


# Pages


async def profile_page(request: web.Request) -> web.StreamResponse:
    """Answer ``/@{username}``: the actor to peers, the client's page to browsers."""
    if not wants_activity(request.headers.get(hdrs.ACCEPT)):
        return await page(request)
    _ready(request)
    actor = await request.app[FEDERATION].actor_named(request.match_info["username"])
    if actor is None:
        raise UserNotFound
    return document(request, actor, "")


async def watch_page(request: web.Request) -> web.StreamResponse:
    """Answer ``/v/{video_id}``: the Note to peers, the client's page to browsers."""
    if not wants_activity(request.headers.get(hdrs.ACCEPT)):
        return await page(request)
    _ready(request)
    return await note(request)


def _ready(request: web.Request) -> None:
    """Refuse peers until the server can answer; its pages are there from the start (P38)."""
    if not deps(request).readiness().ready:
        raise ServiceUnavailable(retry_after_seconds=2.0)


def _profile(site: Federation, author: Author) -> str:
    return site.addresses.profile(author.username)


async def _outbox(request: web.Request, author: Author, actor_id: str) -> web.Response:
    site, query = request.app[FEDERATION], read_query(request, OutboxQuery)
    outbox_id, total = f"{actor_id}/outbox", await site.directory.count(author)
    if query.page is None and query.cursor is None:
        return document(request, vocabulary.collection(outbox_id, total), _profile(site, author))
    build = vocabulary.create if actor_id == site.addresses.actor(author.did) else vocabulary.announce
    found = await site.directory.page(author, query.cursor)
    items = [build(site.addresses, video) for video in found.videos]
    content = vocabulary.collection_page(outbox_id, total, items, query.cursor, found.following)
    return document(request, content, _profile(site, author))


def _graph(request: web.Request, actor_id: str, author: Author) -> web.Response:
    """Answer 0: nobody can follow from elsewhere until the inbox takes a Follow."""
    site = request.app[FEDERATION]
    collection = vocabulary.counted(f"{actor_id}/{request.match_info['name']}", 0)
    return document(request, collection, _profile(site, author))


# Rows


def _get(
    path: str, handler: Handler, summary: str, *errors: type[AppError], media_type: str = ACTIVITY_JSON
) -> Route:
    """Return the row of a document; a pattern such as ``{name:likes|shares}`` names the route by its path."""
    name = handler.__name__
    return Route(
        method="GET",
        path=path,
        handler=handler,
        name=f"fediverse_{name}{_NAME_SUFFIX.get(path, '')}",
        summary=summary,
        tag="fediverse",
        query=_QUERIES.get(name),
        media_type=media_type,
        errors=(*errors, DatabaseFailure),
        rate=RateClass.FEDERATION,
    )


def _inbox(path: str, owner: str) -> Route:
    return Route(
        method="POST",
        path=path,
        handler=inbox,
        name=f"fediverse_inbox_{owner}",
        summary="Inbox; answers 503 with Retry-After until activities are taken.",
        tag="fediverse",
        status=202,
        errors=(ServiceUnavailable,),
        rate=RateClass.FEDERATION,
    )


def _page(path: str, handler: Handler) -> Route:
    return Route(
        method="GET",
        path=path,
        handler=handler,
        name=f"fediverse_{handler.__name__}",
        summary="Page for browsers, document for peers.",
        tag="fediverse",
        rate=RateClass.FREE,
        before_ready=True,
        hidden=True,
    )


_QUERIES: dict[str, type[BaseModel]] = {
    "webfinger": WebFingerQuery,
    "person_outbox": OutboxQuery,
    "channel_outbox": OutboxQuery,
}
_VERSIONS = "|".join(version.replace(".", r"\.") for version in NODEINFO_VERSIONS)
_GRAPH = "{name:followers|following}"
_NOTE_RESPONSES = "/ap/objects/{video_id}/{name:likes|shares|replies}"
_VIDEO_RESPONSES = "/ap/videos/{video_id}/{name:likes|dislikes|shares|comments}"
_NAME_SUFFIX = {_NOTE_RESPONSES: "_of_note", _VIDEO_RESPONSES: "_of_video"}
_DOCUMENT = (NotAcceptable,)  # what every negotiated document adds

ROUTES: tuple[Route, ...] = (
    _get("/.well-known/webfinger", webfinger, "WebFinger", UserNotFound, media_type="application/jrd+json"),
    _get("/.well-known/nodeinfo", nodeinfo_index, "NodeInfo discovery", media_type="application/json"),
    _get(f"/nodeinfo/{{version:{_VERSIONS}}}", nodeinfo_document, "NodeInfo", media_type="application/json"),
    _get("/.well-known/host-meta", host_meta_document, "host-meta", media_type="application/xrd+xml"),
    _get("/ap/actors/{did}", person, "Person", UserNotFound, *_DOCUMENT),
    _get("/ap/actors/{did}/outbox", person_outbox, "Outbox of a person", UserNotFound, *_DOCUMENT),
    _get(f"/ap/actors/{{did}}/{_GRAPH}", person_graph, "Graph of a person", UserNotFound, *_DOCUMENT),
    _get("/ap/channels/{did}", channel, "Channel (Group)", UserNotFound, *_DOCUMENT),
    _get("/ap/channels/{did}/outbox", channel_outbox, "Outbox of a channel", UserNotFound, *_DOCUMENT),
    _get(f"/ap/channels/{{did}}/{_GRAPH}", channel_graph, "Graph of a channel", UserNotFound, *_DOCUMENT),
    _get("/ap/instance", instance, "Actor of the server", *_DOCUMENT),
    _get(
        "/ap/instance/{name:outbox|followers|following}",
        instance_collection,
        "Collections of the server's actor",
        *_DOCUMENT,
    ),
    _get("/ap/objects/{video_id}", note, "Video as Note", ContentNotFound, Gone, *_DOCUMENT),
    _get(_NOTE_RESPONSES, responses, "Responses to a Note", ContentNotFound, *_DOCUMENT),
    _get("/ap/videos/{video_id}", video_object, "Video as Video", ContentNotFound, Gone, *_DOCUMENT),
    _get(_VIDEO_RESPONSES, responses, "Responses to a Video", ContentNotFound, *_DOCUMENT),
    _get(
        "/ap/activities/{verb:create|announce}-{video_id}",
        activity,
        "Activity of a video",
        ContentNotFound,
        Gone,
        *_DOCUMENT,
    ),
    Route(
        method="GET",
        path="/ap/media/{video_id}/{path:.+}",
        handler=media,
        name="fediverse_media",
        summary="File of a public video, for good: no token, no redirect, ranges honoured.",
        tag="fediverse",
        media_type="video/mp4",
        errors=(ContentNotFound, RangeNotSatisfiable, DatabaseFailure, StorageFailure),
        rate=RateClass.FREE,
    ),
    _page("/@{username}", profile_page),
    _page("/v/{video_id}", watch_page),
    _inbox("/api/federation/inbox", "shared"),
    _inbox("/ap/actors/{did}/inbox", "person"),
    _inbox("/ap/channels/{did}/inbox", "channel"),
    _inbox("/ap/instance/inbox", "instance"),
)
