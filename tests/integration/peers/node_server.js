// SPDX-License-Identifier: Apache-2.0
// node_server.js PORT [DIR]: HTTP/2, inside TLS if DIR has a key; says on SIGTERM
// how often it answered each (method, route, status).
const http2 = require("http2"), fs = require("fs");
const [port, dir] = process.argv.slice(2);
const seen = {};
const server = dir ? http2.createSecureServer({
  key: fs.readFileSync(dir + "/key.pem"),
  cert: fs.readFileSync(dir + "/cert.pem") }) : http2.createServer();
const note = (h, status) => {
  const key = [h[":method"], h[":path"].split("?")[0], status].join(" ");
  seen[key] = (seen[key] || 0) + 1;
};
server.on("session", (s) => s.on("error", () => {}));
server.on("stream", (stream, h) => {
  const path = h[":path"].split("?")[0];
  const status = { "/made": 201, "/gone": 410, "/broken": 503 }[path] || 200;
  stream.on("error", () => {});
  if (path == "/reset") {
    note(h, "reset");
    stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
    return;
  }
  if (path == "/never") {
    note(h, "never");
    return;
  }
  stream.resume();
  stream.on("end", () => {
    const answer = () => {
      note(h, status);
      if (path == "/hint") stream.additionalHeaders({ ":status": 103 });
      if (path == "/trailers") {
        stream.respond({ ":status": status }, { waitForTrailers: true });
        stream.on("wantTrailers", () => stream.sendTrailers({ "x-end": "1" }));
        stream.end("some text");
        return;
      }
      stream.respond({ ":status": status, "x-path": h[":path"] });
      stream.end(path == "/large" ? "y".repeat(200000) : "some text");
    };
    if (path == "/slow") setTimeout(answer, 200);
    else answer();
  });
});
server.listen(+port, "127.0.0.1");
process.on("SIGTERM", () => {
  console.log(JSON.stringify(seen));
  process.exit(0);
});
