#!/usr/bin/env bash
# IEMOCAP. Give IEMOCAP_full_release, as the licence holder has it, by --corpus_dir.

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
    --cv session \
    --audio_upstream emotion2vec \
    --text_upstream bert \
    --systems "audio_text audio text probe_audio_text probe_audio probe_text" \
    --study_seeds "1 2 3 4 5" \
    "$@"
