#!/usr/bin/env bash
# The stages of every recipe. A recipe's run.sh calls this file with its own settings, then "$@".
# Options are read through ${!name} too, and cfia.bin.names prints variables, which shellcheck
# cannot see.
# shellcheck disable=SC2034,SC2154

if [ -z "${BASH_VERSION:-}" ]; then
    echo "run.sh: this script needs bash; run it as ./run.sh or bash run.sh" >&2
    exit 2
fi
set -euo pipefail

caller_dir=${PWD}
recipe_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root_dir=$(cd "${recipe_dir}/../.." && pwd)

# Options. Each is also a flag: --name value.
# General
stage=0                    # first stage to run
stop_stage=8               # last stage to run
skip_stages=               # stages to leave out, such as "3 4"
nj=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc 2> /dev/null || getconf _NPROCESSORS_ONLN) # jobs at a time; changes no result
ngpu=0                     # GPUs per job: 0 or 1
jobs_per_gpu=1             # jobs that share a GPU at a time, with --ngpu 1 on this machine
num_threads=1              # threads per job
force=false                # make again what was made with other options or inputs, and what follows
dry_run=false              # print the plan of a study and do nothing
verbose=false              # say more in the logs
# Corpus
corpus_dir=                # the corpus, as it is distributed
labels=4                   # label set: a file of conf/labels, without its ending
skip_bad=false             # leave out unreadable audio and list it, instead of stopping
allow_partial=false        # use what is there of a corpus of which parts are missing
text_tags="strip"          # annotators' tags such as [LAUGHTER] in transcripts: strip or keep
text_file=                 # a Kaldi text that replaces the transcripts, such as a recogniser's output
# Folds
cv=session                 # the scheme of stages 5 to 8: session or speaker
validation=random20        # random20, partner, next_speaker or next_session
# Features
audio_upstream=emotion2vec # audio encoder: emotion2vec, wav2vec2, hubert, wavlm, whisper, fbank
audio_model=               # its model: hub id or directory (default: the encoder's own, if it has one)
audio_layer=               # its layer, or all, for a sum that training learns (default: the last)
text_upstream=bert         # text encoder: bert, minilm
text_model=                # its model: hub id or directory (default: the encoder's own, if it has one)
text_layer=                # its layer, or all, for a sum that training learns (default: the last)
hub=hf                     # where model ids are looked up: hf (Hugging Face) or ms (ModelScope)
allow_contaminated=false   # accept an encoder that was trained on the corpus's labels
compression_method=0       # of the archives: 0 float32, 2 a byte or 3 two bytes per value
feature_cache=auto         # where training keeps features: ram, mmap, none, or auto, by their size
# Training
systems="audio_text audio text" # systems to train: [<config>_]audio_text, [<config>_]audio, ...
train_config=cfia_net      # the configuration of systems that name none: in conf/, or a YAML file
train_args=                # "key=value ..." that win over the configuration
seeds=                     # one training per fold and seed, such as "1 2 3" (default: 1)
selection=valid            # epoch taken: valid, last, or test (an oracle, and shown as such)
tag=                       # suffix of the systems' names, to keep variants apart
# Studies, which say themselves what is trained under which --cv and --validation
study=                     # make the tables of conf/study/<study>.yaml: paper, readings, smoke
study_seeds=1              # the seeds of a study for which --seeds gives none
# Directories, relative to the recipe's
datadir=data               # data directories and fold lists
dumpdir=dump               # features
expdir=exp                 # models, scores, tables
# End of options.

# What a recipe may set besides, by exporting it.
corpus_script=${corpus_script:-local/corpus.sh} # stage 0: makes or fetches the corpus
data_script=${data_script:-local/data.sh}       # stage 1: corpus to data directory
default_labels=${default_labels:-4}             # the label set that leaves no trace in names

log() { echo "$(date '+%Y-%m-%dT%H:%M:%S') (run.sh) $*"; }

usage_error() {
    echo "run.sh: $*" >&2
    exit 2
}

