#!/usr/bin/env bash
# A synthetic corpus in the shape of IEMOCAP: the whole experiment, from nothing, in minutes.
# It proves the pipeline; its scores say nothing about IEMOCAP.

if [ -z "${BASH_VERSION:-}" ]; then
    echo "run.sh: this script needs bash; run it as ./run.sh or bash run.sh" >&2
    exit 2
fi
set -euo pipefail

# Links on the way here are followed; one to this file too, if it lies beside no ser.sh.
recipe_dir=$(readlink -f "$(dirname "${BASH_SOURCE[0]}")")
[ -e "${recipe_dir}/ser.sh" ] || recipe_dir=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
CFIA_COMMAND=$(printf '%q ' "egs/${recipe_dir##*/}/run.sh" "$@") # for RESULTS.md
# The synthesiser is this recipe's own; the tree that it makes is prepared as IEMOCAP is.
data_script=../iemocap/local/data.sh
export CFIA_COMMAND data_script

exec "${recipe_dir}/ser.sh" \
    --corpus_dir "${recipe_dir}/downloads/IEMOCAP_full_release" \
    --cv session \
    --audio_upstream fbank \
    --text_upstream minilm \
    --systems "audio_text audio text probe_audio_text probe_audio probe_text" \
    "$@"
