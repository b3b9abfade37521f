// EventSource as browsers have it (https://html.spec.whatwg.org/multipage/server-sent-events.html), as far as the documented
// script can tell. Node has none.
class EventSource extends EventTarget {
  static CONNECTING = 0;
  static OPEN = 1;
  static CLOSED = 2;
  readyState = EventSource.CONNECTING;
  #closing = new AbortController();
  #lastEventId = "";

  constructor(url) {
    super();
    this.#run(url);
  }

  close() {
    this.readyState = EventSource.CLOSED;
    this.#closing.abort();
  }

  async #run(url) {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      try {
        const headers = this.#lastEventId ? { "Last-Event-ID": this.#lastEventId } : {};
        const response = await fetch(url, { headers, signal });
        if (response.status !== 200 || response.headers.get("Content-Type") !== "text/event-stream") this.close();
        else {
          this.readyState = EventSource.OPEN;
          this.#dispatch(new Event("open"));
          await this.#read(response.body);
        }
      } catch {
        // A connection that breaks is one that ends.
        if (signal.aborted) return;
      }
      if (!signal.aborted) this.readyState = EventSource.CONNECTING;
      this.#dispatch(new Event("error"));
      await new Promise((done) => setTimeout(done, 10));
    }
  }

  async #read(body) {
    const decoder = new TextDecoder();
    let text = "";
    for await (const bytes of body) {
      text += decoder.decode(bytes, { stream: true });
      const events = text.split("\n\n");
      text = events.pop();
      events.forEach((event) => this.#take(event));
    }
  }

  #take(event) {
    let type = "message";
    const data = [];
    for (const line of event.split("\n")) {
      const [, field, value] = line.match(/^([^:]*):? ?(.*)$/);
      if (field === "id") this.#lastEventId = value;
      if (field === "event") type = value;
      if (field === "data") data.push(value);
    }
    if (data.length > 0) this.#dispatch(new MessageEvent(type, { data: data.join("\n"), lastEventId: this.#lastEventId }));
  }

  #dispatch(event) {
    this.dispatchEvent(event);
    this[`on${event.type}`]?.(event);
  }
}