# Usage, with the values that the recipe and the command line give ("$@").
usage() {
    local line name
    while [ $# -gt 0 ]; do
        name=${1#--}; name=${name%%=*}; name=${name//-/_}
        case $1 in
            --help | -h) shift; continue ;;
            --*=*) [ -z "${!name+set}" ] || printf -v "${name}" %s "${1#*=}"; shift ;;
            --*) [ -z "${!name+set}" ] || printf -v "${name}" %s "${2:-}"; shift $(($# > 1 ? 2 : 1)) ;;
            *) shift ;;
        esac
    done
    cat <<EOF
Usage: ./run.sh [options]
Speech emotion recognition from audio and text, from a corpus to a table of scores.

  ./run.sh --stage 5 --stop_stage 8 --cv speaker --seeds "1 2 3"

Stages:
  0 corpus           make or fetch the corpus, where the recipe can
  1 data             the corpus to a Kaldi data directory, validated
  2 folds            train, validation and test lists of every scheme
  3 audio features   dumped as Kaldi archives
  4 text features    dumped as Kaldi archives
  5 training         one run per system, fold and seed
  6 posteriors       of the test utterances
  7 scores           WA, UA, WF1, macro F1 with intervals
  8 tables, plots    exp/RESULTS.md, exp/report.html, exp/tables, figures
  9 pack             (not built yet)

Options (value here: the recipe's setting; --config FILE is sourced first):
EOF
    while IFS= read -r line; do
        case ${line} in
            "# End of options."*) break ;;
            "# "*) printf '%s:\n' "${line#\# }" ;;
            [a-z]*=*"# "*)
                name=${line%%=*}
                printf '  --%-20s %s [%s]\n' "${name}" "${line#*\# }" "${!name}" ;;
        esac
    done < <(sed -n '/^# General/,/^# End of options/p' "${BASH_SOURCE[0]}")
}

help_message=
case " $* " in
    *" --help "* | *" -h "*) help_message=$(usage "$@") ;;
