#!/usr/bin/env bash
# The stages of every recipe. A recipe's run.sh calls this file with its own settings, then "$@".
# shellcheck disable=SC2034,SC2154 # options are read by `plan`, which prints variables of its own

if [ -z "${BASH_VERSION:-}" ]; then
    echo "run.sh: this script needs bash; run it as ./run.sh or bash run.sh" >&2
    exit 2
fi
set -euo pipefail

caller_dir=${PWD}
recipe_dir=$(readlink -f "$(dirname "${BASH_SOURCE[0]}")") # of a recipe, whose ser.sh is a link
root_dir=$(readlink -f "${recipe_dir}/../..")

# Options. Each is also a flag: --name value. Their legal values are in cfia/options.py.
# General
stage=0                    # first stage to run
stop_stage=8               # last stage to run
skip_stages=               # stages to leave out, such as "3 4"
nj=                        # jobs at a time; changes no result (default: one per processor)
ngpu=0                     # GPUs per job: 0 or 1
jobs_per_gpu=1             # jobs that share a GPU, with --ngpu 1
num_threads=1              # threads per job; results depend on it
force=false                # make again what is there, and what follows
dry_run=false              # say what would be trained, and do nothing
verbose=false              # write more into the logs
# Corpus
corpus_dir=                # the corpus, as it is distributed
corpus=                    # its name, where that is not the recipe's; part of directories' names
audio_dir=                 # its audio, where a recipe of several corpora has it apart
corpora=                   # with --cv cross (egs/cross): recipes that are trained and tested on
labels=4                   # label set: a file of conf/labels, without .yaml
skip_bad=false             # leave out unreadable audio and list it
allow_partial=false        # go on although parts of the corpus are missing
text_tags="strip"          # strip or keep annotators' tags such as [LAUGHTER] in transcripts
text_file=                 # a Kaldi text (of a recogniser, say) to use as transcripts
text_source=gold           # transcripts that systems read: gold, or asr, recognised ones
asr_model=                 # with asr, the recogniser: pocketsphinx, a hub id or a directory
# Folds
cv=session                 # what is tested: session, speaker, kfold<k>, given or utterance<k>
validation=random20        # random<percent>, partner, next_speaker, next_session, given or none
folds=                     # train and score these alone, such as "1 2", and make no tables
# Features
audio_upstream=emotion2vec # audio encoder, such as emotion2vec or wavlm
audio_model=               # its model: hub id or directory (default: its own, if any)
audio_layer=               # its layer, or all for a learnt sum (default: the last)
text_upstream=bert         # text encoder, such as bert or minilm
text_model=                # its model: hub id or directory (default: its own, if any)
text_layer=                # its layer, or all for a learnt sum (default: the last)
hub=hf                     # where ids are looked up: hf (Hugging Face) or ms (ModelScope)
allow_contaminated=false   # accept an encoder that was trained on the corpus's labels
compression_method=0       # of the archives: 0 float32; 2 a byte, 3 two bytes per value
feature_cache=auto         # where training keeps features: gpu, ram, mmap, none; auto goes by free memory
# Training
systems="audio_text audio text probe_audio_text probe_audio probe_text" # to train: [<configuration>_]audio_text, [<configuration>_]audio, ...
train_config=cfia_net      # configuration of systems that name none, or a YAML file
train_args=                # "key=value ..." that win over the configuration
seeds=                     # one training per fold and seed, such as "1 2 3" (default: 1)
selection=valid            # which epoch is taken: valid, last, or test (an oracle, and labelled so)
refit=false                # train again, on training and validation part, for that many epochs
tune=0                     # in each fold, the best on validation of the first N of conf/tune.yaml
tag=                       # suffix of the systems' names, to keep variants apart
# Studies, which say themselves what is trained under which --cv and --validation
study=                     # make the tables of conf/study/<study>.yaml: paper, peers, protocol, smoke
study_seeds=1              # seeds of a study's rows without --seeds
# Packs
pack=all                   # what is packed: all, a network of all utterances; or folds, theirs
pack_dir=                  # where it goes (default: exp/<system>/<scheme>/pack, or pack_folds)
# Directories, relative to the recipe's
datadir=data               # data directories and fold lists
dumpdir=dump               # features
expdir=exp                 # models, scores, tables
# End of options.

