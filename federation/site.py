"""One server as the fediverse sees it: what the front needs to answer peers."""

from dataclasses import dataclass

from federation.addresses import Addresses, channel_owner
from federation.directory import Directory
from federation.discovery import Subject, channel_jrd, instance_jrd, person_jrd
from federation.vocabulary import Document, channel, instance, person


@dataclass(frozen=True, slots=True, kw_only=True)
class Federation:
    """Everything behind the fediverse routes.

    Attributes:
        instance_key_pem: SPKI PEM of the server actor's public key.
        software_version: version for NodeInfo.
    """

    addresses: Addresses
    directory: Directory
    instance_key_pem: str
    software_version: str

    async def find(self, subject: Subject) -> Document | None:
        """Return the WebFinger answer for a subject, None when there is no such actor.

        A person's name goes before a channel's of the same form.
        """
        if subject.instance:
            return instance_jrd(self.addresses)
        if subject.did or subject.channel_did:
            author = await self.directory.by_did(subject.did or subject.channel_did or "")
            describe = person_jrd if subject.did else channel_jrd
            return describe(self.addresses, author) if author else None
        username = subject.username or ""
        if author := await self.directory.by_username(username):
            return person_jrd(self.addresses, author)
        owner = channel_owner(username)
        if owner and (author := await self.directory.by_username(owner)):
            return channel_jrd(self.addresses, author)
        return None

    async def actor_named(self, username: str) -> Document | None:
        """Return the actor document behind a profile page, None when there is none."""
        if author := await self.directory.by_username(username):
            return person(self.addresses, author)
        owner = channel_owner(username)
        if owner and (author := await self.directory.by_username(owner)):
            return channel(self.addresses, author)
        return None

    def instance_actor(self) -> Document:
        """Return the actor document of the server itself."""
        return instance(self.addresses, self.instance_key_pem)
