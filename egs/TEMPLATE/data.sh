#!/usr/bin/env bash
# Make a validated Kaldi data directory of a corpus, as conf/corpus.yaml describes it, or by the
# prepare_*.py beside this file. Run it in the recipe's directory, whose conf/ has the label sets.

[ -n "${BASH_VERSION:-}" ] || { echo "${0##*/}: this script needs bash" >&2; exit 2; }
set -euo pipefail

echo "$0 $*" >&2 # print the command line for logging

# Options
labels=4            # label set: a file of conf/labels, without its ending
text_tags='strip'   # annotators' tags such as [LAUGHTER] in transcripts: strip or keep
text_file=          # a Kaldi text that replaces the transcripts
skip_bad=false      # leave out unreadable audio and list it, instead of stopping
allow_partial=false # use what is there of a corpus of which parts are missing
force=false         # make the data directory again, whatever is there
corpus=             # which one, of a recipe of several corpora
audio_dir=          # its audio, where that is not below <corpus_dir>
show=               # print so many utterances as they are understood, and write nothing
# End of options.

# shellcheck disable=SC2034
help_message="Usage: local/data.sh [options] <corpus_dir> <data_dir>
       local/data.sh --show 5 <corpus_dir>
Make a Kaldi data directory of a corpus: wav.scp text utt2spk spk2utt utt2dur utt2emo ...

  local/data.sh --labels 4 /corpora/the_corpus data/all

  --labels         label set: a file of conf/labels, without its ending [${labels}]
  --text_tags      annotators' tags such as [LAUGHTER] in transcripts: strip or keep [${text_tags}]
  --text_file      a Kaldi text that replaces the transcripts, such as a recogniser's output
  --skip_bad       leave out unreadable audio and list it, instead of stopping [${skip_bad}]
  --allow_partial  use what is there of a corpus of which parts are missing [${allow_partial}]
  --force          make the data directory again, whatever is there [${force}]
  --corpus         which one, of a recipe of several corpora
  --audio_dir      its audio, where that is not below <corpus_dir>
  --show           print so many utterances as they are understood, and counts; write nothing"

# Of the recipe, whose local/data.sh is a link to this file.
local_dir=$(readlink -f "$(dirname "${BASH_SOURCE[0]}")")
# shellcheck source=utils/parse_options.sh
. "${local_dir}/../../../utils/parse_options.sh"

expected='<corpus_dir> <data_dir>'
if [ -n "${show}" ]; then expected='<corpus_dir>'; fi
if [ $# -ne "$(wc -w <<< "${expected}")" ]; then
    echo "data.sh: expected ${expected}, got $# arguments; try --help" >&2
    exit 2
fi

# The recipe's environment, unless run.sh has set it up.
# shellcheck source=/dev/null
if ! command -v validate_data_dir.sh > /dev/null; then . "${local_dir}/../path.sh"; fi

# The irregular corpora have a program of their own.
prepare=("${local_dir}"/prepare_*.py)
[ -e "${prepare[0]}" ] || prepare=(-P -m cfia.bin.prepare)
[ -z "${corpus}${audio_dir}" ] || prepare+=(--corpus "${corpus}" --audio_dir "${audio_dir}")
exec python "${prepare[@]}" --labels "${labels}" --text_tags "${text_tags}" \
    --text_file "${text_file}" --skip_bad "${skip_bad}" --allow_partial "${allow_partial}" \
    --force "${force}" --show "${show:-0}" "$@"
