import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { Circle, Square } from "lucide-preact";
import { formatBytes, formatClock } from "../../lib/format";
import { Button } from "../../ui/Button";
import { Dialog } from "../../ui/Dialog";
import { Notice, Spinner } from "../../ui/States";

/** What the server takes, best first; every browser that records knows one of them. */
const TYPES = ["video/mp4;codecs=avc1.42E01E,mp4a.40.2", "video/webm;codecs=vp9,opus", "video/webm"];
const PIECE_MS = 1_000;

export function canRecord(): boolean {
  return typeof MediaRecorder !== "undefined" && navigator.mediaDevices?.getUserMedia !== undefined;
}

function explainCamera(error: unknown): string {
  const name = error instanceof DOMException ? error.name : "";
  if (name === "NotAllowedError") return "This page may not use camera and microphone. Allow it in the browser and open this again.";
  if (name === "NotFoundError") return "No camera or microphone was found. Connect one and open this again.";
  return "The camera could not be started. Close other programs that use it and open this again.";
}

interface RecorderProps {
  /** Longest recording in seconds, null without a limit. */
  maxSeconds: number | null;
  maxBytes: number;
  onFile(file: File): void;
  onClose(): void;
}

/** Start the camera while the dialog is open; it goes dark when it closes. */
function useCamera(): { stream: MediaStream | null; problem: string | null } {
  const [stream, setStream] = useState<MediaStream | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  useEffect(() => {
    let open = true;
    let got: MediaStream | null = null;
    navigator.mediaDevices.getUserMedia({ video: { height: { ideal: 1080 } }, audio: true }).then(
      (found) => {
        got = found;
        if (open) setStream(found);
        else found.getTracks().forEach((track) => track.stop());
      },
      (error: unknown) => open && setProblem(explainCamera(error)),
    );
    return () => {
      open = false;
      got?.getTracks().forEach((track) => track.stop());
    };
  }, []);
  return { stream, problem };
}

interface Recording {
  seconds: number;
  bytes: number;
  running: boolean;
  start(): void;
  stop(): void;
}

function useRecording(stream: MediaStream | null, { maxSeconds, maxBytes, onFile }: RecorderProps): Recording {
  const [seconds, setSeconds] = useState(0);
  const [bytes, setBytes] = useState(0);
  const recorder = useRef<MediaRecorder | null>(null);
  const [running, setRunning] = useState(false);
  const stop = (): void => {
    if (recorder.current?.state === "recording") recorder.current.stop();
  };
  const start = (): void => {
    if (stream === null) return;
    const type = TYPES.find((name) => MediaRecorder.isTypeSupported(name)) ?? "";
    const made = new MediaRecorder(stream, type === "" ? {} : { mimeType: type });
    const pieces: Blob[] = [];
    const began = performance.now();
    made.ondataavailable = ({ data }) => {
      pieces.push(data);
      const size = pieces.reduce((sum, piece) => sum + piece.size, 0);
      const length = (performance.now() - began) / 1000;
      setBytes(size);
      setSeconds(length);
      // The last piece still comes: stop before the limits, not at them.
      if ((maxSeconds !== null && length > maxSeconds - 2) || size > maxBytes * 0.95) stop();
    };
    made.onstop = () => {
      setRunning(false);
      const kind = made.mimeType.split(";")[0] || "video/webm";
      const when = new Date().toLocaleString("sv").replace(/:/g, ".");
      onFile(new File(pieces, `Recording ${when}.${kind === "video/mp4" ? "mp4" : "webm"}`, { type: kind }));
    };
    recorder.current = made;
    made.start(PIECE_MS);
    setRunning(true);
  };
  return { seconds, bytes, running, start, stop };
}

/** Record a video with the camera (Q1). */
export function Recorder(props: RecorderProps): JSX.Element {
  const { stream, problem } = useCamera();
  const recording = useRecording(stream, props);
  const view = useRef<HTMLVideoElement>(null);
  useEffect(() => {
    if (view.current !== null) view.current.srcObject = stream;
  }, [stream]);
  return (
    <Dialog title="Record a video" onClose={props.onClose}>
      {problem !== null && <Notice kind="error">{problem}</Notice>}
      {problem === null && (
        <div class="recorder">
          <div class="recorder-view on-video">
            {stream === null ? <Spinner label="Starting the camera" /> : <video ref={view} autoPlay muted playsInline />}
          </div>
          <p class="soft tabular" aria-live="off">
            {formatClock(recording.seconds)}
            {props.maxSeconds !== null && ` of ${formatClock(props.maxSeconds)}`} · {formatBytes(recording.bytes)}
          </p>
          {recording.running ? (
            <Button weight="danger" wide icon={<Square size={18} fill="currentColor" />} onClick={recording.stop}>
              Stop
            </Button>
          ) : (
            <Button weight="primary" wide disabled={stream === null} icon={<Circle size={18} fill="currentColor" />} onClick={recording.start}>
              Record
            </Button>
          )}
        </div>
      )}
    </Dialog>
  );
}
