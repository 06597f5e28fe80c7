import type { JSX } from "preact";
import { useRef, useState } from "preact/hooks";
import { CircleCheck, FileVideo, Pause, Pencil, Play, RotateCw, X } from "lucide-preact";
import type { UploadLimits } from "../../api/types";
import { formatBytes } from "../../lib/format";
import { useStore } from "../../lib/store";
import { Button, IconButton, LinkButton } from "../../ui/Button";
import { Notice, Progress, Spinner } from "../../ui/States";
import { bytesDone, may } from "../../uploads/machine";
import type { Phase, Upload, Wish } from "../../uploads/machine";
import { dismiss, editFields, giveFile, online, sendingHere, wish } from "../../uploads/queue";
import type { Item } from "../../uploads/queue";
import { cancelWithUndo } from "./cancelling";
import { FieldsForm, Preview } from "./parts";

const WORDS: readonly Phase[] = ["UPLOADING", "RETRYING", "PAUSED", "FAILED"];

function percentOf(upload: Upload): number {
  return upload.size > 0 ? (bytesDone(upload) / upload.size) * 100 : 0;
}

/** What else there is to say about a state; the word itself stands beside it. */
function sentence(upload: Upload, isOnline: boolean): string | null {
  switch (upload.phase) {
    case "WAITING":
      return "Waits for the upload before it.";
    case "RETRYING":
      if (!isOnline) return "You are offline. It goes on when the network is back.";
      return upload.failure?.code === "NETWORK"
        ? "The server cannot be reached. Trying again, from the last part that arrived."
        : `${upload.failure?.message ?? "A part did not arrive."} Trying again.`;
    case "PAUSED":
      return upload.needsFile ? null : "Nothing is sent until you resume.";
    case "CHECKING":
      return "All bytes are there. The server checks the file.";
    default:
      return null;
  }
}

function Sending({ item }: { item: Item }): JSX.Element {
  const { upload, fields } = item;
  const isOnline = useStore(online);
  const here = useStore(sendingHere);
  const percent = percentOf(upload);
  const said = sentence(upload, isOnline);
  return (
    <div class="draft-sending" data-phase={upload.phase}>
      <div class="upload-line">
        <span role="status" class="upload-word" data-phase={upload.phase} data-testid="upload-status">
          {WORDS.includes(upload.phase) ? upload.phase : ""}
        </span>
        <span class="soft tabular" data-testid="upload-bytes">
          {formatBytes(bytesDone(upload))} of {formatBytes(upload.size)}
        </span>
        <b class="tabular upload-percent">{Math.floor(percent)} %</b>
      </div>
      <Progress value={percent} label={`Upload of ${fields.title}`} data-testid="upload-progress" />
      {said !== null && (
        <p class="soft draft-checking">
          {upload.phase === "CHECKING" && <Spinner label="Checking" />}
          {said}
        </p>
      )}
      {!here && <p class="soft">Another tab of this browser sends it. It goes on here when you close that tab.</p>}
    </div>
  );
}

function WishButton({ item, what, children, icon }: { item: Item; what: Wish; children: string; icon: JSX.Element }): JSX.Element {
  return (
    <Button
      icon={icon}
      disabled={!may(item.upload, what)}
      data-testid={`upload-${what}`}
      onClick={() => (what === "cancel" ? cancelWithUndo(item) : wish(item.key, what))}
    >
      {children}
    </Button>
  );
}

function Buttons({ item }: { item: Item }): JSX.Element {
  const { phase } = item.upload;
  return (
    <div class="upload-buttons">
      {phase === "FAILED" ? (
        <WishButton item={item} what="retry" icon={<RotateCw size={18} />}>
          Try again
        </WishButton>
      ) : (
        <>
          <WishButton item={item} what="pause" icon={<Pause size={18} />}>
            Pause
          </WishButton>
          <WishButton item={item} what="resume" icon={<Play size={18} />}>
            Resume
          </WishButton>
        </>
      )}
      <WishButton item={item} what="cancel" icon={<X size={18} />}>
        Cancel
      </WishButton>
    </div>
  );
}

/** The page was loaded anew and could not keep the file: only the person can show it again. */
function FileAgain({ item }: { item: Item }): JSX.Element {
  const input = useRef<HTMLInputElement>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const take = async (file: File | undefined): Promise<void> => {
    if (file !== undefined) setProblem(await giveFile(item.key, file));
  };
  return (
    <div class="draft-failed">
      <Notice kind={problem === null ? "plain" : "error"}>
        {problem ?? `Choose “${item.mark.name}” again to go on where it stopped. What arrived is kept.`}
      </Notice>
      <input
        ref={input}
        type="file"
        class="visually-hidden"
        tabIndex={-1}
        aria-label={`Choose ${item.mark.name} again`}
        data-testid="upload-file-again"
        onChange={(event) => void take(event.currentTarget.files?.[0])}
      />
      <Button weight="primary" icon={<FileVideo size={18} />} onClick={() => input.current?.click()}>
        Choose the file
      </Button>
    </div>
  );
}

function Done({ item }: { item: Item }): JSX.Element {
  return (
    <div class="draft-done" role="status">
      <CircleCheck size={20} aria-hidden="true" />
      <span>Uploaded. Now it is being processed.</span>
      <LinkButton href={`/v/${item.upload.videoId}?uploaded`}>Follow it</LinkButton>
    </div>
  );
}

/** One upload: how far it is, what can be done, and its words, which may change until its last byte. */
export function UploadCard({ item, known }: { item: Item; known: UploadLimits | null }): JSX.Element {
  const { upload, fields, key } = item;
  const [editing, setEditing] = useState(false);
  const done = upload.phase === "COMPLETED";
  const editable = !done && upload.phase !== "CHECKING";
  return (
    <article class="draft" data-state={upload.phase} data-testid="upload-card">
      <header class="draft-head">
        <Preview file={item.file} />
        <div class="draft-name">
          <b>{fields.title.trim() || item.mark.name}</b>
          <span class="soft upload-file-name">{item.mark.name}</span>
        </div>
        {editable && (
          <IconButton label={editing ? "Close the details" : "Edit the details"} pressed={editing} onClick={() => setEditing(!editing)}>
            <Pencil size={20} />
          </IconButton>
        )}
        {done && (
          <IconButton label={`Remove ${item.mark.name}`} onClick={() => dismiss(key)}>
            <X size={20} />
          </IconButton>
        )}
      </header>
      {done ? <Done item={item} /> : <Sending item={item} />}
      {upload.phase === "FAILED" && <Notice kind="error">{upload.failure?.message}</Notice>}
      {upload.needsFile && <FileAgain item={item} />}
      {!done && <Buttons item={item} />}
      {editing && editable && known !== null && (
        <FieldsForm fields={fields} known={known} onEdit={(edit) => editFields(key, edit)} />
      )}
    </article>
  );
}
