"""The route table: every route of the front, one row each.

The rows of a section stand together and a row reads: method, path, handler, name, summary. What follows
by keyword is who may call it, what it takes, what it answers and which errors it adds (``web/routes.py``).
"""

from functools import partial

from tables import errors
from web.api import (
    accounts,
    aliases,
    analytics,
    captions,
    description,
    encoders,
    engagement,
    fediverse,
    feeds,
    graph,
    health,
    images,
    interactions,
    media,
    media_jobs,
    playback,
    reels,
    sockets,
    tables,
    tus,
    uploads,
    video_events,
    videos,
)
from web.forwarding import caller_key, row_key, video_key
from web.routes import Auth, Keyed, RateClass, Route
from web.schemas import accounts as people
from web.schemas import aliases as shapes
from web.schemas import engagement as doings
from web.schemas import feeds as feeding
from web.schemas import tables as reading
from web.schemas import videos as films
from web.schemas.base import Document, LiveQuery, Page

FREE, POLLING = RateClass.FREE, RateClass.POLLING
# The worker that holds a viewer's taste ranks the viewer's feeds, and keeps the rankings.
TASTE = Keyed("user_preference", caller_key, degrades=True)
# Every worker has a copy of the counters, a moment old: their holder has them now.
COUNTERS = Keyed("video_engagement", video_key, degrades=True)

_system = partial(Route, method="GET", tag="system", rate=FREE, before_ready=True)
SYSTEM = (
    _system(path="/healthz", handler=health.healthz, name="healthz", summary="Whether the process answers.",
            response=reading.HealthAnswer),
    _system(path="/readyz", handler=health.readyz, name="readyz", summary="Whether the server can work.",
            response=reading.ReadinessAnswer, errors=(errors.ServiceUnavailable,)),
    _system(path="/metrics", handler=health.metrics, name="metrics", summary="Prometheus metrics.",
            media_type="text/plain"),
    _system(path="/api/openapi.json", handler=description.openapi, name="openapi",
            summary="This description.", response=Document),
    _system(path="/api/docs", handler=description.docs, name="docs", summary="A page of it.", hidden=True),
    _system(path="/api/docs/style.css", handler=description.docs_style, name="docs_style",
            summary="Its style.", hidden=True),
    _system(path="/api/docs/script.js", handler=description.docs_script, name="docs_script",
            summary="Its script.", hidden=True),
)  # fmt: skip

_auth = partial(Route, method="POST", tag="accounts", rate=RateClass.AUTH)
_user = partial(Route, method="GET", tag="accounts")
ACCOUNTS = (
    _auth(path="/api/v1/auth/register", handler=accounts.register, name="register",
          summary="Open an account and sign in.", status=201,
          request=people.RegisterRequest, response=people.SessionAnswer,
          errors=(errors.InvalidUsername, errors.InvalidEmail, errors.UsernameTaken, errors.EmailTaken,
                  errors.DatabaseFailure)),
    _auth(path="/api/v1/auth/login", handler=accounts.login, name="login",
          summary="Sign in by user name or e-mail.",
          request=people.LoginRequest, response=people.SessionAnswer,
          errors=(errors.InvalidCredentials, errors.DatabaseFailure)),
    _auth(path="/api/v1/auth/refresh", handler=accounts.refresh, name="refresh",
          summary="Trade a refresh token for new tokens; it is good once.",
          request=people.RefreshRequest, response=people.SessionAnswer,
          errors=(errors.InvalidToken, errors.TokenExpired, errors.DatabaseFailure)),
    _auth(path="/api/v1/auth/logout", handler=accounts.logout, name="logout", summary="End the session.",
          auth=Auth.REQUIRED, status=204, errors=(errors.DatabaseFailure,)),
    _user(path="/api/v1/users/me", handler=accounts.me, name="me", summary="The caller's own account.",
          auth=Auth.REQUIRED, response=people.OwnUser, errors=(errors.UserNotFound, errors.DatabaseFailure)),
    _user(path="/api/v1/users/{user_id}", handler=accounts.get_user, name="get_user",
          summary="An account, by id or `@name`.", response=people.PublicUser,
          errors=(errors.UserNotFound, errors.DatabaseFailure)),
)  # fmt: skip