# What a recipe may set besides, by exporting it.
corpus_script=${corpus_script:-local/corpus.sh} # stage 0: makes or fetches the corpus
data_script=${data_script:-local/data.sh}       # stage 1: corpus to data directory
default_labels=${default_labels:-4}             # the label set that leaves no trace in names
corpus_lists=${corpus_lists:-}                  # of several: what each has, below --corpus_dir

log() { echo "$(date '+%Y-%m-%dT%H:%M:%S') (run.sh) $*"; }

# Ask cfia/bin/plan.py, which takes all options from its environment.
plan() { # step
    # shellcheck disable=SC2086,SC2163
    (export ${option_names} default_labels corpus_lists
        PYTHONPATH=${root_dir}${PYTHONPATH:+:${PYTHONPATH}} PYTHONDONTWRITEBYTECODE=1 \
            PYTHONSAFEPATH=1 exec python3 -m cfia.bin.plan "$1" --recipe "${recipe_dir}" \
            --caller "${caller_dir}")
}

usage() { plan help; }
program_name=run.sh # in messages: the script that the user called
# shellcheck source=utils/need_python3.sh
. "${root_dir}/utils/need_python3.sh"
# A shell that waits for a program heeds no signal; a process above it ends all that it has started.
if [ "${CFIA_SUPERVISOR:-}" != "${PPID}" ]; then
    exec python3 "${root_dir}/utils/supervise.py" "${BASH}" "${BASH_SOURCE[0]}" "$@"
