"""Upload sessions: every way in over one service."""

from social.uploads.links import UploadLinks, sign_report
from social.uploads.model import Arrived, PartUrl, Received, Report, UploadSession, Wanted
from social.uploads.rules import check_declared
from social.uploads.service import UploadSessions
from social.uploads.tools import UploadSettings, UploadTools

__all__ = [
    "Arrived",
    "PartUrl",
    "Received",
    "Report",
    "UploadLinks",
    "UploadSession",
    "UploadSessions",
    "UploadSettings",
    "UploadTools",
    "Wanted",
    "check_declared",
    "sign_report",
]
