#!/usr/bin/env bash
# A corpus of EmoBox (github.com/emo-box/EmoBox), by its lists and folds: --corpus_dir EMOBOX, a clone
# of it, --corpus ravdess and, where the audio is not in EMOBOX/downloads/ravdess, --audio_dir DIR.

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
corpus_lists='data/*/fold_1' # what each corpus has in EMOBOX
export CFIA_COMMAND default_labels corpus_lists

# Three corpora have a list of their own for validation.
validation=random20
if [[ " $* " =~ \ --corpus[=\ ](m3ed|meld|msppodcast)\  ]]; then validation=given; fi

exec "${recipe_dir}/ser.sh" \
    --labels all \
    --cv given \
    --validation "${validation}" \
    --audio_upstream fbank \
    --systems "audio probe_audio" \
    "$@"
