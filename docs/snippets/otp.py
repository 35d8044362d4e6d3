"""Send a one-time password with wabek, ask for it, verify it. Needs Python 3.8 or later, and nothing besides.

    WABEK_API_KEY=... python3 otp.py +905551234567
"""

import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid


def post(path, body):
    """Post JSON and return the answer.

    After a lost connection or a 503 it posts the same again. That is safe: the Idempotency-Key names the request, so it
    happens once.
    """
    request = urllib.request.Request(
        os.environ.get("WABEK_URL", "http://127.0.0.1:8080") + path,
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "X-API-Key": os.environ["WABEK_API_KEY"], "Idempotency-Key": str(uuid.uuid4())},
    )
    for pause in (1, 2, 4, None):
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            why = f"{error.code} {text}"
            again = error.code == 503 or "idempotency_key_in_flight" in text
        except (OSError, http.client.HTTPException, json.JSONDecodeError) as error:
            why, again = f"no answer: {error}", True
        if not again or pause is None:
            sys.exit(why)
        time.sleep(pause)


issued = post("/api/v1/otp", {"phone": sys.argv[1], "purpose": "login"})
code = input(f"Sent to {issued['to']}. The code: ").strip()

verdict = post("/api/v1/otp-verify", {"otp_id": issued["otpId"], "otp": code})
if not verdict["valid"]:
    sys.exit(f"It is not: {verdict['reason']}.")
print("It is right.")
