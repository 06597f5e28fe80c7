import { Component, h } from "preact";
import type { ComponentChild, FunctionComponent } from "preact";

function sameProps(a: Readonly<Record<string, unknown>>, b: Readonly<Record<string, unknown>>): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => Object.is(a[name], b[name]));
}

/** Render again only when a property changed: a long feed must not pay for every like. */
export function memo<P extends object>(View: FunctionComponent<P>): FunctionComponent<P> {
  class Memo extends Component<P> {
    override shouldComponentUpdate(next: P): boolean {
      return !sameProps(this.props as Record<string, unknown>, next as Record<string, unknown>);
    }

    override render(): ComponentChild {
      return h(View, this.props as P);
    }
  }
  return Memo as unknown as FunctionComponent<P>;
}
