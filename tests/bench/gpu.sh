#!/usr/bin/env bash
# Measures, in under eight minutes, all that wants a GPU, on a machine that has PyTorch and no
# network. See usage().
set -euo pipefail

usage() {
    cat << 'EOF'
Usage: tests/bench/gpu.sh [--wheels DIR]
       tests/bench/gpu.sh --dry
       tests/bench/gpu.sh --carry [DIR] [--python 3.12]

Measures on one GPU: tests marked gpu; dumps of emotion2vec, WavLM, Whisper and BERT against one
utterance at a time; the stack and the step against the equations; an epoch at IEMOCAP's size; the
most memory; 5 folds at 5, 10 and 1 jobs on the GPU. Each part ends with one line of JSON, which has
the card's name; where the variable OUT names a directory, the lines are in its gpu.jsonl, too, and
what the parts have said in gpu.log. A part that fails, or takes longer than its limit, says so in
its line, and the next goes on. Weights are random: none are fetched.

  --wheels DIR   packages that the machine may lack [tests/bench/wheels]
  --dry          the same on processors, at sizes that say nothing, in about a minute
  --carry [DIR]  instead: fetch these packages, where there is a network and the project's
                 environment is active, for the machine's Python and Linux x86-64; 60 MiB at most
  --python X.Y   whose Python that is [3.12]

The machine needs Python 3.11 or newer with PyTorch and NumPy; PYTHON names it [python3]. COMMIT
names the commit where the copy there is no repository.
EOF
}

stop() { # a sentence
    echo "gpu.sh: $1" >&2
    exit "${2:-1}"
}

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
root=$(readlink -f "${here}/../..")
python=${PYTHON:-python3}
wheels=${here}/wheels
version=3.12
on=gpu
carry=false
while [ $# -gt 0 ]; do
    case $1 in
        --help | -h) usage; exit 0 ;;
        --dry) on=cpu ;;
        --carry) carry=true; if [ $# -gt 1 ] && [[ $2 != --* ]]; then wheels=$2; shift; fi ;;
        --wheels | --python)
            [ $# -gt 1 ] || stop "$1 needs a value; see --help" 2
            if [ "$1" = --wheels ]; then wheels=$2; else version=$2; fi
            shift ;;
        *) stop "there is no option $1; see --help" 2 ;;
    esac
    shift
done
[[ ${version} =~ ^3\.[0-9]+$ ]] || stop "--python takes a version such as 3.12, not ${version}" 2
wheels=$(readlink -m "${wheels}")
case ${python} in
    /*) ;;
    */*) python=${PWD}/${python} ;; # not by readlink: an environment's python is a link
esac
if [ -n "${OUT:-}" ]; then
    OUT=$(readlink -m "${OUT}")
    mkdir -p "${OUT}"
fi
cd "${root}"
export PYTHONPATH=${root} PYTHONUNBUFFERED=1 TQDM_DISABLE=1 HF_HUB_OFFLINE=1
if ${carry}; then
    exec "${python}" -m tests.bench.gpu_wheels "${wheels}" --python "${version}"
fi

"${python}" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null ||
    stop "${python} is not there or older than 3.11; name another by PYTHON"
"${python}" -c 'import importlib.util as u, sys; sys.exit(not (u.find_spec("torch") and
u.find_spec("numpy")))' || stop "${python} has no PyTorch or no NumPy; name another by PYTHON"
SECONDS=0
work=$(mktemp -d)
child=
# shellcheck disable=SC2317 # it is called by a trap
clean() {
    if [ -n "${child}" ]; then
        kill "${child}" 2> /dev/null || true
        wait "${child}" || true
    fi
    rm -rf "${work}"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# What the machine lacks, beside its own packages and never in their place. pip comes along, too.
if [ -d "${wheels}" ]; then
    "${python}" "${here}/gpu_missing.py" "${wheels}" > "${work}/missing"
    mapfile -t missing < "${work}/missing"
    if [ ${#missing[@]} -gt 0 ]; then
        PYTHONPATH=$(echo "${wheels}"/pip-*.whl) "${python}" -m pip install --quiet --no-index \
            --no-deps --no-compile --no-cache-dir --disable-pip-version-check \
            --root-user-action=ignore --target "${work}/site" "${missing[@]}"
        PYTHONPATH=${root}:${work}/site
    fi
fi
"${python}" -m tests.bench.gpu_line --machine "${work}/machine.json" --on "${on}"

# Runs a part: its name, its limit in seconds, and its program, which writes figures. No part goes
# beyond the end of the eighth minute.
part() {
    local name=$1 limit=$2 left=$((465 - SECONDS)) began=${SECONDS} status=0
    shift 2
    if [ "${limit}" -gt "${left}" ]; then limit=$((left > 1 ? left : 1)); fi
    timeout --kill-after=5 "${limit}" "${python}" -m "$@" > "${work}/log" 2>&1 &
    child=$!
    wait "${child}" || status=$?
    child=
    "${python}" -m tests.bench.gpu_line --part "${name}" --status "${status}" --limit "${limit}" \
        --seconds $((SECONDS - began)) --machine "${work}/machine.json" --log "${work}/log" \
        --figures "${work}/${name}.json" > "${work}/line"
    cat "${work}/line"
    if [ -n "${OUT:-}" ]; then
        cat "${work}/line" >> "${OUT}/gpu.jsonl"
        { echo "== ${name}"; cat "${work}/log"; } >> "${OUT}/gpu.log"
    fi
}

corpus=(--dir "${work}/corpus")
mkdir "${work}/corpus"
if [ "${on}" = gpu ]; then
    dumps=(--seconds 2000 --transcripts 2000 --num_threads 4 --time_limit 12)
    stack=(--time_limit 8)
    steps=(--num_threads 8 --time_limit 10)
    epoch=(--epochs 2 --cache gpu --time_limit 35 "${corpus[@]}")
    memory=("${corpus[@]}")
    runs=(--epochs 5 --jobs 5 10 1 "${corpus[@]}")
    size=()
else
    dumps=(--small --ours --seconds 20 --transcripts 4 --num_threads 1 --time_limit 0)
    stack=(--here --batch 2 --frames 16 --repeats 1 --num_threads 1 --time_limit 0)
    steps=(--here --scale 0.03 --batches 1 --steps 1 --time_limit 0)
    size=(--scale 0.003)
    epoch=(--here --cache gpu --time_limit 0 "${size[@]}" "${corpus[@]}")
    memory=("${size[@]}" "${corpus[@]}")
    runs=(--epochs 1 --folds 1 --jobs 2 "${size[@]}" "${corpus[@]}")
fi
figures() { echo "${work}/$1.json"; }
part tests 60 tests.bench.gpu_tests --json "$(figures tests)"
part dumps 90 tests.bench.bench_dump --on "${on}" "${dumps[@]}" --json "$(figures dumps)"
part stack 30 tests.bench.bench_stack --on "${on}" "${stack[@]}" --json "$(figures stack)"
part step 40 tests.bench.bench_step --on "${on}" "${steps[@]}" --json "$(figures step)"
part corpus 40 tests.bench.iemocap "${work}/corpus" "${size[@]}"
part epoch 90 tests.bench.bench_epoch --on "${on}" --profile "${epoch[@]}" \
    --json "$(figures epoch)"
part memory 40 tests.bench.gpu_memory --on "${on}" "${memory[@]}" --json "$(figures memory)"
part runs 400 tests.bench.bench_gpu --on "${on}" --schemes session "${runs[@]}" \
    --json "$(figures runs)"
