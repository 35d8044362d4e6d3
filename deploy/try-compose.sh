#!/usr/bin/env bash
# Builds the images and tries docker-compose.yml for real: up, pair with the simulator, one OTP there and verified.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
compose=(docker-compose -p wabek-try -f docker-compose.yml -f deploy/docker-compose.sim.yml)
command -v docker-compose >/dev/null || compose[0]="docker compose"
key="a-key-for-this-trial-only"
export WABEK_SECRET="$(head -c 48 /dev/urandom | base64 -w0)" WABEK_NATS_PASSWORD="$(head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n')"
export WABEK_API_KEY="$key" WABEK_PUBLISH="127.0.0.1:18080" WABEK_SIM_PORT=18090
sim="http://127.0.0.1:$WABEK_SIM_PORT" api="http://$WABEK_PUBLISH"
run() { ${compose[@]} "$@"; }
trap 'code=$?; [ $code = 0 ] || run logs --tail=40 >&2 || true; run down -v -t 2 >/dev/null 2>&1 || true; exit $code' EXIT
until_true() { for _ in $(seq 150); do if "$@" >/dev/null 2>&1; then return; fi; sleep 0.2; done; echo "gave up waiting for: $*" >&2; return 1; }

make -s image
run up -d whatsim
until_true curl -fsS "$sim/healthz"
eval "$(docker cp "$(run ps -q whatsim):/data/env" - | tar -xO | grep '^WABEK_WHATSAPP_' | sed 's/^/export /')"

echo "pairing"
run run --rm -T sender /sender pair -text 2>/dev/null | while read -r qr; do
  curl -fsS "$sim/pair" -d "{\"qr\":\"$qr\"}" >/dev/null
done
run up -d
until_true curl -fsS "$api/readyz"

echo "one OTP"
id="$(curl -fsS "$api/api/v1/otp" -H "X-API-Key: $key" -d '{"phone":"+905551234567","purpose":"verification"}' | sed -nE 's/.*"otpId":"([^"]+)".*/\1/p')"
until_true bash -c "curl -fsS $sim/phones/905551234567/messages | grep -q text"
code="$(curl -fsS "$sim/phones/905551234567/messages" | grep -oE '\\n[0-9]{6}\\n' | grep -oE '[0-9]{6}')"
answer="$(curl -fsS "$api/api/v1/otp-verify" -H "X-API-Key: $key" -d "{\"otp_id\":\"$id\",\"otp\":\"$code\"}")"
echo "$answer"
[ "$answer" = '{"valid":true}' ]
echo "the compose network delivers"
