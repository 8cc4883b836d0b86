#!/usr/bin/env bash
# CREMA-D: 91 actors, twelve English sentences, six emotions. Give its repository on GitHub (ODbL), of
# which git lfs has fetched the sound, by --corpus_dir.

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
    --cv kfold5 \
    --validation random20 \
    --audio_upstream fbank \
    --systems "audio probe_audio" \
    "$@"
