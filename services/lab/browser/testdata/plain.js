// An EventSource and nothing else. It tells the page around it what comes.
const say = (...words) => parent.postMessage(words.join(" "), "*");
const stream = new EventSource("http://localhost:4001/connect?userid=me&videoid=demo", { withCredentials });
stream.onmessage = (event) => {
  const { type, instance, userid, comment } = JSON.parse(event.data);
  type === "connected" ? say(type, instance) : say(userid, comment);
};
stream.addEventListener("gap", () => say("gap"));
stream.addEventListener("reconnect", (event) => say("reconnect", JSON.parse(event.data).reason));
stream.onerror = () => stream.readyState === EventSource.CLOSED && say("closed");
