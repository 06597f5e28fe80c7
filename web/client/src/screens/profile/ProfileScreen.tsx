import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Clapperboard, Plus } from "lucide-preact";
import { listOwnVideos } from "../../api/endpoints";
import { explain } from "../../api/errors";
import { session } from "../../api/session";
import type { Video } from "../../api/types";
import { useStore } from "../../lib/store";
import { LinkButton } from "../../ui/Button";
import { Avatar } from "../../ui/Mark";
import { ErrorState, State } from "../../ui/States";
import { CardSkeletons, VideoCard } from "../../ui/VideoCard";
import { copyText } from "../../lib/clipboard";
import "./profile.css";

/** Of the own videos, what everybody sees on this page. */
function OwnPublicVideos(): JSX.Element {
  const [videos, setVideos] = useState<readonly Video[] | null>(null);
  const [error, setError] = useState<string | null>(null);
  const load = (): void => {
    setError(null);
    listOwnVideos(null)
      .then((page) => setVideos(page.items.filter((v) => v.status === "READY" && v.visibility !== "PRIVATE")))
      .catch((reason: unknown) => setError(explain(reason)));
  };
  useEffect(load, []);
  if (error !== null) return <ErrorState message={error} onRetry={load} />;
  if (videos === null) return <CardSkeletons />;
  if (videos.length > 0) {
    return (
      <div class="cards">
        {videos.map((video) => (
          <VideoCard key={video.id} video={video} />
        ))}
      </div>
    );
  }
  return (
    <State
      icon={<Clapperboard size={32} />}
      title="Nothing public yet"
      actions={
        <LinkButton weight="primary" href="/upload" icon={<Plus size={18} />}>
          Upload a video
        </LinkButton>
      }
    >
      Your public videos appear here when they are ready.
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
      {own ? (
        <OwnPublicVideos />
      ) : (
        <State
          icon={<Clapperboard size={32} />}
          title={`Follow ${name} from anywhere`}
          actions={
            <LinkButton weight="primary" href="/">
              To the feed
            </LinkButton>
          }
        >
          Paste {address} into the search of Mastodon, Pixelfed or another fediverse app. Their videos here come to you
          in the feed.
        </State>
      )}
    </div>
  );
}
