import { render } from "preact";
import { followOtherTabs } from "./api/session";
import { followAccount } from "./api/socket";
import { App } from "./app";
import { followTheme } from "./lib/preferences";
import { startEventQueue } from "./player/event-queue";
import { startRouter } from "./router";
import { startUploads } from "./uploads/queue";
import "./ui/tokens.css";
import "./ui/base.css";

followTheme();
followOtherTabs();
followAccount();
startEventQueue();
startRouter();
void startUploads();

const root = document.getElementById("app");
if (root === null) throw new Error("index.html has no #app");
render(<App />, root);
