#!/usr/bin/env bash
# Check a Kaldi data directory, or, by links to this file, fix, subset, copy or combine some: each
# name is that of a program of cfia/bin. --help says more. Needs Python 3.11, and
# no environment.

[ -n "${BASH_VERSION:-}" ] || { echo "${0##*/}: this script needs bash" >&2; exit 2; }
set -euo pipefail

root_dir=$(readlink -f "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/..")
# shellcheck source=utils/need_python3.sh
. "${root_dir}/utils/need_python3.sh"
if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "${0##*/}: python3 is too old; put Python 3.11 or newer first on the path" >&2
    exit 1
fi
# In front, so that this checkout is used and not an installed one.
export PYTHONPATH=${root_dir}${PYTHONPATH:+:${PYTHONPATH}}
# As a user may call it from anywhere, bytecode stays out of the checkout.
export PYTHONDONTWRITEBYTECODE=1
program=${0##*/}
exec python3 -P -m "cfia.bin.${program%.sh}" "$@"
