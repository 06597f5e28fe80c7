import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { X } from "lucide-preact";
import { IconButton } from "./Button";

interface DialogProps {
  title: string;
  onClose(): void;
  children: ComponentChildren;
}

/** A modal dialog: the platform's own, which keeps focus inside, closes on Escape and gives focus back. */
export function Dialog({ title, onClose, children }: DialogProps): JSX.Element {
  const ref = useRef<HTMLDialogElement>(null);
  useEffect(() => ref.current?.showModal(), []);
  return (
    <dialog
      ref={ref}
      class="dialog"
      aria-label={title}
      onClose={onClose}
      onClick={(event) => {
        if (event.target === ref.current) ref.current?.close();
      }}
    >
      <div class="dialog-head">
        <h2>{title}</h2>
        <IconButton label="Close" onClick={() => ref.current?.close()}>
          <X size={20} />
        </IconButton>
      </div>
      <div class="dialog-body">{children}</div>
    </dialog>
  );
}
