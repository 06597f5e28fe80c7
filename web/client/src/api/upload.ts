import { ApiError, networkError, parseError } from "./errors";
import { freshToken } from "./http";
import type { Video } from "./types";

export interface UploadFields {
  title: string;
  description: string;
  tags: readonly string[];
  visibility: string;
  policy: string;
}

export interface UploadHandle {
  done: Promise<Video>;
  cancel(): void;
}

export const CANCELLED = "CANCELLED";

function formOf(file: File, fields: UploadFields): FormData {
  const form = new FormData();
  form.set("title", fields.title);
  form.set("description", fields.description);
  for (const tag of fields.tags) form.append("tags", tag);
  form.set("visibility", fields.visibility);
  form.set("policy", fields.policy);
  // Last, so that the server knows the limits before the first byte of the file.
  form.set("file", file, file.name);
  return form;
}

/** XMLHttpRequest and not fetch: only it tells how many bytes have left (Q4). */
function sendForm(xhr: XMLHttpRequest, form: FormData, token: string | null): Promise<Video> {
  return new Promise((resolve, reject) => {
    xhr.open("POST", "/api/v1/videos/upload");
    xhr.responseType = "json";
    xhr.setRequestHeader("Accept", "application/json");
    if (token !== null) xhr.setRequestHeader("Authorization", `Bearer ${token}`);
    xhr.onload = () => {
      if (xhr.status >= 200 && xhr.status < 300 && xhr.response) resolve(xhr.response as Video);
      else reject(parseError(xhr.status, xhr.response));
    };
    xhr.onerror = () => reject(networkError());
    xhr.onabort = () => reject(new ApiError(CANCELLED, 0, "The upload was cancelled."));
    xhr.send(form);
  });
}

/** Send one file with its fields. `onBytes` hears how many bytes of the request have left, of how many. */
export function startUpload(
  file: File,
  fields: UploadFields,
  onBytes: (sent: number, total: number) => void,
): UploadHandle {
  const xhr = new XMLHttpRequest();
  let cancelled = false;
  xhr.upload.onprogress = (event) => {
    if (event.lengthComputable) onBytes(event.loaded, event.total);
  };
  const done = freshToken().then((token) => {
    if (cancelled) throw new ApiError(CANCELLED, 0, "The upload was cancelled.");
    return sendForm(xhr, formOf(file, fields), token);
  });
  return {
    done,
    cancel() {
      cancelled = true;
      xhr.abort();
    },
  };
}
