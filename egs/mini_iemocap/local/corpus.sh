#!/usr/bin/env bash
# Make the synthetic corpus (stage 0). All options are those of synthesise.py; see --help.

[ -n "${BASH_VERSION:-}" ] || { echo "${0##*/}: this script needs bash" >&2; exit 2; }
set -euo pipefail

echo "$0 $*" >&2 # print the command line for logging

local_dir=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# The recipe's environment, unless run.sh has set it up.
# shellcheck source=/dev/null
if ! command -v validate_data_dir.sh > /dev/null; then . "${local_dir}/../path.sh"; fi

exec python -m egs.mini_iemocap.local.synthesise "$@"