esac
# The name under which messages speak of this script: that of the one which the user called.
program_name=run.sh
# shellcheck source=utils/parse_options.sh
. "${root_dir}/utils/parse_options.sh"
[ $# -eq 0 ] || usage_error "unexpected argument '$1'; options start with --, try --help"

check_number() { # name, smallest value
    [[ ${!1} =~ ^[0-9]+$ && $((10#${!1})) -ge $2 ]] || usage_error "--$1 is '${!1}'; expected a whole number from $2"
}

for name in stage stop_stage; do check_number "${name}" 0; done
for name in nj num_threads jobs_per_gpu; do check_number "${name}" 1; done
[[ ${ngpu} =~ ^[01]$ ]] || usage_error "--ngpu is '${ngpu}'; a job uses 0 or 1"
[ "${stage}" -lt 9 ] && [ "${stop_stage}" -lt 9 ] || usage_error "stage 9 (pack) is not built yet"
skip_stages=${skip_stages//,/ }
[[ ${skip_stages} =~ ^[0-8\ ]*$ ]] || usage_error "--skip_stages is '${skip_stages}'; expected stages such as \"3 4\""
[ "${stage}" -le "${stop_stage}" ] || usage_error "--stage ${stage} is after --stop_stage ${stop_stage}: nothing to run"
for name in seeds study_seeds; do
    printf -v "${name}" %s "${!name//,/ }"
    [[ ${!name} =~ ^(\ *[0-9]+)?(\ +[0-9]+)*\ *$ ]] ||
        usage_error "--${name} is '${!name}'; expected numbers such as \"1 2 3\""
done
if [ -n "${study}" ]; then
    [ -f "${root_dir}/conf/study/${study}.yaml" ] || [ -f "${recipe_dir}/conf/study/${study}.yaml" ] ||
        usage_error "--study is '${study}'; there is $(cd "${root_dir}/conf/study" && echo *.yaml | sed 's/\.yaml//g')"
elif ${dry_run}; then
    usage_error "--dry_run true goes with --study"
fi
[[ ${compression_method} =~ ^[023]$ ]] || usage_error "--compression_method is '${compression_method}'; legal values are 0, 2, 3"

# A path that the user gave, from where they stand; models may be hub ids, which stay as they are.
from_caller() { # name
    local path=${!1}
    [[ -z ${path} || ${path} == /* ]] || printf -v "$1" %s "${caller_dir}/${path}"
}
for name in corpus_dir text_file; do from_caller "${name}"; done
[[ ${train_config} != *.y*ml ]] || from_caller train_config
for name in audio_model text_model; do
    if [ -d "${caller_dir}/${!name}" ] && [ -n "${!name}" ]; then
        from_caller "${name}"
    elif [[ ${!name} == /* || ${!name} == .* ]] && [ ! -d "${!name}" ]; then
        usage_error "--${name}: no such directory ${!name}"
    fi
done
[ -z "${text_file}" ] || [ -f "${text_file}" ] || usage_error "--text_file: no such file ${text_file}"
cd "${recipe_dir}"
[ -f "conf/labels/${labels}.yaml" ] || usage_error \
    "--labels is '${labels}'; this recipe has $(cd conf/labels && echo *.yaml | sed 's/\.yaml//g')"

# The names of this run's directories (cfia/naming.py says what they are made of).
run_options=(--recipe "${recipe_dir}" --root "${root_dir}")
for name in cv validation selection labels default_labels text_tags text_file audio_upstream \
    audio_model audio_layer text_upstream text_model text_layer hub feature_cache train_config \
    systems tag train_args; do
    run_options+=("--${name}=${!name}")
done
names=$(PYTHONPATH=${root_dir} PYTHONDONTWRITEBYTECODE=1 python3 -m cfia.bin.names "${run_options[@]}")
eval "${names}"
data=${datadir}/${data_name:?}
folds=${datadir}/folds/${folds_scheme:?}
audio_dump=${dumpdir}/${audio_name:?}
text_dump=${dumpdir}/${text_name:?}
dump_modalities=(audio text)
dump_upstreams=("${audio_upstream}" "${text_upstream}")
dump_models=("${audio_model}" "${text_model}")
dump_layers=("${audio_layer}" "${text_layer}")
dump_dirs=("${audio_dump}" "${text_dump}")

# shellcheck source=egs/TEMPLATE/path.sh
. ./path.sh
# shellcheck source=egs/TEMPLATE/cmd.sh
. ./cmd.sh
if [ "${ngpu}" -gt 0 ]; then run_cmd="${cuda_cmd:?} --gpu ${ngpu}"; else run_cmd=${train_cmd:?}; fi
if [ "${ngpu}" -gt 0 ] && [ "${jobs_per_gpu}" -gt 1 ]; then run_cmd+=" --jobs-per-gpu ${jobs_per_gpu}"; fi
run_cmd="${run_cmd} --max-jobs-run ${nj} --num-threads ${num_threads}"
# One number of threads for every library of a job; results depend on it, so nothing guesses it.
export OMP_NUM_THREADS=${num_threads} MKL_NUM_THREADS=${num_threads} OPENBLAS_NUM_THREADS=${num_threads}
if ${verbose}; then export CFIA_LOG=DEBUG; fi

wanted() { # stage number
    [ "${stage}" -le "$1" ] && [ "${stop_stage}" -ge "$1" ] && [[ " ${skip_stages} " != *" $1 "* ]]
}

study() { # step, more options
    python -m cfia.bin.study "$@" "${run_options[@]}" --study "${study}" --seeds="${seeds}" \
        --study_seeds="${study_seeds}" --caller "${caller_dir}" --datadir "${datadir}" \
        --dumpdir "${dumpdir}" --expdir "${expdir}" --nj "${nj}" --ngpu "${ngpu}" \
        --num_threads "${num_threads}" --force "${force}"
}

uses() { # modality: does any system use it?
    [ -n "${study}" ] || [[ ",$(IFS=,; echo "${system_modalities[*]:?}")," == *",$1,"* ]]
}

# Features of one modality: a plan of batches, nj jobs that work it off, and one feats.scp.
dump_features() { # modality, upstream, model, layer, directory
    local jobs dir=$5
    jobs=$(python -m cfia.bin.dump_plan --modality "$1" --upstream "$2" --model "$3" --layer "$4" \
        --hub "${hub}" --data "${data}" --dir "${dir}" --nj "${nj}" --num_threads "${num_threads}" \
        --compression_method "${compression_method}" --skip_bad "${skip_bad}" \
        --corpus "${recipe_dir##*/}" --exposure "${root_dir}/conf/exposure.yaml" \
        --allow_contaminated "${allow_contaminated}" --force "${force}")
    [ "${jobs}" -gt 0 ] || return 0
    log "${jobs} jobs; logs are ${dir}/log/dump.*.log"
    # shellcheck disable=SC2086
    ${run_cmd} JOB=1:"${jobs}" "${dir}/log/dump.JOB.log" \
        python -m cfia.bin.dump --dir "${dir}" --data "${data}" --job JOB --ngpu "${ngpu}"
    python -m cfia.bin.dump_merge --dir "${dir}"
}

# The features of all encoders of one modality.
dump_all() { # modality
    local i
    if ! uses "$1"; then log "no system of this run uses $1"; fi
    for i in "${!dump_modalities[@]}"; do
        if [ "${dump_modalities[i]}" != "$1" ] || ! uses "$1"; then continue; fi
        log "${dump_upstreams[i]}: ${dump_dirs[i]}"
        dump_features "$1" "${dump_upstreams[i]}" "${dump_models[i]}" "${dump_layers[i]}" "${dump_dirs[i]}"
    done
}

# Train and test all runs that a study lacks: first one for each job, which tells how long it takes.
run_study() {
    local jobs dir=${study_dir:?}
    jobs=$(study tasks)
    while [ "${jobs}" -gt 0 ]; do
        # shellcheck disable=SC2086
        ${run_cmd} JOB=1:"${jobs}" "${dir}/log/run.JOB.log" \
            python -m cfia.bin.study_run --tasks "${dir}/tasks" --job JOB --jobs "${jobs}"
        jobs=$(study tasks)
    done
}

# Run a program for every system, seed and fold: "$2" is a function that fills `arguments`.
for_each_run() { # log name, function
    local i seed dir n_folds
    n_folds=$(find "${folds}" -mindepth 1 -maxdepth 1 -type d -name '[0-9]*' 2> /dev/null | wc -l || true)
    [ "${n_folds}" -gt 0 ] || { echo "error: there are no folds in ${folds}; run stage 2" >&2; exit 1; }
    for i in "${!system_names[@]}"; do
        for seed in ${seeds:-1}; do
            dir=${expdir}/${system_names[i]}/${scheme:?}/foldJOB_seed${seed}
            log "${system_names[i]}, ${scheme}, seed ${seed}: ${n_folds} folds; logs are ${dir//JOB/*}/$1.log"
            arguments=()
            "$2" "${i}" "${seed}" "${dir}"
            # shellcheck disable=SC2086
            ${run_cmd} JOB=1:"${n_folds}" "${dir}/$1.log" python -m "cfia.bin.$1" "${arguments[@]}"
        done
    done
}

train_arguments() { # system's index, seed, directory
    arguments=(--config)
    [ ! -f conf/train.yaml ] || arguments+=(conf/train.yaml)
    arguments+=("${system_configs[$1]:?}" --train_args "${train_args}" --data "${data}"
        --folds "${folds}" --fold JOB --seed "$2" --selection "${selection}"
        --system "${system_names[$1]}" --scheme "${scheme}" --cv "${cv}" --validation "${validation}"
        --labels "${labels}" --corpus "${recipe_dir##*/}" --text_tags "${text_tags}"
        --feature_cache "${feature_cache}" --num_threads "${num_threads}" --ngpu "${ngpu}"
        --force "${force}")
    [[ ,${system_modalities[$1]}, != *,audio,* ]] || arguments+=(--audio_dump "${audio_dump}")
    [[ ,${system_modalities[$1]}, != *,text,* ]] || arguments+=(--text_dump "${text_dump}")
    arguments+=("$3")
}

predict_arguments() { # system's index, seed, directory
    arguments=(--feature_cache "${feature_cache}" --ngpu "${ngpu}" --force "${force}" "$3")
}

if [ -n "${study}" ]; then
    plan=$(study plan)
    eval "${plan}"
    if ${dry_run}; then exit 0; fi
fi

if wanted 0; then
    if [ -f "${corpus_script}" ]; then
        log "Stage 0: making the corpus in ${corpus_dir}"
        "./${corpus_script}" --force "${force}" "${corpus_dir}"
    else
        log "Stage 0: nothing to make; the corpus is yours to bring"
    fi
fi

if wanted 1; then
    [ -n "${corpus_dir}" ] || usage_error "stage 1 needs --corpus_dir DIR, the corpus as it is distributed"
    log "Stage 1: data directory ${data} from ${corpus_dir}"
    "./${data_script}" --labels "${labels}" --text_tags "${text_tags}" --text_file "${text_file}" \
        --skip_bad "${skip_bad}" --allow_partial "${allow_partial}" --force "${force}" \
        "${corpus_dir}" "${data}"
fi

if wanted 2; then
    log "Stage 2: folds in ${datadir}/folds"
    if [ -n "${study}" ]; then
        study folds
    else
        python -m cfia.bin.folds --data "${data}" --out "${datadir}/folds" --cv "${cv}" \
            --validation "${validation}" --scheme_suffix="${folds_scheme#"${cv}"}" --force "${force}"
    fi
fi

if wanted 3; then
    log "Stage 3: audio features in ${dumpdir}"
    dump_all audio
fi

if wanted 4; then
    log "Stage 4: text features in ${dumpdir}"
    dump_all text
fi

if wanted 5; then
    log "Stage 5: training"
    if [ -n "${study}" ]; then run_study; else for_each_run train train_arguments; fi
fi

if wanted 6; then
    log "Stage 6: posteriors"
    if [ -n "${study}" ]; then
        log "the jobs of stage 5 made those of the study"
    else
        for_each_run predict predict_arguments
    fi
fi

if wanted 7; then
    log "Stage 7: scores of all finished runs in ${expdir}"
    python -m cfia.bin.score --expdir "${expdir}"
fi

if wanted 8; then
    log "Stage 8: tables and plots in ${expdir}"
    python -m cfia.bin.report --expdir "${expdir}" --corpus_conf conf/corpus.yaml
    if [ -n "${study}" ]; then study tables; fi
fi
