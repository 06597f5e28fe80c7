import type { components } from "./schema";

/**
 * The shapes this client reads, from the server's own description: `npm run api` writes schema.d.ts.
 * Only names are given here, so that client and server cannot drift apart.
 */
type Schemas = components["schemas"];

export type User = Schemas["OwnUser"];
export type PublicUser = Schemas["PublicUser"];
export type SessionAnswer = Schemas["SessionAnswer"];

export type Video = Schemas["VideoAnswer"];
export type VideoStatus = Video["status"];
export type VideoList = Schemas["VideoList"];
export type Encoding = Schemas["EncodingAnswer"];

export type Caption = Schemas["CaptionAnswer"];
export type CaptionList = Schemas["CaptionList"];

export type FeedItem = Schemas["FeedItem"];
export type FeedPage = Schemas["FeedAnswer"];
export type Signal = Schemas["Signal"];

export type Policy = Schemas["Policy"];
export type UploadLimits = Schemas["PoliciesAnswer"];
export type ChunkedSession = Schemas["ChunkedSession"];
export type UploadSession = Schemas["UploadSessionAnswer"];

export type LikeAnswer = Schemas["LikeAnswer"];
export type SaveAnswer = Schemas["SaveAnswer"];
export type ShareAnswer = Schemas["ShareAnswer"];

export type WatchEvent = Required<Schemas["ClientEvent"]>;
export type WatchAction = Extract<WatchEvent["action"], `watch_${string}`>;
