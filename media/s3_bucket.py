"""How a new bucket is set up: private, with a lifecycle, open to the web pages that send parts (R33).

A bucket that exists is left as its operator made it. A server that lacks one of these settings is told in the
log and goes on: it is the operator's own, behind the operator's own network.
"""

import contextlib
import logging
from collections.abc import Awaitable, Sequence
from typing import Any

from media.layout import UPLOADS, VIDEOS
from media.s3_errors import error_code, failures
from tables.errors import ContentNotFound

ARCHIVE_TIER = "GLACIER_IR"
"""Glacier's instant tier: age alone never makes a video unplayable. Those that nobody watches go further."""
STALE_DAYS = 7
"""Unfinished uploads end long before; this is for what no sweep finds."""
# Another worker of ours was faster.
_PRESENT = frozenset({"BucketAlreadyOwnedByYou", "OperationAborted"})
_LACKING = frozenset({"NotImplemented", "MethodNotAllowed", "XNotImplemented"})

log = logging.getLogger(__name__)


async def create_bucket(
    client: Any, bucket: str, prefix: str, archive_days: int, origins: Sequence[str]
) -> None:
    """Create the bucket and set it up, when there is none (STORAGE_ERROR)."""
    from botocore.exceptions import ClientError

    place = {}
    if (region := client.meta.region_name) not in (None, "us-east-1", "aws-global"):
        place = {"CreateBucketConfiguration": {"LocationConstraint": region}}
    # Asked first: in us-east-1, creating one's own bucket again is no error.
    with contextlib.suppress(ContentNotFound), failures():
        await client.head_bucket(Bucket=bucket)
        return
    with failures():
        try:
            await client.create_bucket(Bucket=bucket, **place)
        except ClientError as error:
            if error_code(error) in _PRESENT:
                return
            raise
    everything = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    await _set(
        "public access block",
        client.put_public_access_block(
            Bucket=bucket, PublicAccessBlockConfiguration=dict.fromkeys(everything, True)
        ),
    )
    rules = {"Rules": lifecycle(prefix, archive_days)}
    await _set(
        "lifecycle", client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration=rules)
    )
    if origins:
        await _set("CORS", client.put_bucket_cors(Bucket=bucket, CORSConfiguration=cors(origins)))


def lifecycle(prefix: str, archive_days: int) -> list[dict[str, Any]]:
    """Return the rules of a bucket: old videos to the archive tier, forgotten uploads away."""
    rules: list[dict[str, Any]] = [
        {
            "ID": "uploads",
            "Status": "Enabled",
            "Filter": {"Prefix": prefix + UPLOADS},
            "Expiration": {"Days": STALE_DAYS},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": STALE_DAYS},
        }
    ]
    if archive_days:
        rules.append(
            {
                "ID": "archive",
                "Status": "Enabled",
                "Filter": {"Prefix": prefix + VIDEOS},
                "Transitions": [{"Days": archive_days, "StorageClass": ARCHIVE_TIER}],
            }
        )
    return rules


def cors(origins: Sequence[str]) -> dict[str, Any]:
    """Return the rule that lets pages PUT parts to signed URLs and read their ETags."""
    rule = {
        "AllowedOrigins": list(origins),
        "AllowedMethods": ["PUT"],
        "AllowedHeaders": ["*"],
        "ExposeHeaders": ["ETag"],
        "MaxAgeSeconds": 3600,
    }
    return {"CORSRules": [rule]}


async def _set(name: str, request: Awaitable[Any]) -> None:
    from botocore.exceptions import ClientError

    with failures():
        try:
            await request
        except ClientError as error:
            if error_code(error) not in _LACKING:
                raise
            log.warning("the S3 server has no %s setting; the bucket goes without", name)
