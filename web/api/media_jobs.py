"""Encoding jobs over HTTP: the queue, encoding again, reports of outside workers (B15, B35, B43, B44)."""

from functools import partial
from typing import TYPE_CHECKING

from aiohttp import web

from social.videos.reencoding import REENCODE_PRIORITY, Encoding
from social.videos.reports import Report
from tables import errors
from tables.errors import InsufficientRole
from tables.records import Asset
from web.api.analytics import who
from web.http import deps, no_content, principal, read_json, read_query, reply
from web.render import moment, moment_or_none
from web.routes import Auth, RateClass, Route
from web.schemas import media_jobs as shapes

if TYPE_CHECKING:
    from social.videos.jobs import ListedJob, QueueControl


async def jobs(request: web.Request) -> web.Response:
    """List jobs."""
    query = read_query(request, shapes.JobQuery)
    page = await deps(request).jobs.list(query.status, query.owner_id, query.cursor, query.limit)
    items = [_answer(listed) for listed in page.items]
    return reply(shapes.JobList(items=items, next_cursor=page.next_cursor))


async def job(request: web.Request) -> web.Response:
    """Answer one job with what is left of its failure."""
    services = deps(request)
    listed = await services.jobs.find(request.match_info["job_id"])
    left = await services.partials.find(listed.job.id)
    return reply(shapes.JobWhole(**_answer(listed).model_dump(), partial=left))


async def cancel(request: web.Request) -> web.Response:
    """End a job."""
    job_id = request.match_info["job_id"]
    await _audit(request, "media.cancel", job=job_id)
    return reply(_answer(await deps(request).jobs.cancel(job_id)))


async def prioritise(request: web.Request) -> web.Response:
    """Say how urgent a job is."""
    job_id, body = request.match_info["job_id"], await read_json(request, shapes.PriorityRequest)
    await _audit(request, "media.priority", job=job_id, priority=body.priority)
    return reply(_answer(await deps(request).jobs.prioritise(job_id, body.priority)))


async def queue(request: web.Request) -> web.Response:
    """Answer what was decided of the queue, and how long it is."""
    return reply(await _queue(request, await deps(request).jobs.control()))


async def decide(request: web.Request) -> web.Response:
    """Pause, resume or throttle the workers."""
    body = await read_json(request, shapes.QueueRequest)
    await _audit(request, "media.queue", **body.model_dump(exclude_none=True))
    control = await deps(request).jobs.decide(paused=body.paused, reason=body.reason, slots=body.slots)
    return reply(await _queue(request, control))


async def encode_again(request: web.Request) -> web.Response:
    """Encode a READY video again, to more rungs or with other parameters."""
    body, caller = await read_json(request, shapes.EncodingRequest), principal(request)
    if body.priority is not None and not caller.is_operator:
        raise InsufficientRole("Only operators choose priorities.", details={"field": "priority"})
    wanted = Encoding(
        qualities=body.qualities,
        ladder=body.ladder,
        preset=body.preset,
        priority=REENCODE_PRIORITY if body.priority is None else body.priority,
    )
    listed = await deps(request).jobs.reencode(request.match_info["video_id"], caller, wanted)
    return reply(_answer(listed), status=202)


async def report(request: web.Request) -> web.Response:
    """Take what an outside worker reports."""
    body = await read_json(request, shapes.TranscodingReport)
    assets = tuple(
        Asset(**asset.model_dump(exclude={"file_key"}), key=asset.file_key) for asset in body.assets
    )
    said = Report(**body.model_dump(exclude={"assets"}), assets=assets)
    await deps(request).jobs.reported(said)
    return no_content()


async def _audit(request: web.Request, action: str, **facts: object) -> None:
    await deps(request).analysts.audit.note(who(request), action, **facts)


async def _queue(request: web.Request, control: "QueueControl") -> shapes.QueueAnswer:
    counts = await deps(request).jobs.counts()
    return shapes.QueueAnswer(paused=control.paused, reason=control.reason, slots=control.slots, **counts)


