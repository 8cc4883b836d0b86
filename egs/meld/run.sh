#!/usr/bin/env bash
# MELD: dialogues of the series Friends, seven emotions, official parts. Give MELD.Raw, unpacked, by
# --corpus_dir. The clips are films, so ffmpeg must be on the path.

if [ -z "${BASH_VERSION:-}" ]; then
    echo "run.sh: this script needs bash; run it as ./run.sh or bash run.sh" >&2
    exit 2
fi
set -euo pipefail

# Links on the way here are followed; one to this file too, if it lies beside no ser.sh.
recipe_dir=$(readlink -f "$(dirname "${BASH_SOURCE[0]}")")
[ -e "${recipe_dir}/ser.sh" ] || recipe_dir=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
CFIA_COMMAND=$(printf '%q ' "egs/${recipe_dir##*/}/run.sh" "$@") # for RESULTS.md
default_labels=all # conf/labels/all.yaml, which leaves no trace in the names of directories
export CFIA_COMMAND default_labels

exec "${recipe_dir}/ser.sh" \
    --labels all \
    --cv given \
    --validation given \
    --audio_upstream wavlm \
    --text_upstream bert \
    --systems "audio_text audio text probe_audio_text probe_audio probe_text" \
    "$@"
