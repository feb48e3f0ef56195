// SPDX-License-Identifier: Apache-2.0
// grpc_client.js PORT ROUNDS: the same calls as grpc_client.py by
// @grpc/grpc-js; prints how often each (method, code) ended.
const grpc = require("@grpc/grpc-js");
const [port, rounds] = process.argv.slice(2);
const client = new grpc.Client(`127.0.0.1:${port}`,
  grpc.credentials.createInsecure());
const ended = {};
const same = (b) => b;
const ask = (what) => Buffer.from(JSON.stringify(what));
const end = (method, code) => {
  const key = `/proof.Calls/${method} ${code}`;
  ended[key] = (ended[key] || 0) + 1;
};
const path = (method) => `/proof.Calls/${method}`;

const unary = (method, what) => new Promise((done) =>
  client.makeUnaryRequest(path(method), same, same, ask(what),
    (e) => { end(method, e ? e.code : 0); done(); }));
const clientStream = (method, what) => new Promise((done) => {
  const call = client.makeClientStreamRequest(path(method), same, same,
    (e) => { end(method, e ? e.code : 0); done(); });
  for (let i = 0; i < 3; i++) call.write(ask(what));
  call.end();
});
const drain = (method, call) => new Promise((done) => {
  call.on("data", () => {});
  call.on("error", () => {});
  call.on("status", (s) => { end(method, s.code); done(); });
});
const serverStream = (method, what) => drain(method,
  client.makeServerStreamRequest(path(method), same, same, ask(what)));
const bidi = (method, what) => {
  const call = client.makeBidiStreamRequest(path(method), same, same);
  for (let i = 0; i < 3; i++) call.write(ask(what));
  call.end();
  return drain(method, call);
};

(async () => {
  for (let i = 0; i < +rounds; i++) {
    const all = [];
    for (let code = 0; code < 17; code++) {
      all.push(unary("Unary", { code }), clientStream("ClientStream", { code }),
        serverStream("ServerStream", { code }), bidi("Bidi", { code }));
      if (code) all.push(unary("Refused", { code }));
    }
    all.push(unary("Missing", { code: 0 }));
    await Promise.all(all);
  }
  console.log(JSON.stringify({ ended }));
  process.stdin.resume();
  process.stdin.on("end", () => process.exit(0));
})();
