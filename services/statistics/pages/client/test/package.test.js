import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { gzipSync } from "node:zlib";

const root = new URL("..", import.meta.url);
const run = (command, ...args) => execFileSync(command, args, { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
const served = readFileSync(new URL("livecomments.js", root));

test("the client is at most 4 KB, as it is served", () => {
  const size = gzipSync(served, { level: 9 }).length;
  assert(size <= 4096, `${size} bytes`);
});

test("what is served is made from the source", () => {
  const made = run("node_modules/.bin/esbuild", "source/livecomments.js", ...JSON.parse(readFileSync(new URL("package.json", root))).scripts.build
    .match(/--(minify|format|target)\S*/g), "--banner:js=" + served.toString().split("\n")[0]);
  assert.equal(served.toString(), made, "`make client-build` makes it anew");
});

test("the package has the client, its source, its types and what describes it", () => {
  const [{ files }] = JSON.parse(run("npm", "pack", "--dry-run", "--json"));
  assert.deepEqual(files.map(({ path }) => path).sort(),
    ["LICENSE", "README.md", "livecomments.d.ts", "livecomments.js", "package.json", "source/livecomments.js"]);
});
