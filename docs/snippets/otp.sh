#!/bin/sh
# Send a one-time password with wabek, ask for it, verify it. Needs curl.
#
#   WABEK_API_KEY=... sh otp.sh +905551234567
set -eu
url=${WABEK_URL:-http://127.0.0.1:8080}
phone=$(printf %s "${1:?the phone, like +905551234567}" | tr -cd '+0-9')

# post PATH JSON prints the answer. After a lost connection or a 503 it posts the same again. That is safe: the
# Idempotency-Key names the request, so it happens once.
post() {
  once=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  for pause in 1 2 4 ''; do
    # The key goes to curl by its standard input: arguments can be seen by others.
    if answer=$(printf 'header = "X-API-Key: %s"\n' "$WABEK_API_KEY" | curl --config - --silent --max-time 30 \
      --header "Idempotency-Key: $once" --header 'Content-Type: application/json' --data "$2" \
      --write-out '\n%{http_code}' "$url$1")
    then status=${answer##*
}
    else status=lost answer='no answer'
    fi
    case $status in
      200) printf '%s\n' "$answer"; return ;;
      503|lost) [ -z "$pause" ] || { sleep "$pause"; continue; } ;;
      409) case $answer in *idempotency_key_in_flight*) [ -z "$pause" ] || { sleep "$pause"; continue; } ;; esac ;;
    esac
    printf '%s\n' "$answer" >&2
    exit 1
  done
}

field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }

issued=$(post /api/v1/otp "{\"phone\":\"$phone\",\"purpose\":\"login\"}")
printf 'Sent to %s. The code: ' "$(printf %s "$issued" | field to)"
read -r code
code=$(printf %s "$code" | tr -cd '0-9')

verdict=$(post /api/v1/otp-verify "{\"otp_id\":\"$(printf %s "$issued" | field otpId)\",\"otp\":\"$code\"}")
case $verdict in
  *'"valid":true'*) echo 'It is right.' ;;
  *) printf 'It is not: %s.\n' "$(printf %s "$verdict" | field reason)"; exit 1 ;;
esac
