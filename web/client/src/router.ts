import { createStore } from "./lib/store";

/** The screens and what their addresses carry. */
export type Route =
  | { name: "feed" }
  | { name: "signup" }
  | { name: "login" }
  | { name: "upload" }
  | { name: "studio" }
  | { name: "settings" }
  | { name: "analyst" }
  | { name: "video"; id: string }
  | { name: "profile"; username: string }
  | { name: "missing" };

const FIXED: Readonly<Record<string, Route>> = {
  "/": { name: "feed" },
  "/signup": { name: "signup" },
  "/login": { name: "login" },
  "/upload": { name: "upload" },
  "/studio": { name: "studio" },
  "/settings": { name: "settings" },
  "/analyst": { name: "analyst" },
};

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The screen of a path; a trailing slash does not matter. */
export function parseRoute(pathname: string): Route {
  const path = pathname.length > 1 ? pathname.replace(/\/+$/, "") : pathname;
  const fixed = FIXED[path];
  if (fixed !== undefined) return fixed;
  const video = /^\/v\/([^/]+)$/.exec(path);
  if (video?.[1] !== undefined) return { name: "video", id: decode(video[1]) };
  const profile = /^\/@([^/]+)$/.exec(path);
  if (profile?.[1] !== undefined) return { name: "profile", username: decode(profile[1]) };
  return { name: "missing" };
}

export const currentPath = createStore(typeof location === "undefined" ? "/" : location.pathname);

/** Only a path of this site may be gone to after signing in: an address in a link is not trusted. */
export function safeNext(search: string): string {
  const next = new URLSearchParams(search).get("next") ?? "/";
  return next.startsWith("/") && !next.startsWith("//") && !next.includes("\\") ? next : "/";
}

export function navigate(to: string, options: { replace?: boolean } = {}): void {
  if (options.replace) history.replaceState(null, "", to);
  else history.pushState(null, "", to);
  currentPath.set(location.pathname);
}

/** Follow the back button, and keep clicks on our own links inside the page. */
export function startRouter(): void {
  addEventListener("popstate", () => currentPath.set(location.pathname));
  document.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = (event.target as Element | null)?.closest<HTMLAnchorElement>("a[href]");
    if (!link || link.target !== "" || link.origin !== location.origin || link.hasAttribute("download")) return;
    if (parseRoute(link.pathname).name === "missing") return;
    event.preventDefault();
    navigate(link.pathname + link.search);
  });
}
