import type { ComponentChildren, JSX } from "preact";
import { ChartColumn, Clapperboard, House, LogIn, LogOut, Plus, Settings, User } from "lucide-preact";
import { mayAnalyse } from "../api/analyst";
import { logout } from "../api/endpoints";
import { session } from "../api/session";
import { useStore } from "../lib/store";
import { navigate } from "../router";
import type { Route } from "../router";
import { isGoing } from "../uploads/machine";
import { uploads } from "../uploads/queue";
import { Avatar, Mark } from "./Mark";
import { IconButton } from "./Button";
import { toast } from "./toasts";

interface NavLinkProps {
  href: string;
  label: string;
  icon: ComponentChildren;
  current: boolean;
  main?: boolean;
  dot?: boolean;
  "data-testid"?: string;
}

function NavLink({ href, label, icon, current, main, dot, ...rest }: NavLinkProps): JSX.Element {
  return (
    <a class="nav-link" href={href} aria-current={current ? "page" : undefined} data-main={main || undefined} {...rest}>
      <span class="nav-icon">
        {icon}
        {dot && <span class="nav-dot" title="Uploading" />}
      </span>
      <span>{label}</span>
    </a>
  );
}

/** Sign out here even when the server cannot be told. */
export async function signOut(): Promise<void> {
  await logout().catch(() => undefined);
  navigate("/");
  toast("Signed out.");
}

function useUploading(): boolean {
  return useStore(uploads).some(({ upload }) => isGoing(upload));
}

/** Desktop navigation. */
export function Rail({ route }: { route: Route }): JSX.Element {
  const current = useStore(session);
  const running = useUploading();
  const at = route.name;
  return (
    <nav class="rail" aria-label="Main">
      <Mark />
      <NavLink href="/" label="For you" icon={<House size={22} />} current={at === "feed"} />
      <NavLink href="/upload" label="Upload" icon={<Plus size={22} />} current={at === "upload"} dot={running} data-testid="nav-upload" />
      <NavLink href="/studio" label="Your videos" icon={<Clapperboard size={22} />} current={at === "studio"} />
      {mayAnalyse(current?.user.role) && (
        <NavLink href="/analyst" label="Analysts" icon={<ChartColumn size={22} />} current={at === "analyst"} />
      )}
      <NavLink href="/settings" label="Settings" icon={<Settings size={22} />} current={at === "settings"} />
      <div class="rail-foot">
        {current ? (
          <div class="rail-user">
            <Avatar name={current.user.username} />
            <a href={`/@${current.user.username}`}>{current.user.username}</a>
            <IconButton label="Sign out" data-testid="signout" onClick={() => void signOut()}>
              <LogOut size={20} />
            </IconButton>
          </div>
        ) : (
          <>
            <a class="button" data-weight="primary" href="/signup">
              Create account
            </a>
            <a class="button" href="/login">
              Sign in
            </a>
          </>
        )}
      </div>
    </nav>
  );
}

/** Phone navigation. */
export function TabBar({ route }: { route: Route }): JSX.Element {
  const current = useStore(session);
  const running = useUploading();
  const at = route.name;
  return (
    <nav class="tabbar" aria-label="Main">
      <NavLink href="/" label="For you" icon={<House size={22} />} current={at === "feed"} />
      <NavLink href="/studio" label="Videos" icon={<Clapperboard size={22} />} current={at === "studio"} />
      <NavLink
        href="/upload"
        label="Upload"
        icon={<Plus size={22} />}
        current={at === "upload"}
        main
        dot={running}
        data-testid="nav-upload"
      />
      <NavLink href="/settings" label="Settings" icon={<Settings size={22} />} current={at === "settings"} />
      {current ? (
        <NavLink
          href={`/@${current.user.username}`}
          label="You"
          icon={<User size={22} />}
          current={at === "profile"}
        />
      ) : (
        <NavLink href="/login" label="Sign in" icon={<LogIn size={22} />} current={at === "login" || at === "signup"} />
      )}
    </nav>
  );
}
