// What a program with types may write, and what it may not.
import { post, watch, type Comment, type RequestError } from "../livecomments.js";

const stream = watch({ url: "", video: "demo", user: "me", history: 20, signal: AbortSignal.timeout(1), getToken: async () => "token" });
stream.addEventListener("comment", (event) => event.detail.userid.toUpperCase());
stream.addEventListener("comments", ({ detail }) => detail.map((comment: Comment) => comment.id));
stream.addEventListener("skipped", ({ detail }) => detail.count + 1);
stream.addEventListener("state", ({ detail }) => detail.state === "waiting" && detail.retryInMs);
for await (const comment of stream) comment.timestamp.slice(0, 10);
stream.close();

const stored = await post({ url: "", video: "demo", user: "me", comment: "hello" }).catch((error: RequestError) => error.status);
if (typeof stored === "object") stored.id.split("-");

// @ts-expect-error: a video is needed
watch({ url: "", user: "me" });
// @ts-expect-error: its state is read only
stream.state = "open";
// @ts-expect-error: a comment is needed
post({ url: "", video: "demo", user: "me" });
// @ts-expect-error: a gap counts nothing
stream.addEventListener("gap", ({ detail }) => detail.count);
