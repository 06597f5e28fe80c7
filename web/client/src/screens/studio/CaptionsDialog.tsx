import type { JSX } from "preact";
import { useCallback, useEffect, useState } from "preact/hooks";
import { Captions, Trash2 } from "lucide-preact";
import { deleteCaption, listCaptions, putCaption } from "../../api/endpoints";
import { ApiError, explain } from "../../api/errors";
import type { Caption } from "../../api/types";
import { Button, IconButton } from "../../ui/Button";
import { Dialog } from "../../ui/Dialog";
import { TextField } from "../../ui/Field";
import { toast } from "../../ui/toasts";

interface Listing {
  captions: readonly Caption[] | null;
  error: unknown;
  /** Do something, then list again; true when it was done. */
  change(action: () => Promise<unknown>): Promise<boolean>;
}

function useCaptions(videoId: string): Listing {
  const [captions, setCaptions] = useState<readonly Caption[] | null>(null);
  const [error, setError] = useState<unknown>(null);
  const change = useCallback(
    async (action: () => Promise<unknown>): Promise<boolean> => {
      setError(null);
      try {
        await action();
        setCaptions((await listCaptions(videoId)).items);
        return true;
      } catch (reason) {
        setError(reason);
        return false;
      }
    },
    [videoId],
  );
  useEffect(() => void change(async () => undefined), [change]);
  return { captions, error, change };
}

function Entry({ caption, onRemove }: { caption: Caption; onRemove(): void }): JSX.Element {
  return (
    <li class="caption-entry">
      <a href={caption.url} target="_blank" rel="noreferrer">
        {caption.name} <small>{caption.language}</small>
      </a>
      <IconButton label={`Remove captions in ${caption.name}`} onClick={onRemove}>
        <Trash2 size={18} />
      </IconButton>
    </li>
  );
}

/** The captions of an own video: add or replace a WebVTT or SubRip file by language, take one back (Y6). */
export function CaptionsDialog({ videoId, onClose }: { videoId: string; onClose(): void }): JSX.Element {
  const { captions, error, change } = useCaptions(videoId);
  const [language, setLanguage] = useState(navigator.language);
  const [file, setFile] = useState<File | null>(null);
  const about = error instanceof ApiError ? error.field : null;
  const add = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (file === null) return;
    if (await change(() => putCaption(videoId, language, file))) toast("Captions saved.");
  };
  return (
    <Dialog title="Captions" onClose={onClose}>
      <ul class="caption-list" data-testid="captions">
        {captions?.map((caption) => (
          <Entry
            key={caption.language}
            caption={caption}
            onRemove={() => void change(() => deleteCaption(videoId, caption.language))}
          />
        ))}
        {captions?.length === 0 && <li class="card-meta">None yet.</li>}
      </ul>
      <form onSubmit={(event) => void add(event)}>
        <TextField
          label="Language"
          hint="A language tag, such as en or pt-BR."
          value={language}
          onValue={setLanguage}
          error={about === "language" ? explain(error) : null}
          required
        />
        <label class="field">
          <span>File, WebVTT or SubRip</span>
          <input
            type="file"
            accept=".vtt,.srt,text/vtt,application/x-subrip"
            required
            onChange={(event) => setFile(event.currentTarget.files?.[0] ?? null)}
          />
        </label>
        {error !== null && about !== "language" && (
          <p class="field-error" role="alert">
            {explain(error)}
          </p>
        )}
        <Button weight="primary" type="submit" icon={<Captions size={18} />}>
          Save captions
        </Button>
      </form>
    </Dialog>
  );
}
