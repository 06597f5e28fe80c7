import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { CircleCheck, FileVideo, RotateCw, X } from "lucide-preact";
import type { UploadLimits } from "../../api/types";
import { formatBytes } from "../../lib/format";
import { Button, IconButton, LinkButton } from "../../ui/Button";
import { TextArea, TextField } from "../../ui/Field";
import { Notice, Progress, Spinner } from "../../ui/States";
import { cancelUpload, patchDraft, removeDraft, retryUpload, splitTags } from "./uploads";
import type { Draft } from "./uploads";

const VISIBILITIES: readonly [string, string][] = [
  ["PUBLIC", "Everybody"],
  ["FOLLOWERS_ONLY", "Followers only"],
  ["PRIVATE", "Only me"],
];

/** The file itself, as the browser can play it: people recognise their clip sooner than its name. */
function Preview({ file }: { file: File }): JSX.Element {
  const [url, setUrl] = useState<string | null>(null);
  const [failed, setFailed] = useState(false);
  useEffect(() => {
    const made = URL.createObjectURL(file);
    setUrl(made);
    return () => URL.revokeObjectURL(made);
  }, [file]);
  return (
    <div class="draft-preview" aria-hidden="true">
      {url === null || failed ? (
        <FileVideo size={28} />
      ) : (
        <video src={url} muted playsInline preload="metadata" onError={() => setFailed(true)} />
      )}
    </div>
  );
}

function VisibilityField({ value, onValue }: { value: string; onValue(value: string): void }): JSX.Element {
  return (
    <label class="field">
      <span class="field-label">Who may watch</span>
      <select
        class="input"
        value={value}
        onChange={(event) => onValue(event.currentTarget.value)}
      >
        {VISIBILITIES.map(([name, label]) => (
          <option key={name} value={name}>
            {label}
          </option>
        ))}
      </select>
    </label>
  );
}

function Fields({ draft, known }: { draft: Draft; known: UploadLimits }): JSX.Element {
  const tags = splitTags(draft.tags, Infinity).length;
  const edit = (change: Partial<Draft>): void => patchDraft(draft.key, change);
  return (
    <div class="draft-fields">
      <TextField
        label="Title"
        value={draft.title}
        onValue={(title) => edit({ title })}
        limit={known.max_title}
        maxLength={known.max_title}
        error={draft.title.trim() === "" ? "A title is needed." : null}
        data-testid="upload-title"
      />
      <TextArea
        label="Description"
        value={draft.description}
        onValue={(description) => edit({ description })}
        limit={known.max_description}
        maxLength={known.max_description}
      />
      <TextField
        label="Tags"
        value={draft.tags}
        onValue={(text) => edit({ tags: text })}
        hint="Separated by spaces or commas. They help the right people find it."
        error={tags > known.max_tags ? `At most ${known.max_tags} tags; the first ${known.max_tags} count.` : null}
      />
      <VisibilityField value={draft.visibility} onValue={(visibility) => edit({ visibility })} />
    </div>
  );
}

function sendingText({ state, sentBytes, totalBytes }: Draft): string {
  if (state === "waiting") return "Waits for the upload before it.";
  if (state === "checking") return "All bytes are there. The server checks the file.";
  const percent = totalBytes > 0 ? Math.floor((sentBytes / totalBytes) * 100) : 0;
  return `${percent} % · ${formatBytes(sentBytes)} of ${formatBytes(totalBytes)}`;
}

function Sending({ draft }: { draft: Draft }): JSX.Element {
  const percent = draft.totalBytes > 0 ? (draft.sentBytes / draft.totalBytes) * 100 : 0;
  return (
    <div class="draft-sending">
      <Progress value={percent} label={`Upload of ${draft.title}`} data-testid="upload-progress" />
      <p class="soft tabular draft-checking">
        {draft.state === "checking" && <Spinner label="Checking" />}
        {sendingText(draft)}
      </p>
    </div>
  );
}

function Outcome({ draft }: { draft: Draft }): JSX.Element | null {
  if (draft.state === "refused") return <Notice kind="error">{draft.message}</Notice>;
  if (draft.state === "failed") {
    return (
      <div class="draft-failed">
        <Notice kind="error">{draft.message}</Notice>
        <Button icon={<RotateCw size={18} />} onClick={() => retryUpload(draft.key)}>
          Try again
        </Button>
      </div>
    );
  }
  if (draft.state !== "done" || draft.video === null) return null;
  return (
    <div class="draft-done">
      <CircleCheck size={20} aria-hidden="true" />
      <span>Uploaded. Now it is being processed.</span>
      <LinkButton href={`/v/${draft.video.id}?uploaded`}>Follow it</LinkButton>
    </div>
  );
}

/** One file of the upload list, from its fields to its outcome. */
export function DraftCard({ draft, known }: { draft: Draft; known: UploadLimits | null }): JSX.Element {
  const sending = draft.state === "waiting" || draft.state === "uploading" || draft.state === "checking";
  const editable = draft.state === "draft" || draft.state === "failed";
  return (
    <article class="draft" data-state={draft.state}>
      <header class="draft-head">
        <Preview file={draft.file} />
        <div class="draft-name">
          <b>{editable || draft.state === "refused" ? draft.file.name : draft.title}</b>
          <span class="soft tabular">{formatBytes(draft.file.size)}</span>
        </div>
        {sending ? (
          <Button onClick={() => cancelUpload(draft.key)}>Cancel</Button>
        ) : (
          draft.state !== "done" && (
            <IconButton label={`Remove ${draft.file.name}`} onClick={() => removeDraft(draft.key)}>
              <X size={20} />
            </IconButton>
          )
        )}
      </header>
      {sending && <Sending draft={draft} />}
      <Outcome draft={draft} />
      {editable && known !== null && <Fields draft={draft} known={known} />}
    </article>
  );
}