_REFUSED_UPLOADS = (errors.InvalidFormat, errors.CorruptedFile, errors.DurationExceeded, errors.FileTooLarge,
                    errors.ContentTooLong, errors.InvalidVisibility, errors.UnsupportedMedia,
                    errors.UserNotFound, errors.InfectedFile, errors.StorageFailure,
                    errors.DatabaseFailure)  # fmt: skip
_SEEN = (errors.ContentNotFound, errors.DatabaseFailure)
_OWNED = (*_SEEN, errors.NotContentOwner)
_EDITED = (*_OWNED, errors.ContentAlreadyDeleted, errors.PreconditionFailed, errors.ContentTooLong,
           errors.InvalidVisibility)  # fmt: skip

_upload = partial(Route, method="POST", tag="videos", auth=Auth.REQUIRED, rate=RateClass.UPLOADS, status=201,
                  form=films.UploadForm, errors=_REFUSED_UPLOADS, idempotent=True)  # fmt: skip
_video = partial(Route, method="GET", tag="videos")
_own = partial(_video, auth=Auth.REQUIRED)
VIDEOS = (
    _video(path="/api/v1/uploads/policies", handler=videos.policies, name="upload_policies",
           summary="What may be uploaded, before the first byte.", response=films.PoliciesAnswer),
    _upload(path="/api/v1/videos/upload", handler=videos.upload, name="upload_video",
            summary="Upload a video.", response=films.VideoAnswer),
    _upload(path="/api/posts", handler=videos.upload_post, name="upload_post",
            summary="Upload a video; document 000's shape.", response=films.VideoPost),
    _video(path="/api/posts/{video_id}", handler=videos.get_post, name="get_post_000",
           summary="A video; document 000's shape.", rate=POLLING, auth=Auth.OPTIONAL,
           response=films.VideoPost, errors=_SEEN),
    _own(path="/api/v1/videos", handler=videos.list_videos, name="list_videos",
         summary="The caller's own videos, newest first.", query=films.VideoQuery, response=films.VideoList,
         errors=(errors.DatabaseFailure,)),
    _video(path="/api/v1/users/{user_id}/videos", handler=videos.list_of_user, name="list_videos_of_user",
           summary="Somebody's public videos, newest first.", query=Page, response=films.VideoList,
           errors=(errors.UserNotFound, errors.DatabaseFailure)),
    _video(path="/api/v1/videos/{video_id}", handler=videos.get_video, name="get_video", summary="A video.",
           rate=POLLING, auth=Auth.OPTIONAL, response=films.VideoAnswer, errors=_SEEN),
    _own(method="PATCH", path="/api/v1/videos/{video_id}", handler=videos.patch_video, name="edit_video",
         summary="Change what is said of a video.", request=films.VideoPatch, response=films.VideoAnswer,
         headers=films.IfMatch, errors=_EDITED),
    _own(method="PUT", path="/api/v1/videos/{video_id}", handler=videos.put_video, name="replace_video",
         summary="Replace all that is said of a video.", request=films.VideoPut, response=films.VideoAnswer,
         headers=films.IfMatch, errors=_EDITED),
    _own(method="DELETE", path="/api/v1/videos/{video_id}", handler=videos.delete_video, name="delete_video",
         summary="Delete a video with all its files.", status=204, headers=films.IfMatch,
         errors=(*_OWNED, errors.PreconditionFailed)),
    _video(path="/api/v1/videos/{video_id}/transitions", handler=videos.transitions,
           name="get_transitions", summary="The states that a video may be in next.",
           rate=POLLING, auth=Auth.OPTIONAL, response=films.TransitionsAnswer, errors=_SEEN),
    _own(method="POST", path="/api/v1/videos/{video_id}/retry", handler=videos.retry_video,
         name="retry_video", summary="Process a FAILED video again.", status=202, response=films.VideoAnswer,
         errors=(*_OWNED, errors.InvalidStateTransition, errors.ContentAlreadyDeleted)),
    _video(path="/api/v1/videos/{video_id}/encoding", handler=videos.encoding, name="get_encoding",
           summary="How far the processing is.",
           rate=POLLING, auth=Auth.OPTIONAL, response=films.EncodingAnswer,
           errors=_SEEN),
    _video(path="/media/{token}/videos/{key:.+}", handler=media.media, name="media",
           summary="Media bytes behind a signed URL; ranges are honoured.", rate=FREE,
           media_type="application/octet-stream", tag="media",
           errors=(errors.SignatureRefused, errors.ContentNotFound, errors.GeoBlocked, errors.ContentArchived,
                   errors.RangeNotSatisfiable, errors.DatabaseFailure, errors.StorageFailure)),
    _video(path="/media/health", handler=media.health, name="media_health",
           summary="Whether this origin of media answers, for delivery hosts.", rate=FREE,
           media_type="text/plain", tag="media"),
)  # fmt: skip

