// Send a one-time password with wabek, ask for it, verify it. Needs Node 18 or later, and no packages.
//
//   WABEK_API_KEY=... node otp.mjs +905551234567
import { randomUUID } from "node:crypto";
import { createInterface } from "node:readline/promises";
import { setTimeout as sleep } from "node:timers/promises";

const url = process.env.WABEK_URL ?? "http://127.0.0.1:8080";

// Posts JSON and returns the answer. After a lost connection or a 503 it posts the same again. That is safe: the
// Idempotency-Key names the request, so it happens once.
async function post(path, body) {
  const once = randomUUID();
  for (const pause of [1000, 2000, 4000, null]) {
    let why, again;
    try {
      const response = await fetch(url + path, {
        method: "POST",
        headers: { "Content-Type": "application/json", "X-API-Key": process.env.WABEK_API_KEY, "Idempotency-Key": once },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(30_000),
      });
      const text = await response.text();
      if (response.ok) return JSON.parse(text);
      why = `${response.status} ${text}`;
      again = response.status === 503 || text.includes("idempotency_key_in_flight");
    } catch (error) {
      why = `no answer: ${error.cause?.message ?? error.message}`;
      again = true;
    }
    if (!again || pause === null) throw new Error(why);
    await sleep(pause);
  }
}

try {
  const issued = await post("/api/v1/otp", { phone: process.argv[2], purpose: "login" });
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  const code = await terminal.question(`Sent to ${issued.to}. The code: `);
  terminal.close();

  const verdict = await post("/api/v1/otp-verify", { otp_id: issued.otpId, otp: code.trim() });
  console.log(verdict.valid ? "It is right." : `It is not: ${verdict.reason}.`);
  process.exitCode = verdict.valid ? 0 : 1;
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
