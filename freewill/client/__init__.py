"""The Python client library (Q28): accounts, uploads that resume, videos, and what the server tells.

    async with Client("https://example.org") as client:
        await client.login("ada", password)
        upload = Upload(client, Path("film.mp4"), Words(title="A film"))
        video = await upload.run()
        video = await client.wait_video(video.id)

It imports nothing of the server but the pure function that names containers: both sides decide alike what a
file is. Messages between people, and their encryption, belong to the part that has messages.
"""

from freewill.client.api import Client
from freewill.client.errors import FileRefused, RequestFailed, UploadStopped
from freewill.client.models import Caption, Frame, Limits, Policy, Session, Tokens, Video, Words
from freewill.client.upload import Phase, Progress, Upload

__all__ = [
    "Caption",
    "Client",
    "FileRefused",
    "Frame",
    "Limits",
    "Phase",
    "Policy",
    "Progress",
    "RequestFailed",
    "Session",
    "Tokens",
    "Upload",
    "UploadStopped",
    "Video",
    "Words",
]
