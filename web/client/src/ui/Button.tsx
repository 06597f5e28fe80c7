import type { ComponentChildren, JSX } from "preact";

export interface ButtonProps extends Omit<JSX.HTMLAttributes<HTMLButtonElement>, "icon"> {
  weight?: "primary" | "quiet" | "danger";
  wide?: boolean;
  icon?: ComponentChildren;
  type?: "button" | "submit";
  disabled?: boolean;
}

/** The one button of the client. */
export function Button({ weight = "quiet", wide, icon, type = "button", children, ...rest }: ButtonProps): JSX.Element {
  return (
    <button type={type} class="button" data-weight={weight} data-wide={wide || undefined} {...rest}>
      {icon}
      {children}
    </button>
  );
}

export interface LinkButtonProps {
  href: string;
  weight?: "primary" | "quiet";
  icon?: ComponentChildren;
  children: ComponentChildren;
  "data-testid"?: string;
}

/** A link that looks like the button. */
export function LinkButton({ weight = "quiet", icon, children, ...rest }: LinkButtonProps): JSX.Element {
  return (
    <a class="button" data-weight={weight} {...rest}>
      {icon}
      {children}
    </a>
  );
}

export interface IconButtonProps extends JSX.HTMLAttributes<HTMLButtonElement> {
  /** What it does, for those who do not see the icon. */
  label: string;
  pressed?: boolean;
}

export function IconButton({ label, pressed, children, ...rest }: IconButtonProps): JSX.Element {
  return (
    <button type="button" class="icon-button" aria-label={label} title={label} aria-pressed={pressed} {...rest}>
      {children}
    </button>
  );
}