_graph = partial(Route, method="POST", tag="graph", auth=Auth.REQUIRED, response=graph.FollowAnswer)
GRAPH = (
    _graph(path="/api/v1/users/{user_id}/follow", handler=graph.follow, name="follow_user",
           summary="Follow a person.",
           errors=(errors.UserNotFound, errors.SelfFollow, errors.DuplicateFollow, errors.DatabaseFailure)),
    _graph(path="/api/v1/users/{user_id}/unfollow", handler=graph.unfollow, name="unfollow_user",
           summary="Stop following a person.",
           errors=(errors.UserNotFound, errors.SelfFollow, errors.DatabaseFailure)),
)  # fmt: skip

_event = partial(Route, tag="engagement")
ENGAGEMENT = (
    _event(method="POST", path="/api/v1/events", handler=engagement.post_events, name="post_events",
           summary="Report one event or up to 1,000; durable when answered.", auth=Auth.REQUIRED, status=202,
           rate=RateClass.EVENTS, request=doings.EventsRequest, response=doings.EventsAnswer,
           errors=(errors.PublishFailure, errors.DatabaseFailure)),
    _event(method="GET", path="/api/v1/videos/{video_id}/engagement", handler=engagement.public_counters,
           name="get_engagement", summary="Public counters, from the table.",
           rate=POLLING, auth=Auth.OPTIONAL, keyed_by=COUNTERS,
           response=doings.EngagementAnswer, errors=_SEEN),
    _event(method="GET", path="/api/v1/reels/{video_id}/analytics", handler=engagement.analytics,
           name="get_analytics", summary="What the owner, operators and analysts may know.",
           auth=Auth.REQUIRED, keyed_by=COUNTERS, response=doings.AnalyticsAnswer, errors=_OWNED),
    _event(method="GET", path="/api/v1/me/analytics", handler=engagement.my_analytics,
           name="get_my_analytics", summary="What happened to the caller's videos, by day.",
           auth=Auth.REQUIRED, keyed_by=Keyed("creator_totals", caller_key),
           query=doings.MyAnalyticsQuery, response=doings.MyAnalyticsAnswer),
    _event(method="GET", path="/api/v1/users/me/saves", handler=interactions.saves, name="list_saves",
           summary="The caller's saved videos.", auth=Auth.REQUIRED, query=Page, response=films.VideoList,
           errors=(errors.DatabaseFailure,)),
    _event(method="DELETE", path="/api/v1/comments/{comment_id}", handler=interactions.delete_comment,
           name="delete_comment", summary="Delete a comment.", auth=Auth.REQUIRED, status=204,
           errors=_OWNED),
)  # fmt: skip


