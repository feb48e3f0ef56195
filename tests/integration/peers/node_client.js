// SPDX-License-Identifier: Apache-2.0
// node_client.js URL CONNECTIONS: obeys lines of JSON, each [N, AT_ONCE, PATH...]:
// N requests for the paths in turn; then a line with how often each
// (method, path, status) came. An end of input ends it.
const http2 = require("http2");
const [url, connections] = process.argv.slice(2);
const sessions = [];
for (let i = 0; i < +connections; i++) {
  sessions.push(http2.connect(url, { rejectUnauthorized: false }));
  sessions[i].on("error", () => {});
}
const one = (i, path) => new Promise((done) => {
  const method = path.startsWith("+") ? "POST" : "GET";
  const target = path.replace(/^\+/, "");
  let status = "none";
  const stream = sessions[i % sessions.length].request(
    { ":method": method, ":path": target, "x-number": String(i) });
  stream.on("response", (h) => { status = h[":status"]; });
  stream.on("error", () => {});
  stream.on("close", () => done([method, target, status].join(" ")));
  stream.resume();
  stream.end(method == "POST" ? "x".repeat(3000) : undefined);
});
const obey = async ([n, atOnce, ...paths]) => {
  const seen = {};
  let next = 0;
  const work = async () => {
    while (next < n) {
      const i = next++;
      const key = await one(i, paths[i % paths.length]);
      seen[key] = (seen[key] || 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  console.log(JSON.stringify(seen));
};
let queue = Promise.resolve();
require("readline").createInterface({ input: process.stdin })
  .on("line", (l) => { queue = queue.then(() => obey(JSON.parse(l))); })
  .on("close", () => queue.then(() => process.exit(0)));
