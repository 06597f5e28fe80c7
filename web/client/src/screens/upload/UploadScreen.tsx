import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { FileVideo, Upload, Video } from "lucide-preact";
import { explain } from "../../api/errors";
import { session } from "../../api/session";
import type { Policy, UploadLimits } from "../../api/types";
import { formatBytes, formatDuration, formatList } from "../../lib/format";
import { TOUCH, useMedia } from "../../lib/media-query";
import { useStore } from "../../lib/store";
import { navigate } from "../../router";
import { Button, LinkButton } from "../../ui/Button";
import { ErrorState, Notice, State } from "../../ui/States";
import { dismiss, uploads } from "../../uploads/queue";
import type { Item } from "../../uploads/queue";
import { hidden } from "./cancelling";
import { DraftCard } from "./DraftCard";
import { addFiles, drafts, limits, loadLimits, sendDrafts } from "./drafts";
import { canRecord, Recorder } from "./Recorder";
import { UploadCard } from "./UploadCard";
import "./upload.css";

function policyLine(policy: Policy): string {
  const formats = formatList(policy.formats.map((format) => format.toUpperCase()), "or");
  const time = policy.max_seconds === null ? "any length" : `up to ${formatDuration(policy.max_seconds)}`;
  return `${formats}, up to ${formatBytes(policy.max_bytes)}, ${time}`;
}

function Limits({ known }: { known: UploadLimits | null }): JSX.Element {
  if (known === null) {
    return (
      <div class="drop-limits" aria-busy="true">
        <div class="skeleton" style={{ width: "280px", height: "16px" }} />
      </div>
    );
  }
  return (
    <ul class="drop-limits">
      {known.items.map((policy) => (
        <li key={policy.name}>{policyLine(policy)}</li>
      ))}
    </ul>
  );
}

interface DropZoneProps {
  known: UploadLimits | null;
  compact: boolean;
  over: boolean;
  onFiles(files: readonly File[]): void;
}

function DropZone({ known, compact, over, onFiles }: DropZoneProps): JSX.Element {
  const input = useRef<HTMLInputElement>(null);
  const touch = useMedia(TOUCH);
  const accept = known?.items.flatMap((policy) => policy.extensions).map((e) => (e.startsWith(".") ? e : `.${e}`));
  return (
    <div class="drop" data-over={over || undefined} data-compact={compact || undefined}>
      {!compact && (
        <div class="state-icon">
          <FileVideo size={32} />
        </div>
      )}
      <h2>{over ? "Let go to add" : compact ? "Add more videos" : touch ? "Choose videos to upload" : "Drop videos anywhere on this page"}</h2>
      {!compact && <Limits known={known} />}
      <input
        ref={input}
        type="file"
        multiple
        class="visually-hidden"
        aria-label="Choose video files"
        tabIndex={-1}
        accept={["video/*", ...(accept ?? [])].join(",")}
        data-testid="upload-file"
        onChange={(event) => {
          onFiles([...(event.currentTarget.files ?? [])]);
          event.currentTarget.value = "";
        }}
      />
      <div class="drop-buttons">
        <Button weight={compact ? "quiet" : "primary"} icon={<Upload size={18} />} onClick={() => input.current?.click()}>
          Choose files
        </Button>
        {known !== null && canRecord() && <RecordButton known={known} onFiles={onFiles} />}
      </div>
    </div>
  );
}

function RecordButton({ known, onFiles }: { known: UploadLimits; onFiles(files: readonly File[]): void }): JSX.Element {
  const [open, setOpen] = useState(false);
  const policy = known.items[0];
  return (
    <>
      <Button icon={<Video size={18} />} data-testid="upload-record" onClick={() => setOpen(true)}>
        Record
      </Button>
      {open && policy !== undefined && (
        <Recorder
          maxSeconds={policy.max_seconds}
          maxBytes={policy.max_bytes}
          onClose={() => setOpen(false)}
          onFile={(file) => {
            setOpen(false);
            onFiles([file]);
          }}
        />
      )}
    </>
  );
}

