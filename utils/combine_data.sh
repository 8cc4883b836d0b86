#!/usr/bin/env bash
# Put Kaldi data directories together; --help says more. Needs Python 3 and no environment.

if [ -z "${BASH_VERSION:-}" ]; then
    echo "combine_data.sh: this script needs bash" >&2
    exit 2
fi
set -euo pipefail

root_dir=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
# In front, so that this checkout is used and not an installed one.
export PYTHONPATH=${root_dir}${PYTHONPATH:+:${PYTHONPATH}}
# As a user may call it from anywhere, bytecode stays out of the checkout.
export PYTHONDONTWRITEBYTECODE=1
exec python3 -m cfia.bin.combine_data "$@"