def _answer(listed: "ListedJob") -> shapes.JobAnswer:
    known = listed.job
    return shapes.JobAnswer(
        id=known.id,
        video_id=known.video_id,
        owner_id=listed.owner_id,
        title=listed.title,
        video_status=listed.video_status.value,
        status=known.status.value,
        priority=known.priority,
        progress=known.progress,
        stage=known.stage or None,
        ladder=known.ladder,
        qualities=list(known.qualities),
        preset=known.preset or None,
        outputs=list(known.outputs),
        attempts=known.attempts,
        error_code=known.error_code,
        error=known.error,
        notes=list(known.notes),
        created_at=moment(known.created_at),
        started_at=moment_or_none(known.started_at),
        completed_at=moment_or_none(known.completed_at),
    )


_operator = partial(
    Route,
    tag="operators",
    auth=Auth.REQUIRED,
    roles=frozenset({"operator"}),
    errors=(errors.DatabaseFailure,),
)
_job = partial(_operator, response=shapes.JobAnswer)
_KNOWN = (errors.Missing, errors.DatabaseFailure)
_worker = partial(Route, method="POST", tag="videos", auth=Auth.REQUIRED, rate=RateClass.UPLOAD_PARTS,
                  roles=frozenset({"service", "operator"}), request=shapes.TranscodingReport, status=204,
                  handler=report,
                  summary="An outside encoder's report of a video; again it changes nothing.",
                  errors=(errors.ContentNotFound, errors.InvalidStateTransition, errors.StorageFailure,
                          errors.DatabaseFailure))  # fmt: skip
ROUTES: tuple[Route, ...] = (
    _operator(method="GET", path="/api/v1/media/jobs", handler=jobs, name="list_media_jobs",
              summary="Encoding jobs, newest first.", query=shapes.JobQuery, response=shapes.JobList),
    _job(method="GET", path="/api/v1/media/jobs/{job_id}", handler=job, name="get_media_job",
         summary="One job, with what is left of its last failure.", response=shapes.JobWhole, errors=_KNOWN),
    _job(method="POST", path="/api/v1/media/jobs/{job_id}/cancel", handler=cancel, name="cancel_media_job",
         summary="End a job: its video FAILED, or READY as it was.",
         errors=(*_KNOWN, errors.InvalidStateTransition)),
    _job(method="PUT", path="/api/v1/media/jobs/{job_id}/priority", handler=prioritise,
         name="prioritise_media_job", summary="Say how urgent a job is.", request=shapes.PriorityRequest,
         errors=_KNOWN),
    _operator(method="GET", path="/api/v1/media/queue", handler=queue, name="get_media_queue",
              summary="Whether jobs begin, and how many wait.", response=shapes.QueueAnswer),
    _operator(method="PUT", path="/api/v1/media/queue", handler=decide, name="decide_media_queue",
              summary="Pause, resume or throttle every worker; nothing queued is lost.",
              request=shapes.QueueRequest, response=shapes.QueueAnswer),
    Route(method="POST", path="/api/v1/videos/{video_id}/encoding", handler=encode_again, name="encode_again",
          summary="Encode a READY video again, to more rungs or with other parameters; it stays READY.",
          tag="videos", auth=Auth.REQUIRED, status=202, rate=RateClass.UPLOADS,
          request=shapes.EncodingRequest, response=shapes.JobAnswer,
          errors=(errors.ContentNotFound, errors.ContentAlreadyDeleted, errors.NotContentOwner,
                  errors.InsufficientRole, errors.InvalidStateTransition, errors.StorageFailure,
                  errors.DatabaseFailure)),
    _worker(path="/api/webhooks/transcoding", name="report_transcoding_001"),
    _worker(path="/api/v1/webhooks/transcoding", name="report_transcoding"),
)  # fmt: skip
