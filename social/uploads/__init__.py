"""Upload sessions: every way in over one service."""

from social.uploads.links import PartLinks, report_is_signed, sign_report
from social.uploads.model import Arrived, PartUrl, Received, Report, UploadSession, Wanted
from social.uploads.service import UploadSessions
from social.uploads.tools import UploadSettings, UploadTools

__all__ = [
    "Arrived",
    "PartLinks",
    "PartUrl",
    "Received",
    "Report",
    "UploadSession",
    "UploadSessions",
    "UploadSettings",
    "UploadTools",
    "Wanted",
    "report_is_signed",
    "sign_report",
]
