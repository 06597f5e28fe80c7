import { toast } from "../ui/toasts";

/** Copy, and say so; where the browser refuses, show the text to copy by hand. */
export async function copyText(text: string, done = "Copied."): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    toast(done);
    return true;
  } catch {
    toast(`Copy this: ${text}`);
    return false;
  }
}