/** Files may be dropped anywhere on the page; `over` is true while they hover. */
function useDrop(onFiles: (files: readonly File[]) => void): boolean {
  const [over, setOver] = useState(false);
  useEffect(() => {
    const hasFiles = (event: DragEvent): boolean => event.dataTransfer?.types.includes("Files") ?? false;
    const onOver = (event: DragEvent): void => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      setOver(true);
    };
    const onLeave = (event: DragEvent): void => {
      if (event.relatedTarget === null) setOver(false);
    };
    const onDrop = (event: DragEvent): void => {
      setOver(false);
      if (!hasFiles(event)) return;
      event.preventDefault();
      onFiles([...(event.dataTransfer?.files ?? [])]);
    };
    addEventListener("dragover", onOver);
    addEventListener("dragleave", onLeave);
    addEventListener("drop", onDrop);
    return () => {
      removeEventListener("dragover", onOver);
      removeEventListener("dragleave", onLeave);
      removeEventListener("drop", onDrop);
    };
  }, [onFiles]);
  return over;
}

/** The uploads of who is signed in, without those just cancelled. */
function useOwnUploads(): readonly Item[] {
  const userId = useStore(session)?.user.id;
  const gone = useStore(hidden);
  return useStore(uploads).filter((item) => item.userId === userId && !gone.has(item.key));
}

/** With one file there is one place to go when its bytes have arrived: its processing screen. */
function useGoToProcessing(list: readonly Item[]): void {
  const chosen = useStore(drafts).length;
  const only = list.length === 1 && chosen === 0 ? list[0] : undefined;
  const videoId = only?.upload.phase === "COMPLETED" ? only.upload.videoId : null;
  useEffect(() => {
    if (only === undefined || videoId === null) return;
    dismiss(only.key);
    navigate(`/v/${videoId}?uploaded`, { replace: true });
  }, [videoId]);
}

function SubmitBar(): JSX.Element | null {
  const list = useStore(drafts);
  const ready = list.filter((draft) => draft.refusal === null);
  const untitled = ready.some((draft) => draft.fields.title.trim() === "");
  const [asked, setAsked] = useState(false);
  if (ready.length === 0) return null;
  return (
    <div class="submit-bar">
      {asked && untitled && <Notice kind="error">Give every video a title first.</Notice>}
      <Button
        weight="primary"
        wide
        icon={<Upload size={18} />}
        data-testid="upload-submit"
        onClick={() => {
          setAsked(true);
          if (!untitled) void sendDrafts();
        }}
      >
        {ready.length === 1 ? "Upload" : `Upload ${ready.length} videos`}
      </Button>
    </div>
  );
}

function SignInFirst(): JSX.Element {
  return (
    <div class="page page-narrow">
      <State
        icon={<Upload size={32} />}
        title="Upload needs an account"
        actions={
          <>
            <LinkButton weight="primary" href="/signup?next=/upload">
              Create account
            </LinkButton>
            <LinkButton href="/login?next=/upload">Sign in</LinkButton>
          </>
        }
      >
        It takes a user name, an e-mail address and a password.
      </State>
    </div>
  );
}

function Uploader(): JSX.Element {
  const known = useStore(limits);
  const list = useStore(drafts);
  const [error, setError] = useState<string | null>(null);
  const load = (): void => {
    setError(null);
    loadLimits().catch((reason: unknown) => setError(explain(reason)));
  };
  useEffect(load, []);
  const [take] = useState(() => (files: readonly File[]) => {
    if (files.length > 0) addFiles(files).catch((reason: unknown) => setError(explain(reason)));
  });
  const over = useDrop(take);
  const sending = useOwnUploads();
  useGoToProcessing(sending);
  if (error !== null && known === null) return <ErrorState message={error} onRetry={load} />;
  return (
    <div class="page page-narrow">
      <div class="page-head">
        <h1>Upload</h1>
      </div>
      <div class="upload-list">
        {sending.map((item) => (
          <UploadCard key={item.key} item={item} known={known} />
        ))}
        {list.map((draft) => (
          <DraftCard key={draft.key} draft={draft} known={known} />
        ))}
      </div>
      <SubmitBar />
      <DropZone known={known} compact={list.length + sending.length > 0} over={over} onFiles={take} />
    </div>
  );
}

/** Choose, describe and send videos. */
export function UploadScreen(): JSX.Element {
  return useStore(session) === null ? <SignInFirst /> : <Uploader />;
}
