// A client by fetch, as those are that send headers of their own. It connects at the door each time.
const say = (...words) => parent.postMessage(words.join(" "), "*");
const door = "http://localhost:4001/connect?userid=me&videoid=demo";
let last = "";

const connect = () => method === "GET" ?
  fetch(door, { headers: { "Last-Event-ID": last } }) :
  fetch(door.split("?")[0], {
    method, headers: { "Last-Event-ID": last, "Content-Type": "application/json" }, body: JSON.stringify({ userid: "me", videoid: "demo" }),
  });

function take(event) {
  let name = "message", data;
  for (const line of event.split("\n")) {
    const [, field, value] = line.match(/^([^:]*):? ?(.*)$/);
    if (field === "id") last = value;
    if (field === "event") name = value;
    if (field === "data") data = JSON.parse(value);
  }
  if (name === "gap") say(name);
  if (name === "reconnect") say(name, data.reason);
  if (name === "message" && data) data.type === "connected" ? say(data.type, data.instance) : say(data.userid, data.comment);
}

(async () => {
  for (;;) {
    try {
      const response = await connect();
      if (response.status === 200) {
        const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
        let text = "";
        for (let part; !(part = await reader.read()).done;) {
          const events = (text + part.value).split("\n\n");
          text = events.pop();
          events.forEach(take);
        }
      }
    } catch {
      // A connection that breaks is one that ends.
    }
    await new Promise((done) => setTimeout(done, 300));
  }
})();
