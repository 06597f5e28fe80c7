import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { getEncoding, getVideo } from "../api/endpoints";
import { ApiError, explain } from "../api/errors";
import { connected, listen } from "../api/socket";
import type { Frame } from "../api/socket";
import type { Video } from "../api/types";

export interface VideoView {
  video: Video | null;
  /** Stage of the processing as the server names it; null when unknown. */
  stage: string | null;
  /** 0..100 when measured, else null. */
  progress: number | null;
  error: string | null;
  missing: boolean;
  reload(): void;
}

const POLL_MS = 2_000;

export function isProcessing(video: Pick<Video, "status">): boolean {
  return video.status !== "READY" && video.status !== "FAILED";
}

/** Progress never falls, whatever the order in which pushes and answers arrive. */
function raise(previous: number | null, next: number | null): number | null {
  return next === null ? previous : Math.max(previous ?? 0, next);
}

/** Hear of a video by pushes, or look every two seconds while there are none and it is waited for. */
function follow(
  id: string,
  isWaiting: () => boolean,
  load: () => void,
  onProgress: (progress: number | null, stage: string | null) => void,
): () => void {
  const stop = listen((frame: Frame) => {
    if (frame.data?.video_id !== id) return;
    if (frame.event === "video_status") load();
    if (frame.event === "video_progress") onProgress(frame.data.progress, frame.data.stage);
  });
  // What happened before the socket opened was not pushed: look once more.
  const unsubscribe = connected.subscribe((open) => open && load());
  const timer = setInterval(() => {
    if (isWaiting() && !connected.get() && document.visibilityState === "visible") load();
  }, POLL_MS);
  return () => {
    stop();
    unsubscribe();
    clearInterval(timer);
  };
}

/** A video that stays current: pushed while the socket is open, polled while it is not (Q12, Q26). */
export function useVideo(id: string): VideoView {
  const [video, setVideo] = useState<Video | null>(null);
  const [stage, setStage] = useState<string | null>(null);
  const [progress, setProgress] = useState<number | null>(null);
  const [error, setError] = useState<ApiError | Error | null>(null);
  const current = useRef<Video | null>(null);

  const load = useCallback(async () => {
    try {
      const next = await getVideo(id);
      current.current = next;
      setVideo(next);
      setError(null);
      if (!isProcessing(next)) return;
      const encoding = await getEncoding(id);
      setProgress((previous) => raise(previous, encoding.stage === null ? null : encoding.progress));
      setStage(encoding.stage);
    } catch (reason) {
      setError(reason as Error);
    }
  }, [id]);

  useEffect(() => {
    setVideo(null);
    setProgress(null);
    setStage(null);
    void load();
    const isWaiting = (): boolean => current.current === null || isProcessing(current.current);
    return follow(id, isWaiting, () => void load(), (next, name) => {
      setProgress((previous) => raise(previous, next));
      setStage(name);
    });
  }, [id, load]);

  const missing = error instanceof ApiError && (error.status === 404 || error.status === 410 || error.status === 403);
  return { video, stage, progress, error: error && explain(error), missing, reload: () => void load() };
}
