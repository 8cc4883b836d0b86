#!/usr/bin/env bash
# NAME: what it is, who has it and under which licence. Give it by --corpus_dir.

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

# ./run.sh --help explains these, and has more. Of a corpus with transcripts:
# --text_upstream minilm (English) or bert, and
# --systems "audio_text audio text probe_audio_text probe_audio probe_text".
exec "${recipe_dir}/ser.sh" \
    --labels all \
    --cv speaker \
    --validation random20 \
    --audio_upstream fbank \
    --systems "audio probe_audio" \
    "$@"
