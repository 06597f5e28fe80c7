import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { SearchX } from "lucide-preact";
import { DESKTOP, useMedia } from "./lib/media-query";
import { useStore } from "./lib/store";
import { currentPath, parseRoute } from "./router";
import type { Route } from "./router";
import { LazyAnalyst } from "./screens/analyst/LazyAnalyst";
import { AuthScreen } from "./screens/auth/AuthScreen";
import { FeedScreen } from "./screens/feed/FeedScreen";
import { ProfileScreen } from "./screens/profile/ProfileScreen";
import { SettingsScreen } from "./screens/settings/SettingsScreen";
import { StudioScreen } from "./screens/studio/StudioScreen";
import { UploadScreen } from "./screens/upload/UploadScreen";
import { VideoScreen } from "./screens/video/VideoScreen";
import { LinkButton } from "./ui/Button";
import { Rail, TabBar } from "./ui/Nav";
import { State } from "./ui/States";
import { Toasts } from "./ui/Toasts";
import "./ui/nav.css";

const TITLES: Readonly<Record<Route["name"], string>> = {
  feed: "FreeWill",
  signup: "Create account · FreeWill",
  login: "Sign in · FreeWill",
  upload: "Upload · FreeWill",
  studio: "Your videos · FreeWill",
  settings: "Settings · FreeWill",
  analyst: "Analysts · FreeWill",
  video: "Video · FreeWill",
  profile: "Profile · FreeWill",
  missing: "Not found · FreeWill",
};

function Missing(): JSX.Element {
  return (
    <State
      icon={<SearchX size={32} />}
      title="There is nothing here"
      actions={
        <LinkButton weight="primary" href="/">
          To the feed
        </LinkButton>
      }
    >
      The address leads nowhere. Check it, or start from the feed.
    </State>
  );
}

function Screen({ route }: { route: Route }): JSX.Element {
  switch (route.name) {
    case "feed":
      return <FeedScreen />;
    case "signup":
    case "login":
      return <AuthScreen mode={route.name} />;
    case "upload":
      return <UploadScreen />;
    case "studio":
      return <StudioScreen />;
    case "settings":
      return <SettingsScreen />;
    case "analyst":
      return <LazyAnalyst />;
    case "video":
      return <VideoScreen key={route.id} id={route.id} />;
    case "profile":
      return <ProfileScreen key={route.username} username={route.username} />;
    case "missing":
      return <Missing />;
  }
}

export function App(): JSX.Element {
  const path = useStore(currentPath);
  const route = parseRoute(path);
  const desktop = useMedia(DESKTOP);
  const main = useRef<HTMLElement>(null);
  const first = useRef(true);

  useEffect(() => {
    document.title = TITLES[route.name];
    main.current?.scrollTo(0, 0);
    // A new screen is announced by moving the focus to it, except on arrival.
    if (!first.current && !main.current?.contains(document.activeElement)) main.current?.focus({ preventScroll: true });
    first.current = false;
  }, [path]);

  return (
    <div class="shell" data-screen={route.name}>
      <a class="skip-link" href="#main">
        Skip to content
      </a>
      {desktop && <Rail route={route} />}
      <main class="content" id="main" ref={main} tabIndex={-1}>
        <Screen route={route} />
      </main>
      {!desktop && <TabBar route={route} />}
      <Toasts />
    </div>
  );
}
