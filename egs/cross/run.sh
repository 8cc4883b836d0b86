#!/usr/bin/env bash
# Corpora against each other: trained on all of one, tested on all of another, for every pair. Give
# recipes whose stages 1 to 4 are done by --corpora "../emodb ../ravdess".

if [ -z "${BASH_VERSION:-}" ]; then
    echo "run.sh: this script needs bash; run it as ./run.sh or bash run.sh" >&2
    exit 2
fi
set -euo pipefail

# Links on the way here are followed; one to this file too, if it lies beside no ser.sh.
recipe_dir=$(readlink -f "$(dirname "${BASH_SOURCE[0]}")")
[ -e "${recipe_dir}/ser.sh" ] || recipe_dir=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
CFIA_COMMAND=$(printf '%q ' "egs/${recipe_dir##*/}/run.sh" "$@") # for RESULTS.md
export CFIA_COMMAND

exec "${recipe_dir}/ser.sh" \
    --cv cross \
    --validation random20 \
    --audio_upstream fbank \
    --text_upstream minilm \
    --systems "audio probe_audio" \
    "$@"
