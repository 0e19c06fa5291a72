#!/usr/bin/env bash
# Makes sure that the servers which the tests start are there: from PATH, else from Debian's packages.
set -euo pipefail

have_postgres() {
  command -v initdb >/dev/null 2>&1 || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null
}

have_postgres && exit 0
if ! command -v apt-get >/dev/null 2>&1; then
  echo "PostgreSQL (initdb, postgres) is neither in PATH nor can it be installed here: install it and try again" >&2
  exit 1
fi
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
echo "Installing PostgreSQL from Debian's packages"
"${as_root[@]}" apt-get update -qq
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends postgresql postgresql-contrib >/dev/null