def _interactions(kind: str, prefix: str) -> tuple[Route, ...]:
    """Return the same rows for posts and for videos: a video's content id is its id (C49, INTERFACE)."""
    acts = partial(Route, tag="engagement", auth=Auth.REQUIRED,
                   errors=(*_SEEN, errors.UserNotFound, errors.ContentAlreadyDeleted))  # fmt: skip
    return (
        acts(method="POST", path=f"{prefix}/like", handler=interactions.like, name=f"like_{kind}",
             summary="Like; twice is once.", response=doings.LikeAnswer),
        acts(method="DELETE", path=f"{prefix}/like", handler=interactions.unlike, name=f"unlike_{kind}",
             summary="Take a like back.", response=doings.LikeAnswer),
        acts(method="POST", path=f"{prefix}/save", handler=interactions.save, name=f"save_{kind}",
             summary="Save for later.", response=doings.SaveAnswer),
        acts(method="DELETE", path=f"{prefix}/save", handler=interactions.unsave, name=f"unsave_{kind}",
             summary="Remove from the saved ones.", response=doings.SaveAnswer),
        acts(method="POST", path=f"{prefix}/share", handler=interactions.share, name=f"share_{kind}",
             summary="Record a share; each event id once.", status=201, response=doings.ShareAnswer,
             idempotent=True),
        acts(method="POST", path=f"{prefix}/comment", handler=interactions.comment, name=f"comment_{kind}",
             summary="Write a comment or a reply.", status=201, request=doings.CommentRequest,
             response=doings.CommentAnswer, idempotent=True,
             errors=(*_SEEN, errors.UserNotFound, errors.ContentAlreadyDeleted, errors.ContentTooLong)),
        acts(method="GET", path=f"{prefix}/comments", handler=interactions.comments,
             name=f"list_comments_{kind}", summary="Comments, newest first.", auth=Auth.OPTIONAL,
             query=doings.CommentQuery, response=doings.CommentList),
    )  # fmt: skip


INTERACTIONS = (
    *_interactions("post", "/api/v1/posts/{video_id}"),
    *_interactions("video", "/api/v1/videos/{video_id}"),
)

_feed = partial(Route, method="GET", tag="feeds", auth=Auth.OPTIONAL, query=feeding.FeedQuery, keyed_by=TASTE,
                response=feeding.FeedAnswer, errors=(errors.DatabaseFailure,))  # fmt: skip
_taste = partial(Route, method="POST", tag="feeds", auth=Auth.REQUIRED, keyed_by=TASTE, status=204)
FEEDS = (
    _feed(path="/api/v1/feed", handler=feeds.feed, name="get_feed",
          summary="A ranked page, with why; social without a profile."),
    _feed(path="/api/feed", handler=feeds.similarity, name="get_similarity_feed",
          summary="A page by similarity; document 000's shape.", response=feeding.SimilarityAnswer),
    _feed(path="/api/v1/trending", handler=feeds.trending, name="get_trending", summary="What moves now.",
          query=feeding.TrendingQuery),
    Route(method="GET", path="/api/v1/trending/tags", handler=feeds.trending_tags, name="get_trending_tags",
          summary="The tags that move now, over 24 hours.", tag="feeds", auth=Auth.OPTIONAL,
          query=feeding.TrendingTagsQuery, response=feeding.TrendingTags),
    _feed(path="/api/v1/feed/following", handler=feeds.following, name="get_following_feed",
          summary="What those whom the caller follows made, newest first.", auth=Auth.REQUIRED),
    _taste(path="/api/v1/feed/feedback", handler=feeds.feedback, name="post_feedback",
           summary="Less, more, or nothing of a video, creator or tag.", request=feeding.FeedbackRequest,
           errors=(*_SEEN, errors.UserNotFound, errors.PublishFailure)),
    _taste(path="/api/v1/feed/reset", handler=feeds.reset, name="reset_feed",
           summary="Forget the caller's taste.", errors=(errors.PublishFailure, errors.DatabaseFailure)),
    _taste(path="/api/v1/feed/invalidate", handler=feeds.invalidate, name="invalidate_feed",
           summary="Drop the caller's kept ranking."),
)  # fmt: skip