fi
# shellcheck source=utils/parse_options.sh
. "${root_dir}/utils/parse_options.sh"
[ $# -eq 0 ] || { echo "run.sh: unexpected argument '$1'; try --help" >&2; exit 2; }
cd "${recipe_dir}"
if [ "${stage}" = 9 ] && [ "${stop_stage}" = 8 ]; then stop_stage=9; fi # alone, it means itself
plan check
# shellcheck source=egs/TEMPLATE/path.sh
. ./path.sh
# shellcheck source=egs/TEMPLATE/cmd.sh
. ./cmd.sh
# Files that happen to lie in the recipe's directory (copy.py) are no modules of Python's.
export PYTHONSAFEPATH=1
variables=$(plan names)
eval "${variables##*$'\n# names\n'}" # data, dump_dirs, work and others: see cfia/study/tasks.py
if [ -n "${study}" ] || ${dry_run}; then plan describe; fi
if ${dry_run}; then exit 0; fi

# Jobs are given nothing but the project's own words, numbers, and paths in characters that no shell
# takes for more (cfia/naming.py), since a site's own command may quote none. ${job} stands for the
# number of each.
if [ "${ngpu}" -gt 0 ]; then run_cmd="${cuda_cmd:?} --gpu ${ngpu}"; else run_cmd=${train_cmd:?}; fi
if [ "${ngpu}" -gt 0 ] && [ "${jobs_per_gpu}" -gt 1 ]; then run_cmd+=" --jobs-per-gpu ${jobs_per_gpu}"; fi
run_cmd+=" --max-jobs-run ${nj} --num-threads ${num_threads}"
# One number of threads for every library of a job; results depend on it, so nothing guesses it.
export OMP_NUM_THREADS=${num_threads} MKL_NUM_THREADS=${num_threads} OPENBLAS_NUM_THREADS=${num_threads}
if ${verbose}; then export CFIA_LOG=DEBUG; fi

wanted() { # stage number
    [ "${stage}" -le "$1" ] && [ "${stop_stage}" -ge "$1" ] && [[ " ${skip_stages//,/ } " != *" $1 "* ]]
}

# Hold a directory that several programs make, one after the other, until `release`: another run
# waits. A process does it (cfia/lock.py), which ends with this shell.
hold() { # directory
    coproc holder { exec python -m cfia.bin.hold "$1" --force "${force}"; }
    read -r CFIA_HELD <&"${holder[0]}" # what it says once it has the lock; else it has said why not
    export CFIA_HELD
}

release() {
    local process=${holder_PID:-} input=${holder[1]:-}
    unset CFIA_HELD
    if [ -n "${process}" ]; then
        exec {input}>&-
        wait "${process}" || true
    fi
}

if wanted 0; then
    if [ -f "${corpus_script}" ]; then
        log "Stage 0: making the corpus in ${corpus_dir}"
        env -u PYTHONSAFEPATH "./${corpus_script}" --force "${force}" "${corpus_dir}"
    else
        log "Stage 0: nothing to make; the corpus is yours to bring"
        python -m cfia.bin.layout ${corpus_dir:+"${corpus_dir}"}
    fi
fi

if wanted 1 && [ -n "${corpora}" ]; then
    log "Stage 1: data directories in ${datadir} of ${corpora}"
    plan data
elif wanted 1; then
    log "Stage 1: data directory ${data} from ${corpus_dir}"
    which=()
    if [ -n "${corpus_lists}" ]; then which=(--corpus "${corpus}" --audio_dir "${audio_dir}"); fi
    env -u PYTHONSAFEPATH "./${data_script}" --labels "${labels}" --text_tags "${text_tags}" \
        --text_file "${text_file}" \
        --skip_bad "${skip_bad}" --allow_partial "${allow_partial}" --force "${force}" \
        ${which[@]+"${which[@]}"} "${corpus_dir}" "${data}"
    force=false plan check # now that it is known whether there are transcripts
fi

if wanted 2; then
    log "Stage 2: folds in ${folds_dir}"
fi
if wanted 2 && [ -n "${corpora}" ]; then
    plan folds
elif wanted 2; then
    python -m cfia.bin.folds --data "${data}" --out "${folds_dir}" --suffix "${label_suffix}" \
        --need "${needed_scheme}" --force "${force}" "${schemes[@]}"
fi

# For each encoder of a modality: a plan of batches, jobs that work it off, and one feats.scp.
dump_features() { # modality
    local i dir jobs
    if [ -n "${corpora}" ]; then # their features are there, and are linked to
        plan "$1"
        return
    fi
    [[ " ${dump_modalities[*]-} " == *" $1 "* ]] || log "no system of this run uses $1"
    for ((i = 0; i < ${#dump_dirs[@]}; i++)); do
        [ "${dump_modalities[i]}" = "$1" ] || continue
        dir=${dump_dirs[i]}
        log "${dump_upstreams[i]}: ${dir}"
        hold "${dir}"
        jobs=$(python -m cfia.bin.dump_plan --modality "$1" --upstream "${dump_upstreams[i]}" \
            --model "${dump_models[i]}" --layer "${dump_layers[i]}" --hub "${hub}" --data "${data}" \
            --text "${dump_texts[i]}" --dir "${dir}" --nj "${nj}" --num_threads "${num_threads}" \
            --ngpu "${ngpu}" --skip_bad "${skip_bad}" \
            --compression_method "${compression_method}" --corpus "${corpus_name}" \
            --exposure "${root_dir}/conf/exposure.yaml" \
            --allow_contaminated "${allow_contaminated}" --force "${force}")
        jobs=${jobs##*$'\n'} # the last line; a module of Python's start may print others
        if [ "${jobs}" -gt 0 ]; then
            log "${jobs} jobs; logs are ${dir}/log/dump.*.log"
            # shellcheck disable=SC2086
            ${run_cmd} "${job}=1:${jobs}" "${dir}/log/dump.${job}.log" python -m cfia.bin.dump \
                --dir "${dir}" --data "${data}" --job "${job}" --ngpu "${ngpu}"
            python -m cfia.bin.dump_merge --dir "${dir}"
        fi
        release
    done
}

# The transcripts of a recogniser, where a system of this run reads them: asr/<recogniser>/text in
# the data directory, and its word error rate. A study may also test with gold text that has errors.
recognise() {
    local i jobs
    [ -n "${recognised}" ] || return 0
    log "${asr_model}: ${recognised}"
    [ ! -d "${data}" ] || hold "${recognised}"
    jobs=$(python -m cfia.bin.asr_plan --data "${data}" --model "${asr_model}" --hub "${hub}" \
        --nj "${nj}" --num_threads "${num_threads}" --skip_bad "${skip_bad}" --force "${force}")
    jobs=${jobs##*$'\n'}
    if [ "${jobs}" -gt 0 ]; then
        log "${jobs} jobs; logs are ${recognised}/log/asr.*.log"
        # shellcheck disable=SC2086
        ${run_cmd} "${job}=1:${jobs}" "${recognised}/log/asr.${job}.log" python -m cfia.bin.asr \
            --dir "${recognised}" --data "${data}" --job "${job}" --ngpu "${ngpu}"
        python -m cfia.bin.asr_merge --dir "${recognised}" --data "${data}"
    fi
    release
    for ((i = 0; i < ${#error_dirs[@]}; i++)); do
        python -m cfia.bin.corrupt_text --data "${data}" --recognised "${recognised}" \
            --percent "${error_percents[i]}" --dir "${error_dirs[i]}" --force "${force}"
    done
}

if wanted 3; then
    log "Stage 3: audio features in ${dumps}"
    dump_features audio
fi

if wanted 4; then
    log "Stage 4: text features in ${dumps}"
    recognise
    dump_features text
fi

# Stages 5, 6 and 9 work off lists of trainings, such as <work>/train.list. A line is what the program
# is called with for one training; a job of a study takes several. What --force makes again is
# removed when the first list is written.
work_off() { # program list command
    local jobs
    hold "${work}"
    jobs=$(plan "$2")
    jobs=${jobs##*$'\n'}
    while [ "${jobs}" -gt 0 ]; do
        # shellcheck disable=SC2086
        $3 "${job}=1:${jobs}" "${work}/log/$2.${job}.log" python -m "cfia.bin.$1" \
            --list "${work}/$2.list" --job "${job}" --jobs "${jobs}"
        jobs=$(force=false plan "$2")
        jobs=${jobs##*$'\n'}
    done
    release
}

if wanted 5; then
    log "Stage 5: training"
    work_off train train "${run_cmd}" # cfia/bin/train.py
fi

if wanted 6; then
    log "Stage 6: posteriors"
    command=${run_cmd}
    [ "${ngpu}" -gt 0 ] || command=${decode_cmd:?}${run_cmd#"${train_cmd}"}
    work_off posteriors posteriors "${command}" # cfia/bin/posteriors.py
fi

if wanted 7; then
    log "Stage 7: scores of all finished experiments in ${exp}"
    if [ -n "${folds}" ]; then partial=true; else partial=false; fi
    python -m cfia.bin.score --expdir "${exp}" --partial "${partial}"
fi

if wanted 8 && [ -n "${folds}" ]; then
    log "Stage 8: left out, for tables are of whole experiments and --folds is ${folds}"
elif wanted 8; then
    log "Stage 8: tables and plots in ${exp}"
    tables=$(plan tables) # those of a study, which RESULTS.md includes
    python -m cfia.bin.report --expdir "${exp}" --corpus_conf conf/corpus.yaml
    [ -z "${tables}" ] || echo "${tables}"
fi

if wanted 9; then
    log "Stage 9: packs of ${systems}"
    work_off train final "${run_cmd}" # cfia/bin/train.py, on all utterances
    for experiment in "${experiments[@]}"; do
        python -m cfia.bin.pack "${experiment}" --pack "${pack}" --seed "${first_seed}" \
            ${pack_dir:+--pack_dir "${pack_dir}"} --corpus_conf conf/corpus.yaml --force "${force}"
    done
fi
