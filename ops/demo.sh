#!/usr/bin/env bash
# The main job in one go: a server with an embedded database, a flow that fails, and the Slack message about it.
# Everything lives in a temporary folder and ends with the script.
# With WINDHOVER_DATABASE_URL set, the same runs on that Postgres (`windhover server standalone`).
set -euo pipefail
cd "$(dirname "$0")/.."

windhover=${CARGO_TARGET_DIR:-target}/debug/windhover
examples=services/windhover/examples
folder=$(mktemp -d)
pids=()

clean_up() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$folder"
}
trap clean_up EXIT

free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 30000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
  done
}

# Waits until a command works; gives up after 30 seconds.
until_works() {
  local end=$((SECONDS + 30))
  until "$@" >/dev/null 2>&1; do
    if [ "$SECONDS" -ge "$end" ]; then
      echo "gave up waiting for: $*" >&2
      [ ! -f "$folder/server.log" ] || tail -n 20 "$folder/server.log" >&2
      exit 1
    fi
    sleep 0.05
  done
}

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

port=$(free_port) management=$(free_port) receiver=$(free_port)
export WINDHOVER_SERVER=http://127.0.0.1:$port

if [ -n "${WINDHOVER_DATABASE_URL:-}" ]; then
  say "1. A server on Postgres: windhover server standalone"
  export WINDHOVER_BOOTSTRAP_TOKEN=demo-token-of-at-least-32-characters
  export WINDHOVER_TOKEN=$WINDHOVER_BOOTSTRAP_TOKEN
  WINDHOVER_OUTBOUND_ALLOW_PRIVATE=true env -u WINDHOVER_SERVER -u WINDHOVER_TOKEN "$windhover" server standalone \
    --data-dir "$folder/data" --port "$port" --management-port "$management" >"$folder/server.log" 2>&1 &
else
  say "1. A server with an embedded database: windhover server local"
  "$windhover" server local --data-dir "$folder/data" --port "$port" --management-port "$management" >"$folder/server.log" 2>&1 &
fi
pids+=($!)
until_works "$windhover" whoami
echo "ready on port $port"

say "2. A stand-in for Slack: windhover dev receive"
"$windhover" dev receive --port "$receiver" --count 1 >"$folder/slack.txt" &
receiver_pid=$!
pids+=("$receiver_pid")
until_works bash -c "exec 3<>/dev/tcp/127.0.0.1/$receiver"
echo "listening on port $receiver"

say "3. Its URL is a secret, and two flows: one that fails, one that tells Slack of failures in company.analytics"
echo -n "http://127.0.0.1:$receiver/services/demo" | "$windhover" secret put SLACK_WEBHOOK
"$windhover" flow apply "$examples/failing-report.yaml" "$examples/failure-alert-to-slack.yaml"

say "4. The failing flow, live: windhover execution create company.analytics failing-report --follow"
"$windhover" execution create company.analytics failing-report --input day=2026-01-31 --follow || true

say "5. What arrived at Slack"
wait "$receiver_pid"
cat "$folder/slack.txt"

say "Next"
cat <<EOF
Start your own:   $windhover server local --data-dir ./data
Then try:         $windhover flow apply $examples/failing-report.yaml
                  $windhover execution create company.analytics failing-report --follow
                  $windhover execution list
                  $windhover --help
EOF
