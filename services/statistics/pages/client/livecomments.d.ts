/** A comment as it is stored. */
export interface Comment {
  /** Its place in its video; ids of one video grow. */
  id: string;
  userid: string;
  videoid: string;
  comment: string;
  /** When it was taken, as in RFC 3339. */
  timestamp: string;
}

/** Returns a token. It is called for each request, and once more with a token that was refused. */
export type GetToken = (refused?: string) => Promise<string | undefined>;

export interface Options {
  /** Where the API is reached, such as "http://localhost:4001"; "" for the page's own origin. */
  url: string;
  video: string;
  user: string;
  /** Ends it. */
  signal?: AbortSignal;
  getToken?: GetToken;
  /** Whether cookies go along, as in fetch. */
  credentials?: RequestCredentials;
}

export interface WatchOptions extends Options {
  /** How many recent comments come first. Default: 0. */
  history?: number;
  /** Whether the tabs of a browser share one stream. Default: true in a page. */
  share?: boolean;
  /** The readers' HEARTBEAT, in ms. A connection that is silent for two and a half of it is replaced. Default: 15000. */
  heartbeat?: number;
}

export type State = "connecting" | "open" | "waiting" | "closed";

export interface StateDetail {
  state: State;
  /** When open: the reader's name. */
  reader?: string;
  /** When open again: how many comments were missed meanwhile and have come now. It comes with a second event. */
  caughtUp?: number;
  /** When waiting: until the next attempt. */
  retryInMs?: number;
  /** When waiting or closed: why. */
  reason?: string;
  /** When closed by the server: with which status. */
  status?: number;
}

export interface Events {
  comment: Comment;
  /** The comments of a frame, after a comment event for each. */
  comments: Comment[];
  /** Comments are missing before the next one. */
  gap: object;
  /** So many comments were left out: by the reader, because the video is hot, or here, because the page is hidden or a loop slow. */
  skipped: { count: number; by?: "client" };
  deleted: { id: string };
  state: StateDetail;
}

/** A stream of a video's comments. Looping over it throws what the server has refused it with. */
export interface Stream extends EventTarget, AsyncIterable<Comment> {
  readonly state: State;
  close(): void;
  addEventListener<Type extends keyof Events>(
    type: Type,
    listener: ((event: CustomEvent<Events[Type]>) => void) | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | AddEventListenerOptions): void;
}

/** Watches a video. It throws a TypeError where the url is none. */
export function watch(options: WatchOptions): Stream;

/** An answer that is not a success, or else (without a status) no answer. */
export interface RequestError extends Error {
  status?: number;
}

export interface PostOptions extends Options {
  comment: string;
  /** Names this post, so that it is stored once however often it is tried. Default: a random one. */
  key?: string;
}

/** Posts a comment, in up to five attempts, and resolves to it as it is stored. It rejects with a RequestError. */
export function post(options: PostOptions): Promise<Comment>;
