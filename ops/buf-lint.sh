#!/usr/bin/env bash
# Lints the proto files with buf, from PATH or from npm.
set -euo pipefail
cd "$(dirname "$0")/../proto"
if command -v buf >/dev/null 2>&1; then
  exec buf lint
elif command -v npx >/dev/null 2>&1; then
  exec npx --yes @bufbuild/buf@1 lint
fi
echo "buf is not there and neither is npx: the proto files are not linted" >&2
exit 1