_alias = partial(Route, method="GET", tag="documents 001 and 002")
ALIASES = (
    _alias(path="/api/videos", handler=aliases.list_001, name="list_videos_001",
           summary="The caller's own videos; document 001's shape.", auth=Auth.REQUIRED,
           query=films.VideoQuery, response=shapes.CamelVideoList, errors=(errors.DatabaseFailure,)),
    _alias(path="/api/videos/{video_id}", handler=aliases.get_001, name="get_video_001",
           summary="A video; document 001's shape.",
           rate=POLLING, auth=Auth.OPTIONAL, response=shapes.CamelVideo,
           errors=_SEEN),
    _alias(method="PATCH", path="/api/videos/{video_id}", handler=aliases.patch_001, name="edit_video_001",
           summary="Change what is said of a video; document 001's shape.", auth=Auth.REQUIRED,
           request=shapes.CamelVideoPatch, response=shapes.CamelPatched, headers=films.IfMatch,
           errors=_EDITED),
    _alias(method="DELETE", path="/api/videos/{video_id}", handler=videos.delete_video,
           name="delete_video_001", summary="Delete a video.", auth=Auth.REQUIRED, status=204,
           headers=films.IfMatch, errors=(*_OWNED, errors.PreconditionFailed)),
    _upload(path="/api/v1/reels/upload", handler=aliases.upload_reel, name="upload_reel",
            summary="Upload a video; document 002's shape.", status=202, form=shapes.ReelForm,
            response=shapes.ReelUpload, tag="documents 001 and 002"),
    _alias(path="/api/v1/reels/{video_id}/status", handler=aliases.reel_status, name="get_reel_status",
           summary="The state of a reel.",
           rate=POLLING, auth=Auth.OPTIONAL, response=shapes.ReelState, errors=_SEEN),
    _alias(path="/api/v1/reels", handler=aliases.reels, name="list_reels",
           summary="A ranked page; document 002's shape.", auth=Auth.OPTIONAL, query=shapes.ReelQuery,
           keyed_by=TASTE,
           response=shapes.ReelList, errors=(errors.DatabaseFailure,)),
)  # fmt: skip

_live = partial(Route, method="GET", tag="notifications", rate=RateClass.GENERAL,
                query=LiveQuery, errors=(errors.InvalidToken, errors.TokenExpired))  # fmt: skip
LIVE = (
    _live(path="/api/v1/ws/notifications", handler=sockets.notifications_socket, name="notifications_socket",
          summary="Frames {event, data} over a WebSocket; token in header, query, first frame.", status=101),
    _live(path="/api/v1/notifications/stream", handler=sockets.notifications_stream,
          name="notifications_stream", summary="The same frames as server-sent events.",
          media_type="text/event-stream",
          errors=(errors.InvalidToken, errors.TokenExpired, errors.MissingAuthHeader)),
)  # fmt: skip

_table = partial(Route, method="GET", tag="analysts", auth=Auth.REQUIRED,
                 roles=frozenset({"analyst", "operator", "service"}))  # fmt: skip
ANALYSTS = (
    _table(path="/api/v1/tables", handler=tables.catalogue, name="list_tables",
           summary="Stream tables with their freshness.", response=reading.TableCatalogue),
    _table(path="/api/v1/tables/{name}", handler=tables.table, name="get_table", summary="One table.",
           response=reading.TableAnswer, errors=(errors.Missing,)),
    _table(path="/api/v1/tables/{name}/rows", handler=tables.rows, name="list_rows",
           summary="Rows in key order; all of them as CSV, JSON lines or Arrow by Accept.",
           query=reading.RowsQuery, response=reading.TableRows,
           errors=(errors.Missing, errors.NotAcceptable)),
    _table(path="/api/v1/tables/{name}/rows/{key}", handler=tables.row, name="get_row", summary="One row.",
           keyed_by=Keyed("{name}", row_key), response=reading.TableRowAnswer, errors=(errors.Missing,)),
)  # fmt: skip

TABLE: tuple[Route, ...] = (
    *SYSTEM,
    *ACCOUNTS,
    *VIDEOS,
    *video_events.ROUTES,
    *uploads.ROUTES,
    *playback.ROUTES,
    *captions.ROUTES,
    *images.ROUTES,
    *media_jobs.ROUTES,
    *encoders.ROUTES,
    *reels.ROUTES,
    *tus.ROUTES,
    *GRAPH,
    *ENGAGEMENT,
    *INTERACTIONS,
    *FEEDS,
    *ALIASES,
    *LIVE,
    *ANALYSTS,
    *analytics.ROUTES,
    *fediverse.ROUTES,
)
