#!/usr/bin/env bash
# Stage 0: the synthetic corpus. All options are synthesise.py's; see --help.

if [ -z "${BASH_VERSION:-}" ]; then
    echo "corpus.sh: this script needs bash; run it as local/corpus.sh" >&2
    exit 2
fi
set -euo pipefail

echo "$0 $*" >&2 # print the command line for logging

# The recipe's environment, unless run.sh has set it up.
# shellcheck source=/dev/null
if ! command -v validate_data_dir.sh > /dev/null; then . "$(dirname "$0")/../path.sh"; fi

exec python -m egs.mini_iemocap.local.synthesise "$@"
