import type { JSX } from "preact";
import { X } from "lucide-preact";
import type { UploadLimits } from "../../api/types";
import { formatBytes } from "../../lib/format";
import { IconButton } from "../../ui/Button";
import { Notice } from "../../ui/States";
import { editDraft, removeDraft } from "./drafts";
import type { Draft } from "./drafts";
import { FieldsForm, Preview } from "./parts";

/** A chosen file: its words, or why it cannot be sent. */
export function DraftCard({ draft, known }: { draft: Draft; known: UploadLimits | null }): JSX.Element {
  const { file, refusal } = draft;
  return (
    <article class="draft" data-state={refusal === null ? "draft" : "refused"}>
      <header class="draft-head">
        <Preview file={file} />
        <div class="draft-name">
          <b>{file.name}</b>
          <span class="soft tabular">{formatBytes(file.size)}</span>
        </div>
        <IconButton label={`Remove ${file.name}`} onClick={() => removeDraft(draft.key)}>
          <X size={20} />
        </IconButton>
      </header>
      {refusal !== null && <Notice kind="error">{refusal}</Notice>}
      {refusal === null && known !== null && (
        <FieldsForm fields={draft.fields} known={known} onEdit={(edit) => editDraft(draft.key, edit)} />
      )}
    </article>
  );
}
