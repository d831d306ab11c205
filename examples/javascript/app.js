// An HTTP service in JavaScript, on the interfaces of wasi:http themselves. jco puts it into a component with QuickJS.

import { getEnvironment } from "wasi:cli/environment@0.3.0";
import { Fields, Response } from "wasi:http/types@0.3.0";

// QuickJS is the language alone: no console, no fetch, no TextEncoder.
function encode(text) {
  return Uint8Array.from(unescape(encodeURIComponent(text)), (character) => character.charCodeAt(0));
}

function answer(path) {
  switch (path) {
    case "/":
      return [200, "text/plain", `Hello from JavaScript at ${new Map(getEnvironment()).get("HOSTNAME")}\n`];
    case "/json":
      return [200, "application/json", JSON.stringify({ path, squares: [1, 2, 3].map((n) => n ** 2) }) + "\n"];
    default:
      return [404, "text/plain", "not here\n"];
  }
}

export const handler = {
  async handle(request) {
    const [status, type, text] = answer(request.getPathWithQuery());
    const headers = Fields.fromList([["content-type", encode(type)]]);
    const body = wit.Stream.from([encode(text)], wit.Stream.U8);
    const noTrailers = wit.Future.from({ tag: "ok", val: null }, wit.Future.RESULT_OPTION_OTHER_ERROR_CODE);
    const [response] = Response.new(headers, body.readable, noTrailers.readable);
    response.setStatusCode(status);
    return response;
  },
};
