#!/usr/bin/env bash
# RAVDESS: 24 actors, two English sentences, eight emotions. Give Audio_Speech_Actors_01-24, which
# Zenodo has under CC BY-NC-SA 4.0, by --corpus_dir.

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
    --validation random20 \
    --audio_upstream fbank \
    --systems "audio probe_audio" \
    "$@"
