#!/usr/bin/env bash
# Import the features of IEMOCAP that the authors of emotion2vec publish, as Kaldi archives and a
# data directory, so that audio-only systems can be trained without the corpus. Run it in the
# recipe's directory.

[ -n "${BASH_VERSION:-}" ] || { echo "${0##*/}: this script needs bash" >&2; exit 2; }
set -euo pipefail

echo "$0 $*" >&2 # print the command line for logging

# Options
data_dir=data/all # the data directory to write, or that of stage 1, which must agree
text_file=        # a Kaldi text of the utterances
force=false       # make them again if they were made otherwise
# End of options.

# shellcheck disable=SC2034
help_message="Usage: local/import_emotion2vec_features.sh [options] <features_dir> <dump_dir>
Make a dump and a data directory of published features: train.npy, train.lengths, train.emo.

  local/import_emotion2vec_features.sh /downloads/iemocap dump/emotion2vec
  ./run.sh --stage 2 --systems audio

  --data_dir   the data directory to write, or that of stage 1, which must agree [${data_dir}]
  --text_file  a Kaldi text of the utterances, where you have one; without it every text is ...
  --force      make them again if they were made otherwise [${force}]

The utterances and labels must be those that conf/corpus.yaml expects. Stage 3 keeps what is
imported; a system that uses text needs the transcripts."

local_dir=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=utils/parse_options.sh
. "${local_dir}/../../../utils/parse_options.sh"

if [ $# -ne 2 ]; then
    echo "import_emotion2vec_features.sh: expected <features_dir> <dump_dir>, got $# arguments;" \
        "try --help" >&2
    exit 2
fi

# The recipe's environment, unless run.sh has set it up.
# shellcheck source=/dev/null
if ! command -v validate_data_dir.sh > /dev/null; then . "${local_dir}/../path.sh"; fi

exec python -m cfia.bin.import_emotion2vec --names "${local_dir}/prepare_iemocap.py" \
    --data_dir "${data_dir}" --text_file "${text_file}" --force "${force}" "$1" "$2"
