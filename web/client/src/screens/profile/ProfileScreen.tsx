import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Clapperboard, Globe, UserX } from "lucide-preact";
import { getUser, listVideosOf } from "../../api/endpoints";
import { ApiError, explain } from "../../api/errors";
import { session } from "../../api/session";
import type { Video } from "../../api/types";
import { copyText } from "../../lib/clipboard";
import { useStore } from "../../lib/store";
import { Button, LinkButton } from "../../ui/Button";
import { Avatar } from "../../ui/Mark";
import { ErrorState, State } from "../../ui/States";
import { CardSkeletons, VideoCard } from "../../ui/VideoCard";
import "./profile.css";

type Page = { videos: readonly Video[]; cursor: string | null } | null;

/** A person of this server and their public videos, page by page. */
function useProfile(username: string) {
  const [page, setPage] = useState<Page>(null);
  const [userId, setUserId] = useState<string | null>(null);
  const [error, setError] = useState<unknown>(null);
  const load = async (): Promise<void> => {
    setError(null);
    try {
      const id = userId ?? (await getUser(username)).id;
      setUserId(id);
      const next = await listVideosOf(id, page?.cursor ?? null);
      setPage({ videos: [...(page?.videos ?? []), ...next.items], cursor: next.next_cursor });
    } catch (reason) {
      setError(reason);
    }
  };
  useEffect(() => void load(), [username]);
  return { page, error, load: () => void load() };
}

function Empty({ own, name }: { own: boolean; name: string }): JSX.Element {
  return (
    <State
      icon={<Clapperboard size={32} />}
      title="Nothing public yet"
      actions={
        <LinkButton weight="primary" href={own ? "/upload" : "/"}>
          {own ? "Upload a video" : "To the feed"}
        </LinkButton>
      }
    >
      {own ? "Your public videos appear here when they are ready." : `When ${name} publishes a video, it is here.`}
    </State>
  );
}

function Videos({ own, name }: { own: boolean; name: string }): JSX.Element {
  const { page, error, load } = useProfile(name);
  if (error instanceof ApiError && error.status === 404) {
    return (
      <State icon={<UserX size={32} />} title="Nobody here has this name">
        Check the spelling of @{name}.
      </State>
    );
  }
  if (error !== null && page === null) return <ErrorState message={explain(error)} onRetry={load} />;
  if (page === null) return <CardSkeletons />;
  if (page.videos.length === 0) return <Empty own={own} name={name} />;
  return (
    <>
      <div class="cards">
        {page.videos.map((video) => (
          <VideoCard key={video.id} video={video} />
        ))}
      </div>
      {page.cursor !== null && (
        <div class="card-more">
          <Button onClick={load}>Show more</Button>
        </div>
      )}
    </>
  );
}

function Elsewhere({ address }: { address: string }): JSX.Element {
  return (
    <State
      icon={<Globe size={32} />}
      title="This profile lives on another server"
      actions={
        <LinkButton weight="primary" href="/">
          To the feed
        </LinkButton>
      }
    >
      Paste {address} into the search of your fediverse app to find it.
    </State>
  );
}

/** `/@name`: who this is, and how to reach them from any server of the fediverse. */
export function ProfileScreen({ username }: { username: string }): JSX.Element {
  const current = useStore(session);
  const [name = "", host = location.host] = username.split("@");
  const own = current?.user.username === name && host === location.host;
  const address = `@${name}@${host}`;
  return (
    <div class="page">
      <header class="profile">
        <Avatar name={name} />
        <div>
          <h1>{name}</h1>
          <button type="button" class="profile-address" title="Copy the address" onClick={() => void copyText(address)}>
            {address}
          </button>
        </div>
      </header>
      {host === location.host ? <Videos own={own} name={name} /> : <Elsewhere address={address} />}
    </div>
  );
}
