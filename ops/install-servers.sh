#!/usr/bin/env bash
# Makes sure that the servers which the tests start are there: from PATH, else from Debian's packages.
set -euo pipefail

have_postgres() {
  command -v initdb >/dev/null 2>&1 || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null
}

have_redis() {
  command -v redis-server >/dev/null 2>&1
}

packages=()
missing=()
have_postgres || { packages+=(postgresql postgresql-contrib); missing+=("PostgreSQL (initdb, postgres)"); }
have_redis || { packages+=(redis-server); missing+=("Redis (redis-server)"); }
[ "${#packages[@]}" -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
  printf '%s is neither in PATH nor can it be installed here: install it and try again\n' "${missing[@]}" >&2
  exit 1
fi
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
echo "Installing from Debian's packages: ${packages[*]}"
"${as_root[@]}" apt-get update -qq
# The tests start servers of their own: no service is started here.
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
