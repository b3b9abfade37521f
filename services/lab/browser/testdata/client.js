// Watches by the package @livecomments/client. settings are options of watch, and posts has a page post one comment.
import(library).then(async ({ watch, post }) => {
  const stream = watch({ url: "http://localhost:4001/", video: "demo", user: "me", ...settings });
  stream.addEventListener("comment", ({ detail }) => console.log(detail.userid, detail.comment));
  stream.addEventListener("gap", () => console.log("gap"));
  stream.addEventListener("state", ({ detail: { state, reader, reason, caughtUp, status } }) => {
    if (caughtUp !== undefined) console.log("caught up", caughtUp);
    else if (state === "open") console.log("connected", reader);
    else if (state === "waiting") console.log("waiting:", reason);
    else if (state === "closed") console.log("closed:", reason, status);
  });
  if (posts) console.log("stored as", (await post({ ...posts, video: "demo", user: "you" })).comment);
});
