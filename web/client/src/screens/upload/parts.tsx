import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { FileVideo } from "lucide-preact";
import type { UploadLimits } from "../../api/types";
import { TextArea, TextField } from "../../ui/Field";
import { attachFile } from "../../uploads/files";
import { splitTags } from "../../uploads/queue";
import type { Fields } from "../../uploads/queue";

const VISIBILITIES: readonly [string, string][] = [
  ["PUBLIC", "Everybody"],
  ["FOLLOWERS_ONLY", "Followers only"],
  ["PRIVATE", "Only me"],
];

/** The file itself, as the browser can play it: people recognise their clip sooner than its name. */
export function Preview({ file }: { file: File | null }): JSX.Element {
  const video = useRef<HTMLVideoElement>(null);
  const [failed, setFailed] = useState<File | null>(null);
  const shown = file !== null && file !== failed;
  useEffect(() => (shown && video.current !== null ? attachFile(video.current, file) : undefined), [file, shown]);
  return (
    <div class="draft-preview" aria-hidden="true">
      {shown ? (
        <video ref={video} muted playsInline preload="metadata" onError={() => setFailed(file)} />
      ) : (
        <FileVideo size={28} />
      )}
    </div>
  );
}

function VisibilityField({ value, onValue }: { value: string; onValue(value: string): void }): JSX.Element {
  return (
    <label class="field">
      <span class="field-label">Who may watch</span>
      <select class="input" value={value} onChange={(event) => onValue(event.currentTarget.value)}>
        {VISIBILITIES.map(([name, label]) => (
          <option key={name} value={name}>
            {label}
          </option>
        ))}
      </select>
    </label>
  );
}

interface FieldsProps {
  fields: Fields;
  known: UploadLimits;
  onEdit(edit: Partial<Fields>): void;
}

/** What a person says of a video. */
export function FieldsForm({ fields, known, onEdit }: FieldsProps): JSX.Element {
  const tags = splitTags(fields.tags, Infinity).length;
  return (
    <div class="draft-fields">
      <TextField
        label="Title"
        value={fields.title}
        onValue={(title) => onEdit({ title })}
        limit={known.max_title}
        maxLength={known.max_title}
        error={fields.title.trim() === "" ? "A title is needed." : null}
        data-testid="upload-title"
      />
      <TextArea
        label="Description"
        value={fields.description}
        onValue={(description) => onEdit({ description })}
        limit={known.max_description}
        maxLength={known.max_description}
      />
      <TextField
        label="Tags"
        value={fields.tags}
        onValue={(text) => onEdit({ tags: text })}
        hint="Separated by spaces or commas. They help the right people find it."
        error={tags > known.max_tags ? `At most ${known.max_tags} tags; the first ${known.max_tags} count.` : null}
      />
      <VisibilityField value={fields.visibility} onValue={(visibility) => onEdit({ visibility })} />
    </div>
  );
}
