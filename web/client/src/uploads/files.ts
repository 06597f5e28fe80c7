/** What tells one file from another without reading all of it. */
export interface FileMark {
  name: string;
  size: number;
  /** SHA-256 of the first and the last block in hex; null where the page has no right to hash. */
  ends: string | null;
}

const BLOCK_BYTES = 1024 * 1024;

/** SHA-256 over the first and the last mebibyte. */
export async function hashEnds(file: Blob): Promise<string | null> {
  // Only pages of a secure origin have it.
  if (globalThis.crypto?.subtle === undefined) return null;
  const last = Math.max(0, file.size - BLOCK_BYTES);
  const ends = new Blob([file.slice(0, BLOCK_BYTES), file.slice(last)]);
  const digest = await crypto.subtle.digest("SHA-256", await ends.arrayBuffer());
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export async function markFile(file: File): Promise<FileMark> {
  return { name: file.name, size: file.size, ends: await hashEnds(file) };
}

/** Why another file cannot take the place of the first one; null when it is the same. */
export function differs(wanted: FileMark, found: FileMark): string | null {
  // A recording or a download may have got another name: what is inside decides.
  if (wanted.size !== found.size) return `“${found.name}” has another size. Choose “${wanted.name}”.`;
  if (wanted.ends === null || found.ends === null) {
    return wanted.name === found.name ? null : `This is “${found.name}”. Choose “${wanted.name}”.`;
  }
  return wanted.ends === found.ends ? null : `“${found.name}” is not the same file. Choose “${wanted.name}”.`;
}

/** Let an element play a file; returns what takes the file away from it again. */
export function attachFile(video: HTMLVideoElement, file: Blob): () => void {
  const url = URL.createObjectURL(file);
  video.src = url;
  return () => {
    video.removeAttribute("src");
    // Only this lets go of the address: without it the element goes on asking for it, in vain.
    video.load();
    URL.revokeObjectURL(url);
  };
}

/** Seconds a file plays, as far as the browser can tell; null when it cannot. */
export function measureDuration(file: Blob): Promise<number | null> {
  return new Promise((resolve) => {
    const video = document.createElement("video");
    const finish = (seconds: number | null): void => {
      clearTimeout(timer);
      detach();
      resolve(seconds);
    };
    const timer = setTimeout(() => finish(null), 3_000);
    video.preload = "metadata";
    video.onloadedmetadata = () => finish(Number.isFinite(video.duration) ? video.duration : null);
    video.onerror = () => finish(null);
    const detach = attachFile(video, file);
  });
}
